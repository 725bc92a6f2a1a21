"""The page: what it may load, and how it behaves in a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_service import ATTACK, FakePredictor, alert_of, fake_service, message_of, running, share, status_of

from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.desk import Desk
from bongsu.labelling.store import Candidate, LabelStore
from bongsu.recipe import Classification
from bongsu.serving.broadcast import Broadcaster
from bongsu.serving.limits import Limits
from bongsu.serving.service import Service
from bongsu.tasks.classification import ClassificationTask, Prediction
from bongsu.tasks.task import Schema

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def page_of(service: Service) -> tuple[str, str]:
    with running(service) as url:
        answer = httpx.get(url)
    return answer.text, answer.headers["Content-Security-Policy"]


def test_the_page_loads_nothing_from_outside() -> None:
    html, policy = page_of(fake_service())
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", html)
    assert not re.findall(r"""\bon\w+\s*=\s*["']|\bstyle\s*=|@import|url\(|innerHTML""", html)
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy


class Hostile(FakePredictor):
    task = ClassificationTask(Classification(train="x", names={"0": '"><script>', "1": "</script>$SCRIPT"}), Schema(["0", "1"]))


def test_names_of_classes_cannot_leave_their_attribute() -> None:
    html, _ = page_of(fake_service(Hostile))
    assert html.count("<script>") == 1
    assert "&lt;/script&gt;$SCRIPT" in html


@pytest.mark.browser
@pytest.mark.parametrize("watches", [False, True])
def test_both_languages_say_everything(browser: Any, watches: bool) -> None:
    with shown(browser, fake_service(stream=Broadcaster() if watches else None)) as page:
        missing = page.evaluate(
            "['en', 'ko'].flatMap(one => Object.keys({...words.en, ...words.ko}).filter(name => !(name in words[one])))"
        )
        assert missing == []
        assert page.evaluate("[...document.querySelectorAll('[data-say]')].filter(each => !each.textContent).length") == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def shown(
    browser: Any, service: Service, locale: str = "en-US", zone: str = "Asia/Seoul", width: int = 360, touch: bool = True
) -> Iterator[Any]:
    """The page of a service, in which no script may fail and nothing may be refused by the policy."""
    with running(service) as url:
        size = {"width": width, "height": 640}
        context = browser.new_context(viewport=size, has_touch=touch, is_mobile=touch, locale=locale, timezone_id=zone)
        context.set_default_timeout(300_000)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Security" in line.text else None)
        page.goto(url)
        yield page
        assert errors == []
        context.close()


def until(page: Any, holds: Callable[[], object]) -> None:
    for _ in range(6000):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come to that")


@pytest.mark.browser
def test_a_phone_in_korea(browser: Any) -> None:
    service = fake_service(limits=Limits(items=8, explanations=2), api_key="k")
    with shown(browser, service, "ko-KR") as page:
        assert page.inner_text("#go") == "판별하기"
        page.click("#language")
        assert page.inner_text("#go") == "Classify"

        texts = ["forest fire near the town", ATTACK, "한국어 메시지 " + "아" * 300]
        page.fill("#text", "\n\n".join(texts))
        page.click("#go")
        page.wait_for_selector("#status.bad")  # no key yet
        page.fill("#key", "k")
        page.click("#go")
        page.wait_for_selector("#results li:nth-child(3)")
        results = page.locator("#results > li")
        for index, text in enumerate(texts):
            assert f"{100 * share(text):.1f}\u00a0%" in results.nth(index).inner_text()
            assert ("disaster" if share(text) >= FakePredictor.threshold else "other") in results.nth(index).inner_text()
        assert results.nth(0).locator("mark").all_inner_texts() == texts[0].split()
        assert results.nth(0).locator("mark").first.get_attribute("title") == f"weight {share('forest') - 0.5:+.3f}"
        positive = sum(share(text) >= FakePredictor.threshold for text in texts)
        assert page.inner_text("#count") == f"{positive} of 3 disaster"
        page.click("#language")
        assert ("재난" if share(texts[0]) >= FakePredictor.threshold else "재난 아님") in results.nth(0).inner_text()
        assert page.title() == "Bongsu 봉수"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
