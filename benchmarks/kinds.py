"""How good each kind of task is on public sets, against its strongest baseline on the same test rows.

    python -m benchmarks.kinds DATA OUT [NAME ...] [--encoder bongsu:beacon] [--epochs 5] [--seed 1]

DATA is a folder with the sets' own files, under the paths that `SETS` names. For each set the script draws rows for training
and test, writes them and a recipe to OUT/NAME, runs it, and prints a row of a Markdown table. Where a set has no split of its
own, one is drawn: of entailment whole premises, of questions whole articles, else single rows.

A tenth of the training rows is held out to calibrate by, and a tenth of the others for early stopping; the baselines, fitted on
all training rows, have more to learn from. Nothing is chosen by the test rows. A finished run is not run again. The difference
from the baseline is that of the ensemble with TF-IDF where a kind has one, else of the encoder.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import bongsu
from benchmarks.measuring import markdown
from bongsu.errors import BongsuError
from bongsu.files import read_json, write_json, write_text

COLUMNS = [
    "kind",
    "set",
    "language",
    "rows",
    "metric",
    "encoder",
    "with TF-IDF",
    "baseline",
    "difference (95 %)",
    "seconds",
]
MODEL = "this model"
SHUFFLE = 0  # the seed by which rows are drawn
SHARE = 0.3  # of the rows of a set without a split that are test rows

Items = list[Any]


def read_table(path: Path, delimiter: str = ",", names: Sequence[str] | None = None, quoted: bool = True) -> Items:
    """Return the rows of a CSV or TSV file by column."""
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, names, delimiter=delimiter, quoting=quoting))


def read_lines(path: Path) -> Items:
    """Return the objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def read_blocks(path: Path) -> Items:
    """Return the texts of a CoNLL file, each as its lines of token and tag."""
    blocks: Items = [[]]
    for line in path.read_text(encoding="utf-8").split("\n"):
        if not line.strip():
            blocks.append([])
        else:
            blocks[-1].append(line)
    return ["\n".join(block) for block in blocks if block]


def read_questions(path: Path) -> Items:
    """Return the questions of a SQuAD file, each as an article with one paragraph and one question."""
    return [
        {"title": article["title"], "paragraphs": [{"context": paragraph["context"], "qas": [question]}]}
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def write_lines(path: Path, items: Items) -> None:
    """Write rows as JSON Lines."""
    write_text(path, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))


def write_blocks(path: Path, items: Items) -> None:
    """Write texts as a CoNLL file."""
    write_text(path, "\n\n".join(items) + "\n")


def write_questions(path: Path, items: Items) -> None:
    """Write questions as a SQuAD file."""
    write_json(path, {"version": "1.1", "data": items})


@dataclass(frozen=True)
class Form:
    """How the rows of a set are written for Bongsu."""

    suffix: str
    write: Callable[[Path, Items], None]


LINES, BLOCKS, QUESTIONS = Form(".jsonl", write_lines), Form(".conll", write_blocks), Form(".json", write_questions)


@dataclass(frozen=True)
class Set:
    """A public set: its files, how they are read, and the task made of it."""

    language: str
    read: Callable[[Path], Items]
    train: str
    task: dict[str, Any]
    test: str | None = None
    """A file of its own; by default test rows are drawn from `train`."""
    form: Form = LINES
    group: str | None = None
    """Rows with the same value of this key are never on both sides of a split that is drawn."""
    column: str | None = None
    """The column that says which part a row is of: "val" to learn from, "test" to measure on."""
    rows: tuple[int, int] = (4000, 1500)
    """The most rows that are learned from and measured on."""
    finetune: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, training: Items, test: Items) -> None:
        """Write rows to learn from and rows to measure on into a folder, as `write_recipe` names them."""
        for part, items in (("train", training), ("test", test)):
            self.form.write(folder / f"{part}{self.form.suffix}", items)


tsv = partial(read_table, delimiter="\t", quoted=False)
stsb = partial(read_table, names=["sentence1", "sentence2", "score"])
ANSWERING = {"kind": "answering", "max_length": 256, "stride": 64}
squad = partial(Set, read=read_questions, task=ANSWERING, form=QUESTIONS, group="title")
STS = {"kind": "pair", "label": "score", "target": "number", "symmetric": True}
NLI = {"kind": "pair", "first": "premise", "second": "hypothesis", "label": "gold_label"}

