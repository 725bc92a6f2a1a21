"""The verb that asks for labels in a terminal, and exchanges them with other tools."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import typer

from bongsu import progress
from bongsu.cli.common import app, need_for_labels, ready_bundle
from bongsu.errors import BongsuError
from bongsu.files import write_bytes
from bongsu.printable import printable

if TYPE_CHECKING:
    from bongsu.inference.onnx import BundlePredictor
    from bongsu.labelling.desk import Desk
    from bongsu.labelling.store import Asked, LabelStore, Version

Key = Literal["yes", "no", "skip", "undo", "quit"]
_KEYS: dict[Key, str] = {"yes": "d1ㅇ", "no": "n0ㅜ", "skip": "s ㄴ", "undo": "u\x7f\bㅕ", "quit": "q\x03\x04ㅂ"}
"""What may be pressed, also while a Korean keyboard is on."""
_BATCH = 1024
_MAGIC = b"SQLite format 3\0"


@app.command()
def label(
    what: Annotated[Path, typer.Argument(help="A file of messages, or what `bongsu watch --store` names", show_default=False)],
    model: Annotated[
        Path | None, typer.Option("--model", help="A run or a bundle: which messages it doubts, and what learns")
    ] = None,
    store: Annotated[Path | None, typer.Option("--store", help="Where labels are kept (default: FILE.labels.db)")] = None,
    input: Annotated[str | None, typer.Option("--input", "-i", help="Take in labels: CSV with text and label")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the labels as rows to train on: CSV")] = None,
    to_label: Annotated[
        Path | None, typer.Option("--to-label", help="Write messages to label elsewhere: CSV with an empty column label")
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Messages in --to-label", min=1)] = 50,
    event: Annotated[str, typer.Option("--event", help="What the labels of --output are of: its column event")] = "event",
    text: Annotated[str, typer.Option("--text", help="The column with the text")] = "text",
    column: Annotated[str, typer.Option("--label", help="The column with the label, in --input")] = "label",
    versions: Annotated[bool, typer.Option("--versions", help="List what was learned from the labels")] = False,
    use: Annotated[
        int | None, typer.Option("--use", help="Bring a version back; 0 is the bundle as it was exported", min=0)
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who labels (default: the user's name)")] = "",
) -> None:
    """Label messages, one key each: the detector learns from every ten (docs/howto/label-an-event.md)."""
    need_for_labels()
    from bongsu.labelling.store import LabelStore

    who, watched = by or _user(), _is_store(what)
    if watched and store is not None:
        raise BongsuError("--store: has a meaning only with a file of messages; this is a store already.")
    if not watched and not what.is_file():
        raise BongsuError(f"{what}: is a folder; name a file of messages." if what.is_dir() else f"{what}: no such file.")
    detector = _detector(model) if model is not None else None
    looks = versions or use is not None
    if not watched and detector is None and not looks:
        raise BongsuError(f"{what}: name the detector that is to learn: bongsu label {what} --model RUN")
    labels = LabelStore(what if watched else store or what.with_name(f"{what.name}.labels.db"))
    try:
        if looks:
            _bring_back(labels, use, who)
            return
        desk = None if detector is None else _desk(labels, detector, None if watched else what, text)
        if input is not None:
            _take_in(labels, desk, detector, input, who, text, column)
        if to_label is not None:
            _write_queue(labels, desk, to_label, count)
        if output is not None:
            _write_rows(labels, detector, output, event)
        if input is None and to_label is None and output is None:
            _ask(_Stored(labels) if watched or desk is None else _AtDesk(desk), _classes(detector)[1], who)
    finally:
        labels.close()


class _Asks(Protocol):
    """Who has messages to label, and what becomes of the labels."""

    def next(self) -> Asked | None: ...
    def answer(self, asked: Asked, label: int | None, by: str) -> str: ...
    def undo(self, by: str) -> bool: ...


class _AtDesk:
    """Messages of a file, for a detector in this process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def next(self) -> Asked | None:
        front = self._desk.front(1)
        return front[0] if front else None

    def answer(self, asked: Asked, label: int | None, by: str) -> str:
        self._desk.answer(*asked.uid, label, by)
        if not self._desk.due:
            return ""
        with progress.console.status("learning"):
            version = self._desk.learn()
        return f"{_about(version)}\n{self._desk.status().progress.sentence}"

    def undo(self, by: str) -> bool:
        return self._desk.undo(by) is not None


class _Stored:
    """Messages that a running watch asks about; it learns from the labels."""

    def __init__(self, store: LabelStore) -> None:
        self._store = store

    def next(self) -> Asked | None:
        waiting = self._store.asked()
        return waiting[0] if waiting else None

    def answer(self, asked: Asked, label: int | None, by: str) -> str:
        self._store.add(asked, label, by, time.time())
        return ""

    def undo(self, by: str) -> bool:
        return self._store.undo(by, time.time()) is not None


def _ask(asks: _Asks, name: str, by: str) -> None:
    """Ask about one message after the other until there is none, or somebody has enough."""
    progress.note(f"d: {printable(name)}   n: not   s: skip   u: undo   q: quit")
    keys, count = _keys(), 0
    while (asked := asks.next()) is not None:
        print(f"\n{printable(asked.text)}", flush=True)
        key = next((key for key in keys if key is not None), "quit")
        if key == "quit":
            break
        if key == "undo":
            undone = asks.undo(by)
            count -= undone
            progress.note("taken back" if undone else "there is nothing to take back")
            continue
        said = asks.answer(asked, {"yes": 1, "no": 0, "skip": None}[key], by)
        count += 1
        print(f"  {'skipped' if key == 'skip' else name if key == 'yes' else 'not'}", flush=True)
        if said:
            progress.note(progress.escape(said))
    else:
        progress.note("No message waits for a label.")
    progress.note(f"{progress.count(count, 'message')} labelled or skipped")


