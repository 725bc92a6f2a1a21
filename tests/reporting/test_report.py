"""The page and its charts: whole, self-contained, safe with hostile text, and telling the truth."""

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bongsu.evaluation.bootstrap import Comparison, PairedDifference, paired_difference
from bongsu.evaluation.calibration import reliability
from bongsu.evaluation.metrics import classification_metrics, predictions, threshold_curve
from bongsu.pretraining.masked_lm import Token
from bongsu.recipe import Validation
from bongsu.reporting import charts, drawing
from bongsu.reporting.korean import KOREAN
from bongsu.reporting.page import number, render, sentences, signed, size, verdict
from bongsu.reporting.run import _protocol
from bongsu.reporting.sections import (
    ClassificationSection,
    Fold,
    Mistake,
    Pretraining,
    Report,
    Scores,
    ShadedWord,
    StageTime,
    TaskSection,
)
from bongsu.tasks.task import Table

HOSTILE = "</td></script><script>alert('x')</script><img src=x onerror=alert(1)>\" onmouseover=\"x & 서울 🔥"
VOID = {"meta", "br", "img", "hr", "wbr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def log(steps: int = 30) -> list[dict[str, float]]:
    training = [{"step": n, "loss": 5 / n, "accuracy": 1 - 1 / n, "learning_rate": 1e-3, "tokens_per_second": 1000.0 * n,
                 "mfu": 0.4321, "data_wait": n / 1000}
                for n in range(1, steps)]  # fmt: skip
    measured = [{"step": n, "validation_loss": 6 / n, "validation_accuracy": 1 - 1 / n, "validation_bits_per_byte": 3 / n}
                for n in range(10, steps, 10)]  # fmt: skip
    return training + measured


def section(classes: int, name: Callable[[int], str]) -> ClassificationSection:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 300)
    table = rng.dirichlet(np.ones(classes), 300) / 2 + np.eye(classes)[labels] / 2
    weak = rng.dirichlet(np.ones(classes), 300)
    return ClassificationSection(
        names=[name(number) for number in range(classes)],
        protocol="5-fold cross-validation",
        model=classification_metrics(labels, table),
        baselines={
            "majority class": classification_metrics(labels, weak),
            "an ensemble": classification_metrics(labels, table[::-1]),
        },
        baseline="majority class",
        difference=paired_difference(labels, predictions(table), predictions(weak)),
        compared={"an ensemble": paired_difference(labels, predictions(table[::-1]), predictions(weak))},
        folds=[Fold(1, 120, 0.8, 0.7, 2.5), Fold(2, 130, 0.9, 0.8, 3.0)],
        reliability=reliability(labels, table),
        mistakes=[Mistake(7, HOSTILE, name(0), name(1), 0.987)],
        curves=[log(), log(20)],
        thresholds=threshold_curve(labels, table[:, 1]) if classes == 2 else None,
        scores=Scores(labels.tolist(), table[:, 1].tolist()) if classes == 2 else None,
    )


def token(text: str, segment: int, target: str | None = None, guess: str | None = None) -> Token:
    probability = None if guess is None else 0.75
    return {"text": text, "segment": segment, "masked": target is not None, "target": target, "guess": guess,
            "probability": probability}  # fmt: skip


CORPUS: Any = {
    "documents": 12000,
    "texts": 11000,
    "bytes": 1_500_000,
    "dropped": {"duplicate": 900, "too_short": 100},
    "sources": [{"path": "a.csv", "documents": 12000, "texts": 11000, "bytes": 1_500_000}],
    "splits": {"train": 10800, "validation": 200},
}


def whole(classes: int = 2, name: Callable[[int], str] = lambda number: f"class {number}") -> Report:
    return Report(
        name="demo",
        created="2026-01-02 03:04",
        summary=["Accuracy 0.81 (0.79 to 0.83)."],
        notes=["Far too little text."],
        stages=[StageTime("corpus", 3.2), StageTime("pretrain", 3725.0)],
        corpus=CORPUS,
        tokenizer={"vocab_size": 8000, "bytes_per_token": 3.875, "unseen_characters": 0.0},
        model={"d_model": 256, "tied": True, "parameters": 5_312_000},
        pretrain=Pretraining(log(25), {"step": 20, "validation_bits_per_byte": 1.53, "validation_accuracy": 0.41}),
        samples=[{"tokens": [token(" big", 1), token("[MASK]", 1, " fire", " fire"), token("[MASK]", 2, "지진", " 홍수")]}],
        classification=section(classes, name),
        test=section(classes, name),
        recipe='name = "demo"\n',
        reproduce=["bongsu run demo.toml"],
        versions={"bongsu": "0.1.0"},
    )  # fmt: skip