SETS = {
    "stsb": Set("en", stsb, "tasks/stsb/stsb-en-train.csv", STS, "tasks/stsb/stsb-en-test.csv"),
    "korsts": Set("ko", tsv, "tasks/korsts/sts-train.tsv", STS, "tasks/korsts/sts-test.tsv"),
    "klue-nli": Set("ko", lambda path: list(read_json(path)), "tasks/klue/klue-nli-v1.1_dev.json", NLI, group="premise"),
    "pawsx": Set("ko", tsv, "tasks/pawsx_ko/dev_2k.tsv", {"kind": "pair", "symmetric": True}, "tasks/pawsx_ko/test_2k.tsv"),
    "wnut17": Set(
        "en",
        read_blocks,
        "tasks/wnut17/wnut17train.conll",
        {"kind": "tagging", "max_length": 96},
        "tasks/wnut17/emerging.test.annotated",
        BLOCKS,
    ),
    "konne": Set("ko", read_lines, "tasks/konne/konne-dev.jsonl", {"kind": "tagging", "spans": "label", "max_length": 128}),
    "response": Set(
        "en", read_table, "labelled/response_messages.csv", {"kind": "multilabel", "labels": "categories", "max_length": 96}
    ),
    "kote": Set("ko", read_table, "tasks/kote/kote.csv", {"kind": "multilabel", "max_length": 96}, column="split"),
    "xquad": squad("en", train="tasks/xquad/xquad.en.json"),
    "korquad": squad("ko", train="tasks/korquad/KorQuAD_v1.0_dev.json", rows=(1000, 400)),
}


def draw(items: Items, group: str | None) -> tuple[Items, Items]:
    """Return rows to learn from and rows to measure on; rows of a group stay on one side."""
    groups: dict[Any, Items] = defaultdict(list)
    for number, item in enumerate(items):
        groups[item[group] if group else number].append(item)
    names = list(groups)
    random.Random(SHUFFLE).shuffle(names)
    cut = round(len(names) * SHARE)
    return [row for name in names[cut:] for row in groups[name]], [row for name in names[:cut] for row in groups[name]]


def sample(items: Items, most: int) -> Items:
    """Return at most `most` of the rows."""
    return items if len(items) <= most else random.Random(SHUFFLE).sample(items, most)


def split(data: Path, chosen: Set) -> tuple[Items, Items]:
    """Return the rows of a set to learn from and those to measure on."""
    items = chosen.read(data / chosen.train)
    if chosen.test:
        parts = items, chosen.read(data / chosen.test)
    elif chosen.column:
        column = chosen.column
        parts = [row for row in items if row[column] == "val"], [row for row in items if row[column] == "test"]
    else:
        parts = draw(items, chosen.group)
    return sample(parts[0], chosen.rows[0]), sample(parts[1], chosen.rows[1])


def write_recipe(folder: Path, name: str, chosen: Set, options: argparse.Namespace) -> Path:
    """Write the recipe of a set, whose rows lie in `folder`."""
    sections = {
        "task": {**chosen.task, "train": f"{folder}/train{chosen.form.suffix}", "test": f"{folder}/test{chosen.form.suffix}"},
        "finetune": {
            "encoder": options.encoder,
            "epochs": options.epochs,
            "encoder_learning_rate": options.encoder_learning_rate,
            "refit": False,
            **chosen.finetune,
        },
        "validation": {"folds": 0, "holdout": 0.1, "diagnose": False},
    }
    lines = [f'name = "{name}"', f"seed = {options.seed}"]
    for section, values in sections.items():
        lines += ["", f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    path = folder / "recipe.toml"
    write_text(path, "\n".join(lines) + "\n")
    return path


def measure(name: str, options: argparse.Namespace) -> list[str]:
    """Run a set and return its row of the table."""
    chosen, folder = SETS[name], options.out / name
    folder.mkdir(parents=True, exist_ok=True)
    training, test = split(options.data, chosen)
    chosen.write(folder, training, test)
    recipe, begun = write_recipe(folder, name, chosen, options), time.monotonic()
    section = test_section(bongsu.run(recipe, out=folder / "run").path)
    seconds = time.monotonic() - begun
    alone = section["models"][MODEL][section["metrics"][0][0]]
    ensemble = "-"
    if any(each.startswith("TF-IDF") for each in section["comparisons"]):
        # Nothing is trained again: the folds are the same.
        section = test_section(bongsu.run(recipe, out=folder / "run", changes=["ensemble.tfidf=true"]).path)
        ensemble = f"{section['models'][MODEL][section['metrics'][0][0]]:.3f}"
    baseline, found = max(section["comparisons"].items(), key=lambda item: item[1]["b"])
    low, high = found["interval"]
    return [
        chosen.task["kind"],
        name,
        chosen.language,
        f"{len(training):,} / {len(test):,}",
        section["metrics"][0][1],
        f"{alone:.3f}",
        ensemble,
        f"{found['b']:.3f} ({baseline})",
        f"{found['difference']:+.3f} ({low:+.3f} to {high:+.3f})",
        f"{seconds:.0f}",
    ]


def test_section(run: Path) -> Any:
    """Return what a run's summary says of the test rows."""
    return read_json(run / "evaluation" / "summary.json")["task_test"]


def main() -> None:
    """Run the sets that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SETS)}; by default all")
    parser.add_argument("--encoder", default="bongsu:beacon", help='or "hf:FOLDER"')
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--encoder-learning-rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in SETS]:
        parser.error(f"there is no set {unknown[0]!r}; there are {', '.join(SETS)}")
    rows = []
    for name in options.names or SETS:
        try:
            rows.append(measure(name, options))
        except (BongsuError, OSError) as error:
            raise SystemExit(f"{name}: {error}") from None
        print("| " + " | ".join(rows[-1]) + " |", flush=True)
    print("\n" + markdown(COLUMNS, rows))


if __name__ == "__main__":
    main()
