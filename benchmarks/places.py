"""How well place names are found in messages on events that were not learned from: by the rule of the watch, and by a tagger.

    python -m benchmarks.places OUT PLACES [--leave-out EVENT ...] [--encoder bongsu:beacon] [--rows 6000] [--epochs 3]

PLACES is a JSON Lines file (also .gz, .zst) with `text`, `event`, and `locations`, the place names as they stand in the text.
The tagger learns from at most `--rows` rows of the other events and answers through its ONNX bundle. Names are compared as the
watch uses them, a set in lower case for each message: exact when they are equal, partial when one holds the other. Intervals
are paired, by bootstrap over messages. Messages a second are of processor time, on one thread, one message after the other.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import bongsu
from benchmarks.measuring import markdown
from bongsu.arrays import Float64
from bongsu.corpus.streams import open_bytes
from bongsu.evaluation.bootstrap import compare_metric
from bongsu.export.bundle import export_onnx
from bongsu.files import write_text
from bongsu.inference.onnx import BundlePredictor
from bongsu.watch.hazards import places_in
from bongsu.watch.places import TaggedPlaces
from bongsu.watch.tracking import FindPlaces

SHUFFLE = 0  # the seed by which rows are drawn
LEFT_OUT = ["canada_wildfires_2016", "cyclone_idai_2019", "midwestern_us_floods_2019", "pakistan_earthquake_2019"]
WARM = 32  # messages before the clock starts
FREQUENT = 10

RECIPE = """
seed = {seed}

[task]
kind = "tagging"
train = "{train}"
unit = "word"
max_length = 96

[finetune]
encoder = "{encoder}"
epochs = {epochs}
encoder_learning_rate = 3e-4
refit = false

[validation]
folds = 0
holdout = 0.1
diagnose = false
"""


class Row(NamedTuple):
    """A message, its event, and the places named in it."""

    text: str
    event: str
    locations: list[str]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file."""
    with open_bytes(str(path)) as lines:
        items = [json.loads(line) for line in lines]
    return [Row(item["text"], item["event"], item["locations"]) for item in items]