@pytest.mark.parametrize("classes", [2, 12])
def test_the_page_is_whole_and_self_contained(classes: int) -> None:
    html = render(whole(classes))
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "img", "object", "embed"}
        for key in ("href", "src", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:"))
            if (attributes.get(key) or "").startswith("#"):
                assert (attributes[key] or "")[1:] in ids
    for reference in re.findall(r"url\(([^)]*)\)", html):
        assert reference.startswith("#")
        assert reference[1:] in ids
    assert "@import" not in html
    for word in (
        "5,312,000",
        "1 h 02 min",
        "1.53",
        "too short",
        "5-fold cross-validation",
        "bongsu run demo.toml",
        "Which class is taken for which",
    ):
        assert word in page.words
    assert render(whole(classes)) == html


def test_hostile_text_stays_text() -> None:
    hostile: Any = {**CORPUS, "dropped": {HOSTILE: 3}, "sources": [{"path": HOSTILE}]}
    report = replace(
        whole(2, lambda number: f"{HOSTILE}{number}"),
        name=HOSTILE, summary=[HOSTILE], notes=[HOSTILE], recipe=HOSTILE, reproduce=[HOSTILE], created=HOSTILE,
        samples=[{"tokens": [token(HOSTILE, 3), token("[MASK]", 3, HOSTILE, HOSTILE + "!")]}],
        corpus=hostile,
        model={HOSTILE: HOSTILE},
    )  # fmt: skip
    assert report.classification is not None
    report.classification = replace(report.classification, baselines={HOSTILE: report.classification.model})
    page = Page(render(report))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert page.words.count("alert('x')") > 15


def test_the_navigation_is_the_headings_and_the_detector_comes_first() -> None:
    for language in ("en", "ko"):
        html = render(replace(whole(), language=language, verdict="Better than nothing."))
        links = re.findall(r'<a href="#([a-z-]+)">([^<]*)</a>', html)
        headings = re.findall(r'<h2 id="([a-z-]+)">([^<]*)<', html)
        assert links == headings
        assert [name for name, _ in links[:3]] == ["test", "classification", "encoder"]
        assert f'<html lang="{language}">' in html
        assert html.index("Better than nothing.") < html.index("<dl")


def test_misses_come_before_false_alarms_and_a_message_stands_once() -> None:
    words = [ShadedWord("Big", 0.3, 1.0), ShadedWord("fire", -0.1, 0.33)]
    mistakes = [Mistake(0, "Nobody burnt", "calm", "alarm", 0.9), Mistake(1, "Big fire", "alarm", "calm", 0.8, words)]
    part = replace(section(2, lambda number: ["calm", "alarm"][number]), mistakes=mistakes)
    page = Page(render(Report("x", classification=part))).words
    assert page.index("Missed “alarm”") < page.index("Big fire") < page.index("False alarms, the") < page.index("Nobody burnt")
    assert page.count("Big fire") == page.count("Nobody burnt") == 1
    assert "Coloured like this" in page


def test_the_tiles_show_the_baseline_too() -> None:
    part = section(2, str)
    words = Page(render(Report("x", test=part))).words
    baseline = part.baselines["majority class"]
    (_, alarms), (missed, _) = part.model.confusion
    assert f"Accuracy{part.model.accuracy:.3f}majority class {baseline.accuracy:.3f}" in words
    assert f"Missed{missed}majority class {baseline.confusion[1][0]}" in words
    assert f"False alarms{alarms}majority class {baseline.confusion[0][1]}" in words


@pytest.mark.parametrize(
    ("interval", "english", "korean"),
    [
        ((0.2, 1.4), "Better than B by 0.8 points of accuracy, 95 % interval 0.2 to 1.4.", "높습니다"),
        ((-1.4, -0.2), "Worse than B by 0.8 points of accuracy, 95 % interval 0.2 to 1.4.", "낮습니다"),
        (
            (-0.2, 1.8),
            "No significant difference to B on these 90 rows: {sign}0.8 points of accuracy, 95 % interval −0.2 to +1.8.",
            "유의한 차이가 없",
        ),
    ],
)
def test_the_verdict_is_one_sentence(interval: tuple[float, float], english: str, korean: str) -> None:
    middle = 0.8 if sum(interval) > 0 else -0.8
    found = PairedDifference(middle, list(interval), 1.0, 2.0, 90, 1000)
    assert english.format(sign="+") in verdict(found, "B", "en")
    assert korean in verdict(found, "B", "ko")


def test_every_phrase_of_the_template_is_in_korean() -> None:
    template = (Path(drawing.__file__).parent / "report.html").read_text(encoding="utf-8")
    phrases = set(re.findall(r"""\b(?:t|label)\("([^"]+)\"""", template))
    assert len(phrases) > 40
    assert phrases - KOREAN.keys() == set()
    for english, korean in KOREAN.items():
        assert set(re.findall(r"\{(\w+)\}", english)) == set(re.findall(r"\{(\w+)\}", korean))


def test_a_korean_page_has_no_english_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the text nor in the charts, nor in how it was measured; what is data stays as it is."""
    protocols = [
        _protocol(Validation(folds=folds, development=share), 90, 5, "ko") for folds, share in ((0, 0.1), (5, 0.1), (5, 0.0))
    ]
    english = {title for title, _, _ in charts.PANELS.values()}
    page = render(replace(whole(), language="ko", recipe="", reproduce=[], samples=[], notes=[]))
    nodes = re.findall(r">([^<>]+)<", page.partition("</style>")[2])
    found = [text for text in [*protocols, *nodes] if re.search(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}", text)]
    assert found == []
    assert not english.difference({"F1"}).intersection(map(str.strip, nodes))


def test_what_is_missing_is_left_out() -> None:
    page = Page(render(Report("empty")))
    assert "empty" in page.words
    assert not [tag for tag, _ in page.tags if tag in {"h2", "table", "svg"}]
    for key, value in vars(whole()).items():
        Page(render(replace(Report("one"), **{key: value})))
        if key != "name":
            Page(render(replace(whole(), **{key: getattr(Report("one"), key)})))
    bare = ClassificationSection(["a", "b"], "", classification_metrics([0, 1], [[0.9, 0.1], [0.8, 0.2]]))
    assert "0.500" in Page(render(Report("bare", classification=bare))).words


def test_another_kind_of_task_has_its_metrics_and_tables() -> None:
    found = Comparison(0.5, [0.4, 0.6], 0.3, [0.2, 0.4], 0.2, [0.1, 0.3])
    models = {"this model": {"f1": 0.5}, "mean": {"f1": 0.3}}
    tables = [Table("Labels", ["label", "rows"], [["fire", 3]])]
    part = TaskSection("5-fold cross-validation", 90, [("f1", "F1")], models, {"mean": found}, tables)
    html = render(Report("x", task=part, task_test=part))
    assert re.findall(r'<h2 id="([a-z-]+)">', html) == ["task-test", "task"]
    words = Page(html).words
    for text in ("90 rows, 5-fold cross-validation.", "0.500", "0.300", "+0.200", "+0.100 to +0.300", "fire"):
        assert words.count(text) >= 2


def test_half_a_surrogate_pair_does_not_cost_the_report() -> None:
    html = render(Report("x", notes=["bad \ud83d text \x00"]))
    assert "bad ? text" in html
    html.encode()


def test_the_page_shows_the_metrics_and_differences() -> None:
    part = section(2, str)
    words = Page(render(Report("x", classification=part))).words
    model = part.model
    assert f"{model.accuracy:.3f}" in words
    assert f"{model.f1_interval[0]:.3f}–{model.f1_interval[1]:.3f}" in words
    assert part.difference is not None
    assert f"{part.difference.difference:+.1f} points" in words
    found = part.compared["an ensemble"]
    low, high = (f"{value:+.1f}".replace("-", "−") for value in found.interval)
    assert f"{found.difference:+.1f}{low} to {high}".replace("-", "−") in words
    (right, missed), (alarm, hit) = model.confusion
    for count in (right, missed, alarm, hit):
        assert f"{count}" in words


def test_the_speed_of_training_is_shown() -> None:
    page = Page(render(Report("x", pretrain=Pretraining(log()))))
    assert "15,000 tokens a second, 43 % of the device's rate (MFU), 1.5 % of the time waiting for data." in page.words
    without = Page(render(Report("x", pretrain=Pretraining([{"step": 1, "loss": 1.0, "tokens_per_second": 7.0}]))))
    assert "7 tokens a second." in without.words


def test_a_packed_row_is_split_into_sentences() -> None:
    row = [token(" wild", 1), token("fire", 1), token("[MASK]", 1, "s", " x"), token("[MASK]", 2, "near", "near")]
    first, second = sentences(row)
    assert [part["joined"] for part in first] == [False, True, True]
    assert [part["joined"] for part in second] == [False]
    html = render(Report("x", samples=[{"tokens": row}]))
    row_html = html[html.index('<div class="row">') :]
    assert row_html.count("✓") == 1
    assert row_html.count("✗") == 1
    assert "<del>x</del>" in row_html


DRAWN: dict[str, Callable[..., str]] = {
    "curves": lambda **more: charts.training_curves(log(), panels=tuple(charts.PANELS), **more),
    "confusion": lambda **more: charts.confusion_matrix([[5, 2], [0, 9]], ["기타", "재난 <b>&$x_1$"], **more),
    "reliability": lambda **more: charts.reliability_diagram(
        reliability([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), **more
    ),
    "threshold": lambda **more: charts.threshold_plot(threshold_curve([0, 1, 1], [0.2, 0.7, 0.4]), 0.5, **more),
    "probabilities": lambda **more: charts.probability_histogram([0, 1, 1], [0.2, 0.7, 1.0], ["기타", "\x07재난"], **more),
}


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("korean", [True, False])
def test_charts_are_xml_the_same_each_time_and_png(
    name: str, korean: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not korean:
        monkeypatch.setattr(drawing, "_korean_font", lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = DRAWN[name](png=tmp_path / "chart.png")
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert svg == DRAWN[name]()
    assert "var(--ink, #" in svg
    assert "<metadata" not in svg
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG\r\n")
    if name == "confusion":
        assert {"기타", "재난 <b>&$x_1$", "5", "1.00"} <= {(node.text or "").strip() for node in root.iter() if node.text}


def test_a_long_log_is_thinned_and_holes_are_passed_over() -> None:
    long = [{"step": n, "loss": 1.0} for n in range(50_000)]
    assert len(charts.training_curves(long)) < 60_000
    holes = [{"step": 1, "loss": None}, {"step": 2, "loss": float("nan")}, {"step": 3, "validation_loss": 0.5}]
    ElementTree.fromstring(charts.training_curves(holes))  # type: ignore[arg-type]
    ElementTree.fromstring(charts.training_curves([]))


def test_many_classes_with_long_names() -> None:
    svg = charts.confusion_matrix(np.eye(40, dtype=int).tolist(), ["아주 긴 이름 " * 9] * 40, parts=("shares",))
    assert "…" in svg
    ElementTree.fromstring(svg)


def test_save_png(tmp_path: Path) -> None:
    charts.save_png(charts.confusion_matrix, tmp_path / "a" / "c.png", [[1, 0], [0, 1]], ["x", "y"])
    assert (tmp_path / "a" / "c.png").stat().st_size > 1000


def test_small_texts() -> None:
    assert [number(value) for value in (None, True, 1234567, 2.0, 0.123456, [1, 2], {"a_b": 1})] == [
        "–", "yes", "1,234,567", "2", "0.1235", "1, 2", "a b 1",
    ]  # fmt: skip
    assert [number(value) for value in (1.188e-14, 1e-5, 0.00010744, 123456.7, -0.5, 0.0)] == [
        "0", "0.00001", "0.0001074", "123,457", "-0.5", "0",
    ]  # fmt: skip
    assert [size(value) for value in (None, 12, 1500, 2e6, 3.25e9)] == ["–", "12 bytes", "1.5 kB", "2.0 MB", "3.2 GB"]
    assert (signed(1.25), signed(-0.44)) == ("+1.2", "−0.4")


def test_korean_names_in_latin_letters_where_no_font_has_hangul() -> None:
    assert [drawing.romanised(name) for name in ("재난", "재난 아님", "한국", "봉수")] == [
        "jaenan",
        "jaenan anim",
        "hanguk",
        "bongsu",
    ]
    assert drawing._latin_names(["기타", "재난", "fire", "火", "제난"]) == {
        "기타": "gita", "재난": "jaenan", "火": "class 3", "제난": "jenan",
    }  # fmt: skip
    assert drawing._latin_names(["안", "an"]) == {"안": "class 0"}


def test_a_font_of_boxes_is_no_font_with_hangul(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = drawing.font_manager.FontEntry(fname="boxes.ttf", name="Last Resort High-Efficiency")  # type: ignore[attr-defined]
    monkeypatch.setattr(drawing.font_manager.fontManager, "ttflist", [boxes])  # type: ignore[attr-defined]
    monkeypatch.setattr(drawing, "_has_hangul", lambda path: True)
    drawing._korean_font.cache_clear()
    try:
        assert drawing._korean_font() is None
    finally:
        drawing._korean_font.cache_clear()


def test_a_font_with_hangul_is_found_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = drawing.font_manager.fontManager.ttflist  # type: ignore[attr-defined]
    latin = next(font for font in fonts if font.name == "DejaVu Sans")
    assert not drawing._has_hangul(latin.fname)
    assert not drawing._has_hangul(__file__)
    korean = next((each for each in fonts if drawing._has_hangul(each.fname) and "Last Resort" not in each.name), None)
    if korean is None:
        pytest.skip("no font with Hangul on this machine")
    monkeypatch.setattr(drawing, "_KOREAN_FONTS", ())
    drawing._korean_font.cache_clear()
    try:
        assert drawing._korean_font() is not None
    finally:
        drawing._korean_font.cache_clear()
