"""The same corpus and shards from a Ray cluster, one of whose workers dies, as from one machine."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from corpus_samples import jsonl
from test_prepare import messages

from bongsu import progress
from bongsu.corpus import blocks, staging
from bongsu.corpus.prepare import prepare
from bongsu.corpus.stored import parts, texts
from bongsu.pipeline.stages import _encoded
from bongsu.recipe import Corpus, Source, Tokenizer
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer, train_tokenizer
from bongsu.tokens.shards import encode_texts, write_shards


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def dying(block: blocks.Block, mark: Path, **rest: object) -> staging.Staged:
    """Cleans a block; the first time that it is the fourth, its process ends as if it had been killed, its work half done."""
    if block.number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return staging.stage(block, **rest)  # type: ignore[arg-type]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_that_loses_a_worker_makes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = messages(600)
    for name, part in (("a.jsonl", lines[:400]), ("b.jsonl", lines[200:])):
        (tmp_path / name).write_bytes(jsonl([{"text": line} for line in part]))
    corpus = Corpus(sources=[Source(path=str(tmp_path / "*.jsonl"))], validation=0.1)
    monkeypatch.setattr(blocks, "cut", partial(blocks.cut, size=4000))
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    report = prepare(corpus, tmp_path / "here")
    assert report["dropped"] == {"exact duplicate": 200}

    monkeypatch.setattr("bongsu.corpus.prepare.stage", partial(dying, mark=tmp_path / "died"))
    assert prepare(corpus, tmp_path / "there", ray="auto") == report
    assert (tmp_path / "died").exists()
    assert tree(tmp_path / "there") == tree(tmp_path / "here")

    save_tokenizer(train_tokenizer(Tokenizer(vocab_size=300), texts(tmp_path / "here", "train")), tmp_path / "tok", 64)
    tokenizer = load_tokenizer(tmp_path / "tok")
    alone = encode_texts(texts(tmp_path / "here", "train"), tokenizer)
    by_ray = _encoded(parts(tmp_path / "here", "train"), tmp_path / "tok", "auto")
    with progress.bar("encode", None, "MB") as bar:
        write_shards(tmp_path / "ids there", "train", by_ray, tokenizer, bar)
        write_shards(tmp_path / "ids here", "train", alone, tokenizer, bar)
    assert tree(tmp_path / "ids there") == tree(tmp_path / "ids here")