def spans_of(row: Row) -> list[tuple[int, int, str]]:
    """Return where the names stand that are found: the longest first, rather as whole words, none over another."""
    spans: list[tuple[int, int, str]] = []
    for name in sorted(row.locations, key=len, reverse=True):
        literal = re.escape(name)
        places = [match.span() for pattern in (rf"(?<!\w){literal}(?!\w)", literal) for match in re.finditer(pattern, row.text)]
        free = (place for place in places if all(place[1] <= start or end <= place[0] for start, end, _ in spans))
        if found := next(free, None):
            spans.append((*found, "place"))
    return sorted(spans)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows for a tagging task."""
    items = [{"text": row.text, "spans": spans_of(row)} for row in rows]
    write_text(path, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))


def timed(find: FindPlaces, texts: list[str]) -> tuple[list[tuple[str, ...]], float]:
    """Return the names in each text, found one by one as the watch does, and texts a second of processor time."""
    for text in texts[:WARM]:
        find(text)
    begun = time.process_time()
    names = [find(text) for text in texts]
    return names, len(texts) / (time.process_time() - begun)


def statistics(found: Sequence[str], wanted: Sequence[str], same: Callable[[str, str], bool]) -> list[int]:
    """Return of a message: found names that are right, found names, wanted names that are found, wanted names."""
    wanted = sorted({name.lower() for name in wanted})
    right = sum(any(same(name, other) for other in wanted) for name in found)
    hit = sum(any(same(name, other) for other in found) for name in wanted)
    return [right, len(found), hit, len(wanted)]


def scores(totals: Float64) -> tuple[Float64, Float64, Float64]:
    """Return precision, recall and F1 of sums [..., 4]."""
    precision = totals[..., 0] / np.maximum(totals[..., 1], 1.0)
    recall = totals[..., 2] / np.maximum(totals[..., 3], 1.0)
    return precision, recall, 2.0 * precision * recall / np.maximum(precision + recall, 1e-12)


def f1(totals: Float64) -> Float64:
    """Return F1 of sums [..., 4]."""
    return scores(totals)[2]


def frequent(names: Sequence[Sequence[str]], wanted: set[str]) -> str:
    """Return how many of the most frequent names are places that somebody has marked in the event."""
    top = [name for name, _ in Counter(name for some in names for name in some).most_common(FREQUENT)]
    return f"{sum(name in wanted for name in top)} of {len(top)}"


def main() -> None:
    """Train the tagger, ask both, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("places", type=Path)
    parser.add_argument("--leave-out", nargs="+", default=LEFT_OUT, metavar="EVENT")
    parser.add_argument("--encoder", default="bongsu:beacon", help='or "hf:FOLDER"')
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = read_rows(options.places)
    if unknown := sorted(set(options.leave_out) - {row.event for row in rows}):
        parser.error(f"there is no event {unknown[0]!r}; there are {', '.join(sorted({row.event for row in rows}))}")
    named, found = (sum(map(len, some)) for some in ([row.locations for row in rows], map(spans_of, rows)))
    print(f"{named:,} names in {len(rows):,} rows, of which {named - found:,} are not found in their text", flush=True)
    training = [row for row in rows if row.event not in options.leave_out]
    test = sorted((row for row in rows if row.event in options.leave_out), key=lambda row: row.event)
    training = random.Random(SHUFFLE).sample(training, min(options.rows, len(training)))
    options.out.mkdir(parents=True, exist_ok=True)
    write_rows(options.out / "train.jsonl", training)
    recipe = options.out / "recipe.toml"
    train = options.out / "train.jsonl"
    write_text(recipe, RECIPE.format(train=train, **vars(options)).lstrip())
    run = bongsu.run(recipe, out=options.out / "run")
    bundle = options.out / "onnx"
    export_onnx(run.path, bundle, int8=True)

    texts = [row.text for row in test]
    finders = {
        "rule": places_in,
        "tagger, float32": TaggedPlaces(BundlePredictor.load(bundle, "float32", sessions=1)),
        "tagger, int8": TaggedPlaces(BundlePredictor.load(bundle, "int8", sessions=1)),
    }
    answers = {name: timed(find, texts) for name, find in finders.items()}
    events = np.array([row.event for row in test])
    matches: dict[str, Callable[[str, str], bool]] = {
        "exact": lambda one, other: one == other,
        "partial": lambda one, other: one in other or other in one,
    }
    tables = {
        (name, match): np.array(
            [statistics(some, row.locations, same) for some, row in zip(names, test, strict=True)], dtype=np.float64
        )
        for name, (names, _) in answers.items()
        for match, same in matches.items()
    }
    lines = []
    for event in [*sorted(options.leave_out), "all"]:
        which = np.ones(len(test), dtype=bool) if event == "all" else events == event
        for match in matches:
            rule, tagger = (tables[name, match][which] for name in ("rule", "tagger, float32"))
            found = compare_metric(tagger, rule, f1)
            shown = [f"{value:.3f}" for table in (rule, tagger) for value in scores(table.sum(axis=0))]
            low, high = found.interval
            difference = f"{found.difference:+.3f} ({low:+.3f} to {high:+.3f})"
            lines.append([event, f"{which.sum():,}", f"{rule[:, 3].sum():,.0f}", match, *shown, difference])
    heads = [f"{name} {score}" for name in ("rule", "tagger") for score in ("precision", "recall", "F1")]
    print(markdown(["left out", "messages", "names", "match", *heads, "difference (95 %)"], lines) + "\n")
    lines = [
        [name, *(f"{f1(tables[name, match].sum(axis=0)):.3f}" for match in matches), f"{rate:,.0f}"]
        for name, (_, rate) in answers.items()
    ]
    print(markdown(["", "F1, exact", "F1, partial", "messages/s"], lines) + "\n")
    lines = []
    for event in sorted(options.leave_out):
        wanted = {name.lower() for row in test if row.event == event for name in row.locations}
        own = {
            name: [some for some, at in zip(names, events, strict=True) if at == event] for name, (names, _) in answers.items()
        }
        lines.append([event, *(frequent(names, wanted) for names in own.values())])
    print(markdown([f"places among the {FREQUENT} most frequent names", *answers], lines))


if __name__ == "__main__":
    main()
