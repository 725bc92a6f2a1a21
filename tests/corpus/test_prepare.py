"""From raw files to a corpus."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bongsu.corpus import dedup
from bongsu.corpus.cleaning import key
from bongsu.corpus.dedup import first_occurrences, near_groups
from bongsu.corpus.prepare import prepare, texts
from bongsu.errors import DataError
from bongsu.files import file_hash
from bongsu.recipe import Cleaning, Corpus, Source

WORDS = [
    "storm",
    "river",
    "bridge",
    "music",
    "goal",
    "ticket",
    "kitchen",
    "harbour",
    "signal",
    "forest",
    "window",
    "pepper",
    "ladder",
    "planet",
    "copper",
    "velvet",
]


def messages(count: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, 12)) + f" {number}" for number in range(count)]


def make(tmp_path: Path, lines: list[str], name: str = "out", **settings: object) -> Path:
    (tmp_path / "in.txt").write_text("\n".join(lines), encoding="utf-8")
    folder = tmp_path / name
    folder.mkdir()
    prepare(Corpus(sources=[Source(path=str(tmp_path / "in.txt"))], validation=0.1, **settings), folder)  # type: ignore[arg-type]
    return folder


def both(folder: Path) -> list[str]:
    return [*texts(folder, "train"), *texts(folder, "validation")]


def test_keeps_the_first_of_duplicates_in_order(tmp_path: Path) -> None:
    lines = messages(300)
    folder = make(tmp_path, [*lines, *[line.upper() + "!" for line in lines[:50]]])
    assert sorted(both(folder)) == sorted(lines)
    train = list(texts(folder, "train"))
    assert train == [line for line in lines if line in set(train)]
    assert 10 <= len(list(texts(folder, "validation"))) <= 60


def test_the_split_stays_when_text_is_added(tmp_path: Path) -> None:
    lines = messages(600)
    small, large = make(tmp_path, lines[:300], "small"), make(tmp_path, lines, "large")
    assert set(texts(small, "validation")) <= set(texts(large, "validation"))
    assert not {key(text) for text in texts(large, "train")} & {key(text) for text in texts(large, "validation")}


def test_says_what_it_did(tmp_path: Path) -> None:
    lines = messages(200)
    (tmp_path / "in.txt").write_text("\n".join([*lines, lines[0], "x"]), encoding="utf-8")
    folder = tmp_path / "out"
    folder.mkdir()
    source = Source(path=str(tmp_path / "in.txt"))
    report = prepare(Corpus(sources=[source], validation=0.1, cleaning=Cleaning(min_characters=3)), folder)
    assert report["texts"] == 200 == report["splits"]["train"] + report["splits"]["validation"]
    assert report["bytes"] == sum(len(line.encode()) for line in lines)
    assert report["dropped"] == {"too short": 1, "exact duplicate": 1}
    for name, digest in report["sha256"].items():
        assert file_hash(folder / name) == digest
    assert sorted(path.name for path in folder.iterdir()) == ["corpus.json", "train.parquet", "validation.parquet"]
    assert pq.read_schema(folder / "train.parquet").names == ["text", "source", "lang"]


def test_compressed_input_gives_the_same_corpus(tmp_path: Path) -> None:
    lines = messages(200)
    plain = make(tmp_path, lines, "plain")
    packed = tmp_path / "in.txt.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    folder = tmp_path / "packed"
    folder.mkdir()
    prepare(Corpus(sources=[Source(path=str(packed))], validation=0.1), folder)
    assert both(folder) == both(plain)


def test_near_duplicates_are_dropped_when_asked(tmp_path: Path) -> None:
    lines = messages(100)
    near = [line.replace(line.split()[-1], line.split()[-1] + "7") for line in lines]
    assert len(both(make(tmp_path, [*lines, *near], "exact"))) == 200
    left = both(make(tmp_path, [*lines, *near], "near", duplicates="near", near_threshold=0.7))
    assert 95 <= len(left) <= 130


def test_nothing_to_hold_out_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="split is empty"):
        make(tmp_path, ["only one text here"])


def test_partitions_agree_with_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "PARTITION", 100)
    hashes = np.random.default_rng(0).integers(0, 400, 1000).astype(np.uint64)
    hashes.tofile(tmp_path / "hashes")
    keep = first_occurrences(tmp_path / "hashes", 1000, tmp_path / "keep.npy")
    _, first = np.unique(hashes, return_index=True)
    assert np.flatnonzero(keep).tolist() == sorted(first.tolist())


def test_near_groups_follow_the_jaccard_of_their_shingles() -> None:
    lines = messages(40)
    near = [line.replace(line.split()[-1], line.split()[-1] + "7") for line in lines]
    groups = near_groups([*lines, *near], threshold=0.7)
    together = sum(groups[number] == groups[number + 40] for number in range(40))
    assert together >= 36
    assert len(set(groups[:40].tolist())) >= 38