def test_a_file_is_read_filtered_sorted_and_saved(browser: Any, tmp_path: Path) -> None:
    texts = [f'message {number}, said "so"\nin two lines' if number == 3 else f"message {number}" for number in range(30)]
    rows = [f'{number},"{text.replace(chr(34), chr(34) * 2)}"' for number, text in enumerate(texts)]
    file = tmp_path / "messages.csv"
    file.write_bytes(("﻿id,내용\r\n" + "\r\n".join(rows) + "\r\n").encode("utf-8"))
    with shown(browser, fake_service(limits=Limits(items=8, explanations=2))) as page:
        page.set_input_files("#upload", file)
        page.wait_for_selector("#file:has-text('30 messages')")
        page.click("#go")
        page.wait_for_selector("#status:has-text('30 classified')")
        positive = [text for text in texts if share(text) >= FakePredictor.threshold]
        assert page.inner_text("#count") == f"{len(positive)} of 30 disaster"
        assert "first 8 of 30 lines" in page.inner_text("#legend")
        results = page.locator("#results > li")
        assert results.nth(7).locator("mark").count() > 0
        assert results.nth(8).locator("mark").count() == 0
        page.select_option("#class", "disaster")
        page.select_option("#order", "highest")
        assert results.count() == len(positive)
        assert f"{100 * max(map(share, texts)):.1f}" in results.nth(0).inner_text()
        with page.expect_download() as saved:
            page.click("#results-csv")
        kept = Path(saved.value.path()).read_bytes().decode("utf-8-sig")
        assert kept.splitlines()[0] == "line,text,label,p(other),p(disaster),error"
        assert kept.count(",disaster,") == len(positive)


