"""Cleaning, keys, sentences, mojibake."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bongsu.corpus.cleaning import Cleaner, cut_marks, dedup_key, exact_keys, fold, is_written_in
from bongsu.corpus.mojibake import repair
from bongsu.corpus.sentences import split_sentences
from bongsu.recipe import Cleaning

HEALTHY = [
    "The café's naïve façade — “quoted”, it’s fine… 5 °C, £3, ±2",
    "Ça fait déjà vingt-trois ans, où êtes-vous? À bientôt, Ève; ÎLE D'OLÉRON",
    "Überschwemmung in Köln: Straßen gesperrt, Größe unbekannt",
    "Động đất mạnh 5,1 độ tại Kon Tum; người dân sơ tán",
    "Blåbærsyltetøj på rødgrød, Ålesund, kræver tålmodighed",
    "규모 5.1 지진으로 건물 외벽이 무너져 주민 300명이 대피했습니다 ㅠㅠ",
    "🔥🚒 evacuate now 👩‍👩‍👧",
    "»Hvad tænker du på«, «Hva tenker du på», gråøyd og blåøyd, så´n",
    "LUNEDÌ» e LUNEDÌ\xa05, “COSÌ” disse",
    "A IRMÃ» e “AMANHû… AMANHÃ…",
    "«\xa0l’été\xa0», voilà\xa0! Publié²³, été¹²",
    "„Das ‚Ö‘ in „KÖ“, CAFÉ’S “Â”, ‚Ähnlich‘, √2",
]
WORDS = re.findall(
    r"\S+",
    "fire café naïve été où ça là-bas L’ÉTÉ ÎLE garçon Straße Größe Köln ÜBER Äpfel động đất người TÂM ĐẤT được ÂM blåøyd på "
    "ÅLESUND più LUNEDÌ amanhã AMANHÃ IRMÃ coração ESPAÑA mañana 산불 대피했습니다 지진 ㅠㅠ пожар 火事 5°C £3 ½ 🔥 2015",
)
MARKS = re.findall(
    r"<(.*?)>", "< > <, > <. > <… > <\xa0! > <\xa0» > < «\xa0> < “> <” > <» > < «> <’> < – > <—> < „> <“ > <® > <² > <º >"
)


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


@given(
    st.lists(
        st.sampled_from(["fire", "café", "Größe", "niño", "“go”", "–", "a — b", "•", "£5", "5°", "®", "©", "a\xa0b", "à côté"])
    )
)
def test_repairs_whatever_went_that_way(words: list[str]) -> None:
    """Beside a sign of damage that no language writes, here an apostrophe's, every run is turned back."""
    text = " ".join(["it’s", *words])
    assert repair(damage(text)) == text


def test_what_cannot_be_known_stays() -> None:
    """MacRoman lacks ó as well as í's last byte; both became `_`."""
    assert damage("Japón, vídeo") == "JapÌ_n, vÌ_deo"
    assert repair("JapÌ_n, vÌ_deo") == "JapÌ_n, vÌ_deo"


def test_repairs_common_mojibake() -> None:
    assert repair("itâ€™s a cafÃ©") == "it’s a café"
    assert repair("it‚Äôs a caf√©") == "it’s a café"
    assert repair("voilÃ\xa0 un cafÃ©") == "voilà un café"
    assert repair("a \x91movie\x92 \x96 of \x80 5") == "a ‘movie’ – of € 5"


@pytest.mark.parametrize(
    "text", ["규모 오점일 지진으로 주민이 대피했습니다", "Сильный пожар в городе", "Überschwemmung in Köln", "山火事が発生した"]
)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_repairs_utf8_read_in_another_encoding(text: str, encoding: str) -> None:
    passed = (bytes([byte]) for byte in text.encode())
    assert repair("".join(byte.decode(encoding, "ignore") or byte.decode("latin-1") for byte in passed)) == text


