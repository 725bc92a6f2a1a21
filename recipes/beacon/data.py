"""Make the text and the labels that `recipes/beacon.toml` reads, from openly licensed files in a folder.

    python recipes/beacon/data.py data

The folder holds the files named in SOURCES below (docs/reference/beacon.md says where to get them); the result is data/beacon/.
A slice of every source is held out by the hash of its text, of pre-training as well as of labels, and measured on.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import zstandard

from bongsu.errors import DataError
from bongsu.files import write_text
from bongsu.watch.hazards import hazards_in

DISASTER, OTHER = "1", "0"
CHAT_HELD_OUT = 0.05
LABELLED_HELD_OUT = 0.2
EVENTS_FROM = "2025-10"
"""Events of this month and later are held out."""
CHATS = {"chat_en.jsonl.zst": ("en", {"goemotions_reddit"}), "short_messages.jsonl.zst": ("ko", {"kote"})}
"""Chat by file: its language, and the sources left out because they are measured on elsewhere."""
NEGATIVES = 25_000
"""Chat messages of each language that are used as labels; those that name a hazard are used all."""
CRISIS_SHARE = 0.4
"""Share of the crisis tweets of a disaster that is used."""
DISASTER_SECTIONS = {"Disasters and accidents", "Disaster and accidents", "Disasters and incidents"}
UNLABELLED_SECTIONS = {"Armed conflicts and attacks", "Attacks and armed conflicts"}


class Row(NamedTuple):
    """A labelled message."""

    text: str
    target: str
    lang: str
    source: str
    split: str


def share(text: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the words of a text."""
    return int(hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:8], 16) / 2**32


def split_of(text: str, held_out: float) -> str:
    """Return the split of a text: "test" for this share of all texts."""
    return "test" if share(text) < held_out else "train"


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with a header."""
    with open(path, encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def read_zst(path: Path) -> Iterator[str]:
    """Yield the lines of a Zstandard file."""
    with open(path, "rb") as file:
        yield from io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")


def chat(path: Path) -> Iterator[str]:
    """Yield the messages of a file of chat, without the sources that are measured on elsewhere."""
    _, left_out = CHATS[path.name]
    for line in read_zst(path):
        message = json.loads(line)
        if message["source"] not in left_out:
            yield message["text"]


def chat_rows(path: Path) -> Iterator[Row]:
    """Yield chat as messages of no disaster: a sample, and all that name a hazard.

    Few of the latter speak of a real disaster; they are the look-alikes that false alarms come from.
    """
    lang, _ = CHATS[path.name]
    texts = list(dict.fromkeys(chat(path)))
    taken = NEGATIVES / max(1, len(texts))
    for text in texts:
        place = share(text)
        split = "test" if place < CHAT_HELD_OUT else "train"
        if split == "test" or place - CHAT_HELD_OUT < taken or hazards_in(text):
            source = path.name.partition(".")[0]
            yield Row(as_tweet(text) if split == "train" else text, OTHER, lang, source, split)


def as_tweet(text: str) -> str:
    """Return half of all texts as they are, the others with a link, a mention or a hashtag, as tweets have them."""
    place = share(text + "@")
    if place < 0.12:
        return f"{text} http://t.co/{text[:1]}"
    if place < 0.24:
        return f"RT @user: {text}"
    if place < 0.3:
        return f"@user {text}"
    if place < 0.4:
        return f"{text} #{text.split()[0].strip('.,!?')}"
    if place < 0.5:
        return f"RT @user: {text} #{text.split()[-1].strip('.,!?')} http://t.co/{text[:1]}"
    return text


def headline_rows(path: Path) -> Iterator[Row]:
    """Yield Korean headlines: those that name a hazard as they were labelled by hand, and as many of the others."""
    labels = {row["sha256"]: row["label"] for row in read_csv(Path(__file__).with_name("headlines.csv"))}
    for row in read_csv(path):
        text = row["text"]
        label = labels.get(hashlib.sha256(text.encode()).hexdigest()[:16])
        split = split_of(text, LABELLED_HELD_OUT)
        if label in ("disaster", "other"):
            yield Row(text, DISASTER if label == "disaster" else OTHER, "ko", "headlines", split)
        elif label is None and row["names_a_hazard"] == "0" and share(text + "#") < 0.2:
            yield Row(text, OTHER, "ko", "headlines", split)


def event_rows(path: Path) -> Iterator[Row]:
    """Yield Wikipedia's current events: "Disasters and accidents" against the rest, without armed conflict."""
    for row in read_csv(path):
        section = row["section"]
        if section not in UNLABELLED_SECTIONS:
            target = DISASTER if section in DISASTER_SECTIONS else OTHER
            yield Row(row["text"], target, "en", "current_events", "test" if row["time"] >= EVENTS_FROM else "train")


