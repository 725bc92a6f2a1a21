"""Labels and versions in SQLite, through kills, undoing and deletions."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bongsu.errors import WorkspaceError
from bongsu.labelling.store import Asked, LabelStore, Verdict, version_name
from bongsu.watch.messages import Deletion, Message
from bongsu.watch.store import Store

WRITER = """
import sys
from pathlib import Path
from bongsu.labelling.store import Asked, LabelStore, Verdict
store = LabelStore(Path(sys.argv[1]))
number = len(store.labels())
while True:
    store.add(Asked("s", str(number), "", f"text {number}", 0.0, "random"), number % 2, "kim", 1.0)
    if number % 3 == 0:
        store.add_version("b", 1.0, number, Verdict("not_worse", 9), b"w" * 1000)
    number += 1
    print(number, flush=True)
"""


def ask(identity: str, **more: object) -> Asked:
    return Asked("s", identity, "ann", f"text {identity}", 5.0, "random", **more)  # type: ignore[arg-type]


def test_answers_stand_until_they_are_undone_or_given_anew(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.db")
    store.show([ask("1"), ask("2")])
    store.add(ask("1", probability=0.25, version="v"), 1, "kim", 10.0)
    store.add(ask("2"), None, "kim", 11.0)
    store.add(ask("3"), 0, "lee", 12.0)
    assert store.asked() == []
    assert [(each.asked.id, each.label, each.by, each.at) for each in store.labels()] == [
        ("1", 1, "kim", 10.0),
        ("2", None, "kim", 11.0),
        ("3", 0, "lee", 12.0),
    ]
    assert store.labels()[0].asked == ask("1", probability=0.25, version="v")
    undone = store.undo("kim", 13.0)
    assert undone is not None
    assert undone.asked.id == "2"
    store.add(ask("1"), 0, "lee", 14.0)  # another opinion takes the place of the first
    assert [(each.asked.id, each.label) for each in store.labels()] == [("3", 0), ("1", 0)]
    assert store.undo("kim", 15.0) is None
    rows = (
        sqlite3.connect(tmp_path / "labels.db").execute("SELECT id, label, by, undone FROM labels ORDER BY number").fetchall()
    )
    assert rows == [("1", 1, "kim", 14.0), ("2", None, "kim", 13.0), ("3", 0, "lee", None), ("1", 0, "lee", None)]
    assert (tmp_path / "labels.db").stat().st_mode & 0o777 == 0o600


def test_every_version_can_be_brought_back(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.db")
    assert store.in_use("b") == (0, 0)
    one = store.add_version("b", 1.0, 10, Verdict("not_worse", 9, -0.1), b"one")
    two = store.add_version("b", 2.0, 20, Verdict("worse_than_used", 9, 0.1), b"two")
    store.add_version("other", 2.0, 20, Verdict("not_worse", 9), b"of another bundle")
    assert store.in_use("b") == (one.number, 0)
    store.add(ask("1"), 1, "kim", 3.0)
    store.use("b", two.number, "kim", 3.0)
    assert store.in_use("b") == (two.number, 1)
    store.use("b", 0, "kim", 4.0)
    store.close()
    again = LabelStore(tmp_path / "labels.db")
    assert again.in_use("b") == (0, 1)
    assert again.versions("b") == [one, two]
    assert again.weights(two.number) == b"two"
    assert [each.name for each in again.versions("b")] == ["b+1", "b+2"]
    assert version_name("b", 0) == "b"
    assert again.bundles() == ["b", "other"]
    assert str(two.verdict) == "worse than the version in use on 9 random labels (log loss +0.100)"


@pytest.mark.parametrize("seed", range(5))
def test_nothing_that_was_acknowledged_is_lost_in_a_kill(tmp_path: Path, seed: int) -> None:
    path, said = tmp_path / "labels.db", 0
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(random.Random(seed).randint(1, 40)):
            said = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.communicate()[0].split()
        said = int(rest[-1]) if rest and rest[-1].isdecimal() else said
        store = LabelStore(path)
        labels = store.labels()
        assert len(labels) >= said
        assert [each.asked.text for each in labels] == [f"text {number}" for number in range(len(labels))]
        versions = store.versions("b")
        assert store.in_use("b")[0] == versions[-1].number
        assert all(len(store.weights(each.number)) == 1000 for each in versions)
        store.close()


def test_a_deletion_in_a_watch_takes_labels_along(tmp_path: Path) -> None:
    watch = Store(tmp_path / "watch.db")
    labels = LabelStore(tmp_path / "watch.db")
    for identity in ("1", "2"):
        labels.add(ask(identity), 1, "kim", 1.0)
    labels.add(Asked("other", "1", "ann", "text", 5.0, "random"), 1, "kim", 1.0)
    labels.show([ask("4")])
    watch.save(passed=[(Message("1", "text 1", 5.0, "ann", "s"), 0.9)], deletions=[Deletion(id="1", source="s")])
    assert [each.asked.uid for each in labels.labels()] == [("s", "2"), ("other", "1")]
    watch.save(deletions=[Deletion(author="ann", source="s")])
    assert [each.asked.uid for each in labels.labels()] == [("other", "1")]
    assert labels.asked() == []
    labels.close()
    watch.close()
    assert b"text 2" not in (tmp_path / "watch.db").read_bytes()
    Store(tmp_path / "watch.db").close()  # a watch goes on from a store with labels


def test_labels_begun_without_a_watch_become_part_of_one(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.db")
    store.add(ask("1"), 1, "kim", 1.0)
    store.close()
    watch = Store(tmp_path / "labels.db")
    watch.save(passed=[(Message("9", "text", 5.0), 0.9)])
    watch.close()
    assert len(LabelStore(tmp_path / "labels.db").labels()) == 1


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text(
        "not a database at all, but longer than a header of SQLite is, which is 100 bytes long" * 3
    )
    with pytest.raises(WorkspaceError, match=r"text\.db: cannot be used"):
        LabelStore(tmp_path / "text.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    with pytest.raises(WorkspaceError, match="not a store of labels"):
        LabelStore(tmp_path / "other.db")
    with pytest.raises(WorkspaceError, match="there is no folder"):
        LabelStore(tmp_path / "none" / "labels.db")