@pytest.mark.parametrize("text", HEALTHY)
def test_healthy_text_stays(text: str) -> None:
    assert repair(text) == text


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(MARKS)), max_size=12))
def test_any_healthy_text_stays(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + mark for word, mark in parts)
    assert repair(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Fire &amp; smoke &lt;here&gt;", "Fire & smoke <here>"),
        ("look http://t.co/abc123 now", "look [LINK] now"),
        ("(https://example.org/a?b=c) and www.example.org.", "([LINK]) and [LINK]."),
        ("“http://t.co/abc”@you", "“[LINK]”[USER]"),
        ("http://news.kr/1에서 봤다 @kma_skylove님", "[LINK]에서 봤다 [USER]님"),
        ("cut off http://t.c… and http…", "cut off [LINK] and [LINK]"),
        ("a &copy; b, find?a=1&copy=2", "a © b, find?a=1&copy=2"),
        ("@user help, mail me@home.org", "[USER] help, mail me@home.org"),
        ("a\u200bb\x07c\ufeff\u2066d\ud800", "abcd"),
        ("page\x0cpage\x1cline\u3164name", "page page line name"),
        ("👩\u200d👧 ❤\ufe0f", "👩\u200d👧 ❤\ufe0f"),
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


def test_rules_have_an_order() -> None:
    """Entities give way before normalisation, so what an entity stands for is normalised; the other way round is not undone."""
    assert Cleaner(Cleaning(normalize="nfkc")).clean("&#xFF21; ①") == "A 1"
    assert Cleaner(Cleaning(normalize="nfkc")).clean("＆amp；x") == "&amp;x"
    assert Cleaner(Cleaning(normalize="nfc")).clean("①") is None  # one character
    assert Cleaner(Cleaning(normalize="nfc")).clean("①②") == "①②"


def test_what_is_dropped_is_counted() -> None:
    cleaner = Cleaner(Cleaning(min_characters=3, max_characters=20, scripts=["hangul"]))
    assert [cleaner.clean(text) for text in ("a", "x" * 30, "only English", "불이야 fire")] == [None, None, None, "불이야 fire"]
    assert cleaner.dropped == {"too short": 1, "too long": 1, "another script": 1}


def test_scripts() -> None:
    assert is_written_in("A fire in town", "latin")
    assert not is_written_in("Пожар в городе", "latin")
    assert not is_written_in("12345 !!", "latin")
    assert is_written_in("KTX 열차 탈선", "hangul")
    assert is_written_in("[USER] [USER] [LINK] 네", "hangul")
    assert not is_written_in("[USER] [LINK] 地震", "latin")


def test_keys() -> None:
    same = ["Forest FIRE near town!! http://t.co/a", "forest fire near town @you", "ｆｏｒｅｓｔ fire, near [LINK] town"]
    assert len({dedup_key(text) for text in same}) == 1
    assert dedup_key("🔥🔥") == "🔥🔥"
    assert dedup_key("산불 발생!") == "산불 발생"
    assert dedup_key("कि") != dedup_key("की")  # vowels of Hindi are marks, not letters
    assert dedup_key("❤\ufe0f ok") == dedup_key("❤ ok") == "ok"
    assert dedup_key("[LINK]") == "[LINK]"
    assert dedup_key("") == ""


@given(st.text(max_size=100))
@example("İstanbul ﬁre ｱ 가")
def test_the_key_of_a_key_is_the_key(text: str) -> None:
    assert dedup_key(dedup_key(text)) == dedup_key(text)


@given(st.text(alphabet="aB é산불.,!? 🔥", max_size=60))
def test_cleaning_keeps_the_key(text: str) -> None:
    cleaned = Cleaner(Cleaning(min_characters=1)).clean(text)
    assert cleaned is None or dedup_key(cleaned) == dedup_key(text)


@given(st.text(max_size=300))
def test_cleaning_twice_changes_little_and_never_fails(text: str) -> None:
    cleaned = Cleaner(Cleaning(min_characters=1)).clean(text)
    dedup_key(text)
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
        ("one line\nanother line\r\n\nthird", ["one line", "another line", "third"]),
        ("Apple Inc. The firm left the U.S. It grew.", ["Apple Inc.", "The firm left the U.S.", "It grew."]),
        ("J. K. Rowling met Mrs. Park. See No. 5 on Jan. 3.", ["J. K. Rowling met Mrs. Park.", "See No. 5 on Jan. 3."]),
        ("He said no. Then what?", ["He said no.", "Then what?"]),
        ("1. First point. 2. Second point.", ["1. First point.", "2. Second point."]),
        ("version 3.5 of example.com runs. ok", ["version 3.5 of example.com runs. ok"]),
        ("불이 났다.모두 대피했다.가.나.다.", ["불이 났다.", "모두 대피했다.", "가.나.다."]),
        ('그는 "위험해!" 라고 했다. 3층이었다.', ['그는 "위험해!"', "라고 했다.", "3층이었다."]),
        ("今日は。明日。", ["今日は。", "明日。"]),
        ("Wait... What? (Yes.) Éric came.", ["Wait...", "What?", "(Yes.)", "Éric came."]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(alphabet="aB .!?\"'\n)(가다1", max_size=200))
def test_sentences_lose_nothing_but_space(text: str) -> None:
    pieces = split_sentences(text)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece.strip() for piece in pieces)