def _keys() -> Iterator[Key | None]:
    """Yield what is pressed, None for anything else; of a pipe each character, until its end."""
    import click

    while True:
        try:
            pressed = click.getchar() if sys.stdin.isatty() else sys.stdin.read(1)
        except (KeyboardInterrupt, EOFError):
            pressed = ""
        if pressed == "":
            yield "quit"
            return
        yield next((key for key, signs in _KEYS.items() if pressed.lower() in signs), None)


def _about(version: Version) -> str:
    used = "in use" if version.verdict.taken else "not taken"
    return f"version {version.number}, {version.labels:,} labels, {used}: {version.verdict}"


def _take_in(
    labels: LabelStore, desk: Desk | None, detector: BundlePredictor | None, path: str, by: str, text: str, column: str
) -> None:
    from bongsu.corpus.readers import ReadStats
    from bongsu.labelling.exchange import read_labels

    found = read_labels(path, ReadStats(1000), [[name] for name in _classes(detector)], text, column)
    if desk is not None:
        desk.take([asked for asked, _ in found], [answer for _, answer in found], by)
    else:
        for asked, answer in found:
            labels.add(asked, answer, by, time.time())
    progress.note(progress.escape(f"{progress.count(len(found), 'label')} taken in from {path}"))
    if desk is not None and desk.due:
        version = desk.learn()
        progress.note(_about(version))


def _bring_back(labels: LabelStore, number: int | None, by: str) -> None:
    """Use a version of the bundle that was learned for last, when one is named; print all of them."""
    bundles = labels.bundles()
    if not bundles:
        raise BongsuError("Nothing was learned from these labels yet.")
    known = {each.number: each for each in labels.versions(bundles[-1])}
    if number is not None and number not in {0, *known}:
        raise BongsuError(f"--use {number}: no such version; there are {', '.join(map(str, [0, *known]))}.")
    if number is not None:
        labels.use(bundles[-1], number, by, time.time())
    used, _ = labels.in_use(bundles[-1])
    for each in (0, *known):
        about = f"{known[each].labels:,} labels: {known[each].verdict}" if each else "as it was exported"
        print(f"{'*' if each == used else ' '} {each}  {about}")


def _write_queue(labels: LabelStore, desk: Desk | None, path: Path, count: int) -> None:
    from bongsu.labelling.exchange import queue_rows

    waiting = labels.asked() if desk is None else desk.front(count)
    write_bytes(path, queue_rows(waiting[:count]))
    progress.note(
        progress.escape(f"{progress.count(len(waiting[:count]), 'message')} to label in {path}; fill in its column label")
    )


def _write_rows(labels: LabelStore, detector: BundlePredictor | None, path: Path, event: str) -> None:
    from bongsu.labelling.exchange import training_rows

    found = [each for each in labels.labels() if each.label is not None]
    classes = detector.task.schema.labels if detector is not None else ["0", "1"]
    write_bytes(path, training_rows(found, classes, event))
    progress.note(progress.escape(f"{progress.count(len(found), 'labelled row')} in {path}"))


def _desk(labels: LabelStore, detector: BundlePredictor, messages: Path | None, text: str) -> Desk:
    """Return a desk for a detector, with the messages of a file to ask about; a watch's are asked about by the watch."""
    from bongsu.corpus.readers import ReadStats, read_rows
    from bongsu.labelling.desk import Desk
    from bongsu.labelling.exchange import FROM_FILE
    from bongsu.labelling.queue import Queue
    from bongsu.labelling.store import Candidate
    from bongsu.recipe import Source

    if messages is None:
        desk = Desk(labels)
        desk.open(detector)
        return desk
    rows = [
        (row.get("id") or str(place.row), row.get("author") or "", row[text])
        for place, row in read_rows(Source(path=str(messages), text=text), ReadStats(1000), [text], ["id", "author"])
    ]
    desk = Desk(labels, lambda threshold: Queue(threshold, float("inf"), len(rows)))
    used = desk.open(detector)
    with progress.bar("read", len(rows), "messages") as bar:
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            positive = used.probabilities([each[2] for each in part])[:, 1].tolist()
            labelled = zip(part, positive, strict=True)
            desk.offer([Candidate(FROM_FILE, name, author, each, 0.0, value) for (name, author, each), value in labelled])
            bar.advance(len(part))
    return desk


def _detector(path: Path) -> BundlePredictor:
    from bongsu.inference.onnx import BundlePredictor
    from bongsu.labelling.features import require_two_classes

    detector = BundlePredictor.load(ready_bundle(path))
    require_two_classes(detector, str(path))
    return detector


def _classes(detector: BundlePredictor | None) -> list[str]:
    """Return what the two classes are called."""
    from bongsu.tasks.classification import ClassificationTask

    if detector is None:
        return ["other", "disaster"]
    assert isinstance(detector.task, ClassificationTask)
    return detector.task.names


def _is_store(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
