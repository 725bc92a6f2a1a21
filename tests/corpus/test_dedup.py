"""Exact and near duplicates."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bongsu.corpus.dedup import NearDuplicates, first_occurrences, near_groups

WORDS = re.findall(
    r"\w+", "storm river bridge music goal ticket kitchen harbour signal forest window pepper ladder planet copper velvet"
)


def messages(count: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, 12)) for _ in range(count)]


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the sets of character 5-shingles."""
    a, b = ({text[start : start + 5] for start in range(len(text) - 4)} for text in (one, other))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("partition", [50, 999, 1000, 1001, 10**6])
def test_partitions_agree_with_a_dictionary(tmp_path: Path, partition: int) -> None:
    generator = np.random.default_rng(0)
    hashes = generator.choice(generator.integers(0, 2**64, 400, dtype=np.uint64), 1000)
    hashes[:3] = [0, 2**64 - 1, 0]
    hashes.tofile(tmp_path / "hashes")
    keep = first_occurrences(tmp_path / "hashes", 1000, tmp_path / "keep.npy", partition)
    first: dict[int, int] = {}
    for row, value in enumerate(hashes.tolist()):
        first.setdefault(value, row)
    assert np.flatnonzero(keep).tolist() == sorted(first.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hashes", "keep.npy"]
    assert np.array_equal(np.load(tmp_path / "keep.npy"), keep)


def test_no_hashes(tmp_path: Path) -> None:
    (tmp_path / "hashes").touch()
    assert len(first_occurrences(tmp_path / "hashes", 0, tmp_path / "keep.npy")) == 0


def test_near_groups_agree_with_all_pairs() -> None:
    """Against every pair's true similarity: no pair is joined wrongly, none that is plainly alike is missed."""
    generator = np.random.default_rng(1)
    texts = messages(60)
    for text in texts[:40]:  # the same with 1 to 4 of 12 words changed
        words = text.split()
        for place in generator.choice(12, generator.integers(1, 5), replace=False):
            words[place] = str(generator.choice(WORDS))
        texts.append(" ".join(words))
    groups = near_groups(texts, 0.6)
    parent = list(range(len(texts)))

    def root(node: int) -> int:
        return node if parent[node] == node else root(parent[node])

    for one, other in itertools.combinations(range(len(texts)), 2):
        alike = similarity(texts[one], texts[other])
        if alike >= 0.6:
            parent[root(other)] = root(one)
        if alike >= 0.85:
            assert groups[one] == groups[other]
    for one, other in itertools.combinations(range(len(texts)), 2):
        if groups[one] == groups[other]:
            assert root(one) == root(other)
    assert 45 < len(set(groups.tolist())) < 100


def test_groups_are_by_key_and_reach_over_others() -> None:
    far = " ".join(WORDS)
    steps = [far, far + " and a", far + " and a bit", far + " and a bit more of it", far + " and a bit more of it here now"]
    groups = near_groups(["Fire!", *steps, "fire http://t.co/x", "", "  "], 0.8)
    assert similarity(steps[0], steps[-1]) < 0.8 < min(map(similarity, steps, steps[1:]))
    assert groups.tolist() == [0, 1, 1, 1, 1, 1, 0, 6, 6]
    assert groups.dtype == np.int64


@settings(max_examples=25)
@given(st.lists(st.text(alphabet="ab 산불!", max_size=12), max_size=12))
def test_any_texts_can_be_grouped(texts: list[str]) -> None:
    groups = near_groups(texts)
    assert groups.shape == (len(texts),)
    assert near_groups(texts + texts).tolist() == [*groups, *groups]


def test_near_duplicates_are_seen_and_others_not() -> None:
    near = NearDuplicates(0.8)
    texts = messages(200)
    assert not any(near.seen(text) for text in texts)
    close = [text + " now" for text in texts]
    assert min(map(similarity, texts, close)) > 0.9
    assert sum(near.seen(text) for text in close) >= 195
    assert not any(near.seen(text) for text in messages(200, seed=5))