@pytest.mark.parametrize("unit", [" ", ".", ". ", '."', ".)", "a. ", "\n", "((", '. "', "http://", "@", "&", "A.", "다."])
def test_time_grows_with_the_text_only(unit: str) -> None:
    """Nothing here is quadratic: what takes milliseconds would take minutes."""
    text = "a" + unit * 100_000
    begin = time.process_time()
    split_sentences(text)
    Cleaner(Cleaning()).clean(text)
    dedup_key(text)
    assert time.process_time() - begin < 3


def test_only_one_small_letter_is_longer_than_its_capital() -> None:
    assert [character for character in map(chr, range(0x110000)) if len(character.lower()) > 1] == ["İ"]


@given(
    st.lists(st.text(st.sampled_from("aİI .@/xé")) | st.sampled_from(["İ http://a.b/c İ", "WWW.A.de ", "@b İ", ""]), min_size=1)
)
def test_many_texts_are_cleaned_as_each_alone(texts: list[str]) -> None:
    assert Cleaner(Cleaning()).clean_all(texts) == list(map(Cleaner(Cleaning()).clean, texts))
    rewritten = Cleaner(Cleaning()).rewrite_all(texts)
    assert rewritten == [Cleaner(Cleaning()).rewrite_all([text])[0] for text in texts]
    assert exact_keys(texts) == ["".join(dedup_key(text).split()).encode() for text in texts]


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0f73\u0f71", "\u302a\u302d", "\U0001e8d0\u0301"], ids=ascii)
def test_a_run_of_combining_marks_is_cut_before_it_is_sorted(marks: str) -> None:
    text = "불이 났다 e" + marks * 500_000 + " 대피"  # sorting so many would take a day
    cut = "불이 났다 e" + marks * 15 + " 대피"
    kept = Cleaner(Cleaning(min_characters=1, max_characters=100))
    assert kept.clean_all(["a", text, "b"]) == ["a", unicodedata.normalize("NFC", cut), "b"]
    assert dedup_key(text) == dedup_key(cut)
    assert fold(text) == fold(cut)


@pytest.mark.parametrize("length", [29, 30, 31, 59, 60, 61])
def test_at_most_thirty_marks_stand_after_one_another(length: int) -> None:
    for before in range(35):  # wherever the run begins
        text = "a" * before + "\u0300" * length + "한\u0301글"
        assert cut_marks(text) == "a" * before + "\u0300" * min(length, 30) + "한\u0301글"
