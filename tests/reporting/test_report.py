"""The page and its figures: whole, self-contained, safe with hostile text, and telling the truth."""

import re
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bongsu.evaluation.bootstrap import paired_difference
from bongsu.evaluation.calibration import reliability
from bongsu.evaluation.metrics import classification_metrics, predictions, threshold_curve
from bongsu.reporting import charts as figures
from bongsu.reporting import drawing
from bongsu.reporting.korean import KOREAN
from bongsu.reporting.page import number, render, sentences, signed, size, verdict

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


def log(steps: int = 30) -> list[dict[str, Any]]:
    training = [{"step": n, "loss": 5 / n, "accuracy": 1 - 1 / n, "learning_rate": 1e-3, "tokens_per_second": 1000.0 * n,
                 "mfu": 0.4321, "data_wait": n / 1000}
                for n in range(1, steps)]  # fmt: skip
    measured = [{"step": n, "validation_loss": 6 / n, "validation_accuracy": 1 - 1 / n, "validation_bits_per_byte": 3 / n}
                for n in range(10, steps, 10)]  # fmt: skip
    return training + measured


def section(classes: int, name: Callable[[int], str]) -> dict[str, Any]:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 300)
    table = rng.dirichlet(np.ones(classes), 300) / 2 + np.eye(classes)[labels] / 2
    weak = rng.dirichlet(np.ones(classes), 300)
    part: dict[str, Any] = {
        "names": [name(number) for number in range(classes)],
        "protocol": "5-fold cross-validation",
        "model": classification_metrics(labels, table),
        "baselines": {
            "majority class": classification_metrics(labels, weak),
            "both together": classification_metrics(labels, table[::-1]),
        },
        "difference": {**paired_difference(labels, predictions(table), predictions(weak)), "baseline": "majority class"},
        "compared": {"both together": paired_difference(labels, predictions(table[::-1]), predictions(weak))},
        "folds": [
            {"fold": 1, "accuracy": 0.8, "f1": 0.7, "steps": 1200},
            {"fold": 2, "accuracy": 0.9, "f1": 0.8, "steps": 900},
        ],
        "reliability": reliability(labels, table),
        "errors": [{"text": HOSTILE, "label": name(0), "predicted": name(1), "probability": 0.987, "place": "train.csv:7"}],
        "curves": [log(), log(20)],
    }
    if classes == 2:
        part["thresholds"] = threshold_curve(labels, table[:, 1])
        part["scores"] = {"labels": labels.tolist(), "probabilities": table[:, 1].tolist()}
    return part


def token(text: str, segment: int, target: str | None = None, guess: str | None = None) -> dict[str, Any]:
    probability = None if guess is None else 0.75
    return {"text": text, "segment": segment, "masked": target is not None, "target": target, "guess": guess,
            "probability": probability}  # fmt: skip


def whole(classes: int = 2, name: Callable[[int], str] = lambda number: f"class {number}") -> dict[str, Any]:
    return {
        "name": "demo",
        "created": "2026-01-02 03:04",
        "summary": ["Accuracy 0.81 (0.79 to 0.83)."],
        "notes": ["Far too little text."],
        "stages": [{"name": "corpus", "seconds": 3.2}, {"name": "pretrain", "seconds": 3725.0}],
        "corpus": {
            "documents": 12000, "texts": 11000, "bytes": 1_500_000, "dropped": {"duplicate": 900, "too_short": 100},
            "sources": [{"path": "a.csv", "documents": 12000, "texts": 11000, "bytes": 1_500_000}],
            "splits": {"train": 10800, "validation": 200},
        },
        "tokenizer": {"vocab_size": 8000, "bytes_per_token": 3.875, "unseen_characters": 0.0},
        "model": {"d_model": 256, "tied": True, "parameters": 5_312_000},
        "pretrain": {"metrics": log(25), "final": {"step": 20, "validation_bits_per_byte": 1.53, "validation_accuracy": 0.41}},
        "samples": [{"tokens": [token(" big", 1), token("[MASK]", 1, " fire", " fire"), token("[MASK]", 2, "지진", " 홍수")]}],
        "classification": section(classes, name),
        "test": section(classes, name),
        "recipe": 'name = "demo"\n',
        "reproduce": ["bongsu run demo.toml"],
        "versions": {"bongsu": "0.1.0"},
    }  # fmt: skip


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
        "혼동 행렬",
    ):
        assert word in page.words
    assert render(whole(classes)) == html