@pytest.mark.browser
@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_text_in_the_encodings_of_korean_windows(browser: Any, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "글.txt"
    file.write_bytes("불이 났습니다\r\n점심 뭐 먹지, 고민\r\n".encode(encoding))
    with shown(browser, fake_service()) as page:
        page.set_input_files("#upload", file)
        page.click("#go")
        page.wait_for_selector("#results > li:nth-child(2)")
        assert page.locator("#results > li").nth(0).locator("mark").all_inner_texts() == ["불이", "났습니다"]


class Kinds(FakePredictor):
    """Three classes."""

    task = ClassificationTask(
        Classification(train="bongsu:demo.csv", names={"a": "flood", "b": "fire", "c": "calm"}), Schema(["a", "b", "c"])
    )

    def decide(self, probability: float) -> Prediction:
        table = {"flood": probability, "fire": 0.6 * (1 - probability), "calm": 0.4 * (1 - probability)}
        best = max(table, key=lambda name: table[name])
        return Prediction(best, table[best], best[0], table)


@pytest.mark.browser
def test_three_classes_have_their_names_and_colours(browser: Any) -> None:
    with shown(browser, fake_service(Kinds)) as page:
        assert page.inner_text("#claim") == "Sorts messages: flood, fire, calm"
        assert "demonstration" in page.inner_text("#demonstration")
        texts = [f"text {number}" for number in range(12)]
        page.fill("#text", "\n".join(texts))
        page.click("#go")
        page.wait_for_selector("#results > li:nth-child(12)")
        answers = [Kinds().decide(share(text)).label for text in texts]
        assert {"flood", "fire"} <= set(answers)
        assert f"{answers.count('flood')} of 12 flood · {answers.count('fire')} of 12 fire" in page.inner_text("#count")
        tones = page.eval_on_selector_all("#results > li", "all => all.map(one => getComputedStyle(one).borderLeftColor)")
        assert len({(label, tone) for label, tone in zip(answers, tones, strict=True)}) == len(set(answers)) == len(set(tones))
        assert page.locator(".bar b").count() == 0  # no threshold


class Plain(FakePredictor):
    """Every word speaks for a disaster; none of the texts is one, but one of which no word does."""

    def explain(self, text: str, context: Any = ()) -> Any:
        sign = -1 if text == "silent" else 1
        return [type(word)(word.text, sign * 0.05) for word in super().explain(text)]

    def predict(self, texts: Any, context: Any = None) -> list[Prediction]:
        return [self.decide(0.8 if text in ("silent", "loud") else 0.13) for text in texts]


@pytest.mark.browser
def test_red_words_and_no_disaster_are_explained_in_words(browser: Any) -> None:
    with shown(browser, fake_service(Plain)) as page:
        page.fill("#text", "three red words\nsilent\nloud")
        page.click("#go")
        page.wait_for_selector("#results > li:nth-child(3)")
        red, silent, loud = page.locator("#results > li").all_inner_texts()
        assert "do not reach the threshold of 50.0" in red
        assert "above the threshold of 50.0" in silent
        assert "threshold" not in loud


@pytest.mark.browser
def test_a_page_that_is_opened_late_shows_what_runs_and_then_how_it_ends(browser: Any) -> None:
    stream = Broadcaster()
    service = fake_service(stream=stream)
    about = {
        "id": "m1",
        "time": "2026-01-01T12:00:00.000Z",
        "url": "https://example.org/m1",
        "probability": 0.9,
        "threshold": 0.5,
    }
    stream.publish(message_of(1, text=ATTACK, **about))
    stream.publish(alert_of(1))
    stream.publish(alert_of(2, "closed", closed="2026-01-01T12:00:00.000Z"))
    stream.publish(status_of())
    with shown(browser, service, "ko-KR") as page:
        until(page, lambda: page.locator("#alerts > li").count() == 1)
        assert "화재 · Busan" in page.inner_text("#alerts")
        assert "5분 전" in page.inner_text("#alerts")
        page.click("#language")
        text = page.inner_text("#alerts")
        assert "7 messages, 6 people" in text
        assert "30 min ago" in text
        raised = datetime.fromisoformat(alert_of(1)["raised"]).astimezone(UTC) + timedelta(hours=9)
        assert f"alarm {raised:%H:%M}" in text or f"{raised:%d}" in text  # in the browser's time zone, Seoul
        assert page.eval_on_selector_all("#alerts a", "all => all.map(one => one.href)") == ["https://example.org/a?b=c"]
        assert ATTACK in page.inner_text("#stream")
        assert "1 Jan 2026 21:00" in page.inner_text("#stream")
        assert page.inner_text("#closed summary") == "Ended alerts (1)"
        assert page.title() == "(1) Bongsu 봉수"
        assert "12.5 messages/s · 25.0\u00a0% disaster" in page.inner_text("#state")

        stream.publish(alert_of(3))
        until(page, lambda: page.title() == "(2) Bongsu 봉수")
        stream.publish(status_of(running=[{"id": "1", "messages": 99, "authors": 80, "copies": 0, "latest_message": None}]))
        until(page, lambda: "99 messages" in page.inner_text("#alerts"))
        with page.expect_download() as saved:
            page.click("#alerts-csv")
        assert Path(saved.value.path()).read_text("utf-8-sig").count("fire: Busan") == 3
        stream.publish({"type": "deletion", "id": "m1", "author": "", "source": "s"})
        until(page, lambda: page.locator("#stream li").count() == 0)
        stream.publish(alert_of(1, "closed"))
        until(page, lambda: page.inner_text("#closed summary") == "Ended alerts (2)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        stream.publish({"type": "ended", "time": "2026-01-01T12:00:00.000Z", "reason": "finished"})
        until(page, lambda: "The watch ended at 1 Jan 2026 21:00" in page.inner_text("#state"))
        assert "messages/s" not in page.inner_text("#state")


@pytest.mark.browser
def test_a_lost_connection_is_said_and_no_rate_stays(browser: Any) -> None:
    stream = Broadcaster()
    service = fake_service(stream=stream)
    stream.publish(status_of())
    with shown(browser, service) as page:
        until(page, lambda: "messages/s" in page.inner_text("#state"))
        service.drain()
        until(page, lambda: "Disconnected since" in page.inner_text("#state"))
        assert "messages/s" not in page.inner_text("#state")
        assert page.title().startswith("⚠")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("locale", "width", "right", "learned", "why"),
    [
        ("en-US", 1440, "of 10 right", "from 19 labels", "random labels"),
        ("ko-KR", 390, "10건 중", "라벨 19개로 학습한", "무작위 라벨"),
    ],
)
def test_twenty_messages_are_labelled_by_keyboard_and_by_touch(
    browser: Any, with_features: Path, sentences: list[str], locale: str, width: int, right: str, learned: str, why: str
) -> None:
    touch = width < 1000
    detector, desk = BundlePredictor.load(with_features, "float32", sessions=1), Desk(LabelStore(None))
    service = fake_service(lambda: desk.open(detector), desk=desk)
    texts = [f"{text} 산불 대피" if number % 2 else text for number, text in enumerate(sentences[200:300])]
    rows = enumerate(zip(texts, detector.probabilities(texts)[:, 1].tolist(), strict=True))
    desk.offer([Candidate("s", str(number), "", text, 7200.0 + number, value) for number, (text, value) in rows])
    with shown(browser, service, locale, width=width, touch=touch) as page:
        for count in range(20):
            until(page, lambda: page.is_enabled("#label-yes"))
            before = page.inner_text("#to-label")
            assert before in texts
            disaster = "산불" in before
            if touch:
                page.tap("#label-yes" if disaster else "#label-no")
            else:
                page.keyboard.press("d" if disaster else "n")
            until(page, lambda before=before: page.inner_text("#to-label") != before)  # type: ignore[misc]
            if count == 2:
                until(page, lambda: right.replace("10", "2") in page.inner_text("#right"))
        labels = desk.store.labels()
        assert [each.label for each in labels] == [int("산불" in each.asked.text) for each in labels]
        assert len(labels) == 20
        until(page, lambda: right in page.inner_text("#right"))
        assert page.is_visible("#steps")
        last = labels[-1].asked.text
        page.keyboard.press("u")
        until(page, lambda: page.inner_text("#to-label") == last)
        assert len(desk.store.labels()) == 19
        page.fill("#by", "kim")
        page.keyboard.press("d")  # typed into the field, it labels nothing
        assert len(desk.store.labels()) == 19
        page.click("#learn")
        until(page, lambda: learned in page.inner_text("#label-note"))
        assert why in page.inner_text("#label-note")
        until(page, lambda: page.locator("#versions li").count() >= 3)
        page.click("summary[data-say=versions]")
        assert why in page.inner_text("#versions")
        page.locator("#versions button").first.click()
        until(page, lambda: desk.store.in_use(detector.version)[1] > 0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
def test_a_server_without_labels_tells_of_drift_in_both_languages(browser: Any) -> None:
    service = fake_service()
    assert service.drift is not None
    for hour in range(8):
        said, probability = ("mokpo flood", 0.9) if hour == 7 else ("good morning", 0.1)
        when = hour * 3600.0
        service.drift.add(Candidate("s", f"{hour}.{each}", "", said, when, probability + each / 1000) for each in range(60))
    with shown(browser, service, "ko-KR") as page:
        until(page, lambda: page.is_visible("#drift-alarm"))
        text = page.inner_text("#drift-alarm")
        assert "달라진 단어: " in text
        assert "mokpo (0.0\u00a0% → 100.0\u00a0%)" in text
        assert "권장 조치: 메시지 50건에 라벨을" in text
        page.click("#language")
        assert "label fifty messages" in page.inner_text("#drift-alarm")
        assert "0.0\u00a0% did before" in page.inner_text("#drift-alarm")
