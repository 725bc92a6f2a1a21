"""From raw files to a corpus."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from bongsu import parallel
from bongsu.corpus import blocks
from bongsu.corpus.cleaning import dedup_key
from bongsu.corpus.prepare import prepare
from bongsu.corpus.sentences import split_sentences
from bongsu.corpus.split import hash_keys, in_validation
from bongsu.corpus.stored import parts, texts
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
    assert not {dedup_key(text) for text in texts(large, "train")} & {dedup_key(text) for text in texts(large, "validation")}


def test_given_texts_are_held_out_and_never_trained_on(tmp_path: Path) -> None:
    lines = messages(300)
    held = [*lines[250:], "only here, and nowhere else"]
    (tmp_path / "held.txt").write_text("\n".join(held), encoding="utf-8")
    folder = make(tmp_path, lines, validation_sources=[Source(path=str(tmp_path / "held.txt"))])
    assert list(texts(folder, "validation")) == held
    assert list(texts(folder, "train")) == lines[:250]


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
    assert list(report["sha256"]) == ["train/000000.parquet", "validation/000000.parquet"]
    assert sorted(path.name for path in folder.iterdir()) == ["corpus.json", "train", "validation"]
    assert pq.read_schema(parts(folder, "train")[0]).names == ["text", "source", "lang"]


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
    with pytest.raises(DataError, match=r"validation split is empty; 1 different .* raise corpus.validation \(now 0.1\)"):
        make(tmp_path, ["a single text is here"])


def test_duplicates_are_kept_when_asked(tmp_path: Path) -> None:
    lines = messages(100) * 2
    assert sorted(both(make(tmp_path, lines, duplicates="keep"))) == sorted(lines)


def test_a_source_that_gives_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in.txt: none of its 2 documents .*\(too short 1, another script 1\)"):
        make(tmp_path, ["x", "산불이 났다"], cleaning=Cleaning(scripts=["latin"]))


def test_each_source_is_counted(tmp_path: Path) -> None:
    lines = messages(60)
    (tmp_path / "a.txt").write_text("\n".join(lines[:40]), encoding="utf-8")
    (tmp_path / "b.txt").write_text("\n".join(["é", *lines[20:]]), encoding="utf-8")
    sources = [Source(path=str(tmp_path / name)) for name in ("a.txt", "b.txt")]
    (tmp_path / "out").mkdir()
    report = prepare(Corpus(sources=sources, validation=0.2), tmp_path / "out")
    a, b = report["sources"]
    assert (a["documents"], a["texts"], a["dropped"]) == (40, 40, {})
    assert (b["documents"], b["texts"], b["dropped"]) == (41, 40, {"too short": 1})
    assert b["bytes"] == sum(len(line.encode()) for line in lines[20:])
    assert report["dropped"] == {"too short": 1, "exact duplicate": 20}
    written = pq.read_table(tmp_path / "out" / "train").to_pylist()
    assert {row["source"] for row in written} == {source.path for source in sources}
    assert all(row["source"] == sources[0].path for row in written if row["text"] in lines[:40])


@pytest.mark.parametrize("split", [None, True, False])
def test_documents_of_the_pile_are_split_by_default(tmp_path: Path, split: bool | None) -> None:
    lines = [line.capitalize() for line in messages(120)]
    documents = [f"{one}. {other}!" for one, other in zip(lines[::2], lines[1::2], strict=True)]
    rows = [{"text": document, "meta": {"pile_set_name": "Wiki"}} for document in documents]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    (tmp_path / "out").mkdir()
    source = Source(path=str(tmp_path / "in.jsonl"), sentences=split)
    report = prepare(Corpus(sources=[source], validation=0.2), tmp_path / "out")
    sentences = [sentence for document in documents for sentence in split_sentences(document)]
    assert len(sentences) == 120
    assert report["documents"] == 60
    assert sorted(both(tmp_path / "out")) == sorted(documents if split is False else sentences)


def test_lone_surrogates_do_no_harm(tmp_path: Path) -> None:
    lines = [*messages(60), "a broken \ud83d half of an emoji"]
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in lines), encoding="utf-8")
    (tmp_path / "out").mkdir()
    corpus = Corpus(sources=[Source(path=str(tmp_path / "in.jsonl"))], validation=0.2, cleaning=Cleaning(control=False))
    report = prepare(corpus, tmp_path / "out")
    assert report["texts"] + report["sources"][0]["read"]["bad"] >= 61
    assert sum(1 for _ in both(tmp_path / "out")) == report["texts"]


def test_bad_lines_are_told(tmp_path: Path) -> None:
    good = [json.dumps({"text": line}) for line in messages(60)]
    (tmp_path / "in.jsonl").write_text("\n".join([*good, "{oops"]), encoding="utf-8")
    (tmp_path / "out").mkdir()
    source = prepare(Corpus(sources=[Source(path=str(tmp_path / "in.jsonl"))], validation=0.2), tmp_path / "out")["sources"][0]
    assert source["read"]["bad"] == 1
    assert source["read"]["bad_examples"][0].startswith(f"{tmp_path / 'in.jsonl'}:61: ")


def test_splits_have_the_share_asked_for() -> None:
    hashes = hash_keys(messages(20_000))
    assert hashes.dtype == np.uint64
    assert abs(in_validation(hashes, 0.1).mean() - 0.1) < 4 * (0.1 * 0.9 / 20_000) ** 0.5
    assert set(np.flatnonzero(in_validation(hashes, 0.05))) < set(np.flatnonzero(in_validation(hashes, 0.1)))


def test_hashes_are_the_same_on_every_machine() -> None:
    digest = xxhash.xxh3_64_intdigest(b"forestfire")
    assert hash_keys(["Forest FIRE!", "🔥", "forest [LINK]fire"]).tolist() == [
        digest, xxhash.xxh3_64_intdigest("🔥".encode()), digest
    ]  # fmt: skip


@given(st.lists(st.text(max_size=30) | st.text(alphabet="aB é산불.,!? 🔥/@[]_", max_size=60), max_size=8))
def test_hashes_stand_for_keys(texts: list[str]) -> None:
    """For any texts hashed together those are equal whose keys, one by one, are equal but for blanks."""
    keys = [dedup_key(text.replace("\0", "")).replace(" ", "") for text in texts]
    expected = [xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")) for name in keys]
    assert hash_keys(texts).tolist() == expected


def mixed_sources(tmp_path: Path) -> list[Source]:
    """A file of lines with bad ones among them, a table whose rows span lines, and a packed file."""
    lines = [json.dumps({"text": f"{line}.\nIt is so. {line}"}) for line in messages(400)]
    lines[37] = lines[311] = "{oops"
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = "".join(f'{number},"{line}\nand more"\n' for number, line in enumerate(messages(300, seed=1)))
    (tmp_path / "b.csv").write_text("id,text\n" + rows, encoding="utf-8")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress("\n".join(messages(400)[::2]).encode()))
    names = [("a.jsonl", {"sentences": True}), ("b.csv", {}), ("c.txt.gz", {"limit": 150})]
    return [Source.model_validate({"path": str(tmp_path / name), **more}) for name, more in names]  # type: ignore[dict-item]


def test_blocks_and_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one block, in many, and in many by two processes: the same texts; by one process or two: the same bytes."""
    corpus = Corpus(sources=mixed_sources(tmp_path), validation=0.1)
    for name in ("whole", "alone", "together"):
        (tmp_path / name).mkdir()
    whole = prepare(corpus, tmp_path / "whole")
    assert whole["sources"][0]["read"]["bad_examples"][1].startswith(f"{tmp_path / 'a.jsonl'}:312: ")
    assert whole["dropped"]["exact duplicate"] == 150
    monkeypatch.setattr(blocks, "cut", partial(blocks.cut, size=3000))
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    alone = prepare(corpus, tmp_path / "alone")
    assert {**alone, "sha256": {}} == {**whole, "sha256": {}}
    assert both(tmp_path / "alone") == both(tmp_path / "whole")
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    assert prepare(corpus, tmp_path / "together") == alone


def test_errors_come_in_order_whoever_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bad place too many is named, though a later block holds one as well."""
    lines = ["{oops" if number in (100, 250, 700) else json.dumps({"text": line}) for number, line in enumerate(messages(800))]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(blocks, "cut", partial(blocks.cut, size=3000))
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"in\.jsonl:251: .*bad place number 2, and max_bad = 1"):
        prepare(Corpus(sources=[Source(path=str(tmp_path / "in.jsonl"), max_bad=1)]), tmp_path / "out")