def test_hostile_text_stays_text() -> None:
    report = whole(2, lambda number: f"{HOSTILE}{number}")
    report.update(name=HOSTILE, summary=[HOSTILE], notes=[HOSTILE], recipe=HOSTILE, reproduce=[HOSTILE], created=HOSTILE)
    report["samples"][0]["tokens"] += [token(HOSTILE, 3), token("[MASK]", 3, HOSTILE, HOSTILE + "!")]
    report["corpus"]["dropped"] = {HOSTILE: 3}
    report["corpus"]["sources"][0]["path"] = HOSTILE
    report["model"][HOSTILE] = HOSTILE
    report["classification"]["baselines"] = {HOSTILE: report["classification"]["model"]}
    page = Page(render(report))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert page.words.count("alert('x')") > 15


def test_the_navigation_is_the_headings_and_the_detector_comes_first() -> None:
    for language in ("en", "ko"):
        html = render({**whole(), "language": language, "verdict": "Better than nothing."})
        links = re.findall(r'<a href="#([a-z-]+)">([^<]*)</a>', html)
        headings = re.findall(r'<h2 id="([a-z-]+)">([^<]*)<', html)
        assert links == headings
        assert [name for name, _ in links[:3]] == ["test", "classification", "encoder"]
        assert f'<html lang="{language}">' in html
        assert html.index("Better than nothing.") < html.index("<dl")


def test_misses_come_before_false_alarms_and_a_message_stands_once() -> None:
    part = section(2, lambda number: ["calm", "alarm"][number])
    words = [{"text": "Big", "weight": 0.3, "share": 1.0}, {"text": "fire", "weight": -0.1, "share": 0.33}]
    part["errors"] = [
        {"text": "Nobody burnt", "label": "calm", "predicted": "alarm", "probability": 0.9},
        {"text": "Big fire", "label": "alarm", "predicted": "calm", "probability": 0.8, "tokens": words},
    ]
    page = Page(render({"name": "x", "classification": part})).words
    assert page.index("Missed “alarm”") < page.index("Big fire") < page.index("False alarms, the") < page.index("Nobody burnt")
    assert page.count("Big fire") == page.count("Nobody burnt") == 1
    assert "Coloured like this" in page


def test_the_tiles_show_the_baseline_beside() -> None:
    part = section(2, str)
    words = Page(render({"name": "x", "test": part})).words
    baseline = part["baselines"]["majority class"]
    (_, alarms), (missed, _) = part["model"]["confusion"]
    assert f"Accuracy{part['model']['accuracy']:.3f}majority class {baseline['accuracy']:.3f}" in words
    assert f"Missed{missed}majority class {baseline['confusion'][1][0]}" in words
    assert f"False alarms{alarms}majority class {baseline['confusion'][0][1]}" in words


@pytest.mark.parametrize(
    ("interval", "english", "korean"),
    [
        ((0.2, 1.4), "Better than B by 0.8 points of accuracy, 95 % interval 0.2 to 1.4.", "높습니다"),
        ((-1.4, -0.2), "Worse than B by 0.8 points of accuracy, 95 % interval 0.2 to 1.4.", "낮습니다"),
        (
            (-0.2, 1.8),
            "as far as these 90 rows tell: {sign}0.8 points of accuracy, 95 % interval −0.2 to +1.8.",
            "낫다고 할 수 없",
        ),
    ],
)
def test_the_verdict_is_one_sentence(interval: tuple[float, float], english: str, korean: str) -> None:
    middle = 0.8 if sum(interval) > 0 else -0.8
    found = {"difference": middle, "interval": interval, "baseline": "B", "rows": 90}
    assert english.format(sign="+") in verdict(found, "en")
    assert korean in verdict(found, "ko")


def test_every_phrase_of_the_template_is_in_korean() -> None:
    template = (Path(drawing.__file__).parent / "report.html").read_text(encoding="utf-8")
    phrases = set(re.findall(r"""\b(?:t|label)\("([^"]+)\"""", template))
    assert len(phrases) > 40
    assert phrases - KOREAN.keys() == set()
    for english, korean in KOREAN.items():
        assert set(re.findall(r"\{(\w+)\}", english)) == set(re.findall(r"\{(\w+)\}", korean))


def test_what_is_missing_is_left_out() -> None:
    page = Page(render({"name": "empty"}))
    assert "empty" in page.words
    assert not [tag for tag, _ in page.tags if tag in {"h2", "table", "svg"}]
    full = whole()
    for key in full.keys() - {"name"}:
        Page(render({"name": "one", key: full[key]}))
    light = {key: value for key, value in full.items() if key not in {"classification", "test", "pretrain"}}
    for key in light.keys() - {"name"}:
        Page(render({**light, key: None}))
    bare = {"names": ["a", "b"], "model": {"accuracy": 0.5}}
    assert "0.500" in Page(render({"name": "bare", "classification": bare, "test": None})).words


def test_half_a_surrogate_pair_does_not_cost_the_report() -> None:
    html = render({"name": "x", "notes": ["bad \ud83d text \x00"]})
    assert "bad ? text" in html
    html.encode()


