"""Cleaning, keys, sentences, mojibake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bongsu.corpus.cleaning import Cleaner, is_written_in, key, split_sentences
from bongsu.corpus.mojibake import repair
from bongsu.recipe import Cleaning

HEALTHY = [
    "The café's naïve façade — “quoted”, it’s fine… 5 °C, £3, ±2",
    "Ça fait déjà vingt-trois ans, où êtes-vous? À bientôt, Ève; ÎLE D'OLÉRON",
    "Überschwemmung in Köln: Straßen gesperrt, Größe unbekannt",
    "Động đất mạnh 5,1 độ tại Kon Tum; người dân sơ tán",
    "Blåbærsyltetøj på rødgrød, Ålesund, kræver tålmodighed",
    "규모 5.1 지진으로 건물 외벽이 무너져 주민 300명이 대피했습니다 ㅠㅠ",
    "🔥🚒 evacuate now 👩‍👩‍👧",
]


def damage(text: str) -> str:
    """What happened to the tweets, done forwards: UTF-8 read as cp1252, written as MacRoman, read as latin-1."""
    passed = b"".join(
        byte.decode("cp1252").encode("mac_roman", "replace").replace(b"?", b"_") if byte != b"\x9d" else b"\x9d"
        for byte in (bytes([value]) for value in text.encode())
    )
    return passed.decode("latin-1")


@pytest.mark.parametrize(
    "text", ["It’s here", "“Airplane”", "two — three – four", "wait…", "caf\u00e9 fa\u00e7ade", "a\u00a0b", "£5 ®"]
)
def test_repairs_what_happened_to_the_tweets(text: str) -> None:
    assert damage(text) != text
    assert repair(damage(text)) == text


def test_repairs_common_mojibake() -> None:
    assert repair("itâ€™s a cafÃ©") == "it’s a café"


@pytest.mark.parametrize("text", HEALTHY)
def test_healthy_text_stays(text: str) -> None:
    assert repair(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Fire &amp; smoke &lt;here&gt;", "Fire & smoke <here>"),
        ("look http://t.co/abc123 now", "look [LINK] now"),
        ("(https://example.org/a?b=c) and www.example.org.", "([LINK] and [LINK]"),
        ("@user help, mail me@home.org", "[USER] help, mail me@home.org"),
        ("a\u200bb\x07c\ufeff", "abc"),
        ("too   many\n\n spaces\t", "too many spaces"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),
    ],
)
def test_rules(text: str, cleaned: str) -> None:
    assert Cleaner(Cleaning()).clean(text) == cleaned


def test_each_rule_is_a_switch() -> None:
    off = Cleaning(
        mojibake=False, entities=False, normalize="none", control=False, links="keep", mentions="keep", whitespace=False,
        min_characters=1, max_characters=10**6,
    )  # fmt: skip
    text = "  &amp; \x07 http://t.co/a @you  \u1112\u1161\u11ab itâ€™s "
    assert Cleaner(off).clean(text) == text
    removed = Cleaner(Cleaning(links="remove", mentions="remove"))
    assert removed.clean("see http://t.co/a @you there") == "see there"


def test_what_is_dropped_is_counted() -> None:
    cleaner = Cleaner(Cleaning(min_characters=3, max_characters=20, languages=["ko"]))
    assert [cleaner.clean(text) for text in ("a", "x" * 30, "only English", "불이야 fire")] == [None, None, None, "불이야 fire"]
    assert cleaner.dropped == {"too short": 1, "too long": 1, "another script": 1}


def test_scripts() -> None:
    assert is_written_in("A fire in town", "en")
    assert not is_written_in("Пожар в городе", "en")
    assert not is_written_in("12345 !!", "en")
    assert is_written_in("KTX 열차 탈선", "ko")


def test_keys() -> None:
    same = ["Forest FIRE near town!! http://t.co/a", "forest fire near town @you", "ｆｏｒｅｓｔ fire, near [LINK] town"]
    assert len({key(text) for text in same}) == 1
    assert key("🔥🔥") == "🔥🔥"
    assert key("산불 발생!") == "산불 발생"


@given(st.text(max_size=300))
def test_cleaning_twice_changes_little_and_never_fails(text: str) -> None:
    cleaned = Cleaner(Cleaning(min_characters=1)).clean(text)
    key(text)
    if cleaned is not None:
        assert cleaned == cleaned.strip()
        assert "\x00" not in cleaned


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It burned. Nobody was hurt! Was it arson? Yes.", ["It burned.", "Nobody was hurt!", "Was it arson?", "Yes."]),
        ("Dr. Kim of the U.S. Army spoke at 3.5 p.m. on Tuesday.", ["Dr. Kim of the U.S. Army spoke at 3.5 p.m. on Tuesday."]),
        ('He said "Run." Then he ran.', ['He said "Run."', "Then he ran."]),
        ("산불이 났다. 주민들이 대피했다. 괜찮아요? 네.", ["산불이 났다.", "주민들이 대피했다.", "괜찮아요?", "네."]),
        ("one line\nanother line\n\nthird", ["one line", "another line", "third"]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(alphabet="aB .!?\"'\n)(가다1", max_size=200))
def test_sentences_lose_nothing_but_space(text: str) -> None:
    pieces = split_sentences(text)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece.strip() for piece in pieces)