def response_rows(path: Path) -> Iterator[Row]:
    """Yield messages sent to responders (R. Munro): related to the disaster or not."""
    for row in read_csv(path):
        target = DISASTER if row["label"] == "related" else OTHER
        yield Row(row["text"], target, "en", "response_messages", split_of(row["text"], LABELLED_HELD_OUT))


def bulletin_rows(path: Path) -> Iterator[Row]:
    """Yield warnings and reports of the US weather service; its public information statements are of no disaster."""
    for row in read_csv(path):
        if row["label"] != "CAE":
            target = OTHER if row["label"] in ("PNS", "RAIN") else DISASTER
            yield Row(row["text"], target, "en", "weather_bulletins", split_of(row["text"], LABELLED_HELD_OUT))


def crisis_rows(path: Path) -> Iterator[Row]:
    """Yield tweets of CrisisLexT6 (on-topic or not) and CrisisLexT26 (informative or not related) (Olteanu et al. 2014, 2015).

    All those of no disaster are used, but a share of the others, or what is written as a tweet would be a disaster.
    """
    name = f"crisislex_{path.stem.lower()}"
    for row in read_csv(path):
        text, label = row["text"], row.get("label") or row.get("informativeness")
        if label in ("off-topic", "Not related"):
            yield Row(text, OTHER, "en", name, split_of(text, LABELLED_HELD_OUT))
        elif label in ("on-topic", "Related and informative") and share(text + "#") < CRISIS_SHARE:
            yield Row(text, DISASTER, "en", name, split_of(text, LABELLED_HELD_OUT))


def packaged_rows(name: str) -> Iterator[Row]:
    """Yield the rows of a file that ships with Bongsu, whose split is fixed."""
    with (resources.files("bongsu") / "data" / name).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Row(row["text"], row["target"], row["lang"], name.removesuffix(".csv"), row["split"])


def labelled(data: Path) -> Iterator[Row]:
    """Yield all labelled rows."""
    yield from packaged_rows("messages.csv")
    yield from packaged_rows("plain.csv")
    yield from packaged_rows("demo.csv")
    yield from response_rows(data / "response_messages.csv")
    yield from event_rows(data / "current_events_2025.csv")
    yield from bulletin_rows(data / "weather_bulletins.csv")
    yield from headline_rows(data / "headlines.csv")
    for name in ("T6.csv", "T26.csv"):
        yield from crisis_rows(data / name)
    for name in CHATS:
        yield from chat_rows(data / name)


def unlabelled(data: Path) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield name and texts of the files to pre-train on, without what is held out."""
    for name in CHATS:
        yield name.partition(".")[0], (text for text in chat(data / name) if share(text) >= CHAT_HELD_OUT)
    yield "tatoeba_en", read_zst(data / "tatoeba_en.txt.zst")
    measured = {" ".join(row["document"].split()) for row in read_csv(data / "nsmc_test.csv")}
    yield "nsmc", (text for text in read_zst(data / "nsmc_reviews.txt.zst") if " ".join(text.split()) not in measured)
    for name in ("headlines", "response_messages", "weather_bulletins"):
        rows = read_csv(data / f"{name}.csv")
        yield name, (row["text"] for row in rows if share(row["text"]) >= LABELLED_HELD_OUT)
    yield "current_events", (row["text"] for row in read_csv(data / "current_events_2025.csv") if row["time"] < EVENTS_FROM)
    for name in ("messages", "plain", "demo"):
        yield f"packaged_{name}", (row.text for row in packaged_rows(f"{name}.csv") if row.split == "train")


def main(data: Path) -> None:
    """Write data/beacon/*.txt, train.csv and test.csv; print how many rows each has.

    Raises:
        DataError: naming the files that are missing.
    """
    names = ["tatoeba_en.txt.zst", "nsmc_test.csv", "nsmc_reviews.txt.zst", "headlines.csv", "response_messages.csv"]
    names += ["weather_bulletins.csv", "current_events_2025.csv", "T6.csv", "T26.csv", *CHATS]
    if missing := [name for name in names if not (data / name).is_file()]:
        raise DataError(f"{data}: {', '.join(missing)} missing; docs/reference/beacon.md says where to get them.")
    out = data / "beacon"
    out.mkdir(exist_ok=True)
    for name, texts in unlabelled(data):
        lines = [line for text in texts if (line := " ".join(text.split()))]
        write_text(out / f"{name}.txt", "\n".join(lines) + "\n")
        print(f"{name}: {len(lines):,} texts")
    rows = list({" ".join(row.text.split()): row for row in reversed(list(labelled(data)))}.values())[::-1]
    for split in ("train", "test"):
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(row for row in rows if row.split == split)
        write_text(out / f"{split}.csv", table.getvalue())
    for (split, source, target), count in sorted(Counter((row.split, row.source, row.target) for row in rows).items()):
        print(f"{split} {source} {target}: {count:,} rows")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "data"))
    except DataError as error:
        sys.exit(f"error: {error}")