def test_figures_of_the_page_are_told_truly() -> None:
    part = section(2, str)
    words = Page(render({"name": "x", "classification": part})).words
    model = part["model"]
    assert f"{model['accuracy']:.3f}" in words
    assert f"{model['f1_interval'][0]:.3f}–{model['f1_interval'][1]:.3f}" in words
    assert f"{part['difference']['difference']:+.1f} points" in words
    found = part["compared"]["both together"]
    low, high = (f"{value:+.1f}".replace("-", "−") for value in found["interval"])
    assert f"{found['difference']:+.1f}{low} to {high}".replace("-", "−") in words
    (right, missed), (alarm, hit) = model["confusion"]
    for count in (right, missed, alarm, hit):
        assert f"{count}" in words


def test_the_rate_of_training_is_told() -> None:
    page = Page(render({"name": "x", "pretrain": {"metrics": log()}}))
    assert "15,000 tokens a second, 43 % of the device's rate (MFU), 1.5 % of the time waiting for data." in page.words
    without = Page(render({"name": "x", "pretrain": {"metrics": [{"step": 1, "loss": 1.0, "tokens_per_second": 7.0}]}}))
    assert "7 tokens a second." in without.words


def test_a_masked_row_taken_apart() -> None:
    row = [token(" wild", 1), token("fire", 1), token("[MASK]", 1, "s", " x"), token("[MASK]", 2, "near", "near")]
    first, second = sentences(row)
    assert [part["joined"] for part in first["tokens"]] == [False, True, True]
    assert [part["joined"] for part in second["tokens"]] == [False]
    html = render({"name": "x", "samples": [{"tokens": row}]})
    row_html = html[html.index('<div class="row">') :]
    assert row_html.count("✓") == 1
    assert row_html.count("✗") == 1
    assert "<del>x</del>" in row_html


DRAWN: dict[str, Callable[..., str]] = {
    "curves": lambda **more: figures.training_curves(log(), panels=tuple(figures.PANELS), **more),
    "confusion": lambda **more: figures.confusion_matrix([[5, 2], [0, 9]], ["기타", "재난 <b>&$x_1$"], **more),
    "reliability": lambda **more: figures.reliability_diagram(
        reliability([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), **more
    ),
    "threshold": lambda **more: figures.threshold_plot(threshold_curve([0, 1, 1], [0.2, 0.7, 0.4]), 0.5, **more),
    "probabilities": lambda **more: figures.probability_histogram([0, 1, 1], [0.2, 0.7, 1.0], ["기타", "\x07재난"], **more),
}


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("korean", [True, False])
def test_figures_are_xml_the_same_each_time_and_png(
    name: str, korean: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not korean:
        monkeypatch.setattr(drawing, "_korean_font", lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = DRAWN[name](png=tmp_path / "figure.png")
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert svg == DRAWN[name]()
    assert "var(--ink, #" in svg
    assert "<metadata" not in svg
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG\r\n")
    if name == "confusion":
        assert {"기타", "재난 <b>&$x_1$", "5", "1.00"} <= {(node.text or "").strip() for node in root.iter() if node.text}


def test_a_long_log_is_thinned_and_holes_are_passed_over() -> None:
    long = [{"step": n, "loss": 1.0} for n in range(50_000)]
    assert len(figures.training_curves(long)) < 60_000
    holes = [{"step": 1, "loss": None}, {"step": 2, "loss": float("nan")}, {"step": 3, "validation_loss": 0.5}]
    ElementTree.fromstring(figures.training_curves(holes))
    ElementTree.fromstring(figures.training_curves([]))


def test_many_classes_with_long_names() -> None:
    svg = figures.confusion_matrix(np.eye(40, dtype=int).tolist(), ["아주 긴 이름 " * 9] * 40, parts=("shares",))
    assert "…" in svg
    ElementTree.fromstring(svg)


def test_save_png(tmp_path: Path) -> None:
    figures.save_png(figures.confusion_matrix, tmp_path / "a" / "c.png", [[1, 0], [0, 1]], ["x", "y"])
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


def test_a_font_with_hangul_is_found_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = drawing.font_manager.fontManager.ttflist
    latin = next(font for font in fonts if font.name == "DejaVu Sans")
    assert not drawing._has_hangul(latin.fname)
    assert not drawing._has_hangul(__file__)
    korean = next((font for font in fonts if drawing._has_hangul(font.fname)), None)
    if korean is None:
        pytest.skip("no font with Hangul on this machine")
    monkeypatch.setattr(drawing, "_KOREAN_FONTS", ())
    drawing._korean_font.cache_clear()
    try:
        assert drawing._korean_font() is not None
    finally:
        drawing._korean_font.cache_clear()
