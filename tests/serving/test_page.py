"""The page: what it may load, and how it behaves in a real browser."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import shutil
from collections.abc import Iterator

import pytest
from fake_service import FakePredictor, client_of, fake_service, running, share

from bongsu.serving.limits import Limits
from bongsu.serving.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ATTACK = "<img src=x onerror=\"document.title='attacked'\">"


def test_the_page_loads_nothing_from_outside() -> None:
    async def main() -> tuple[str, str]:
        async with client_of(fake_service()) as client:
            answer = await client.get("/")
            return answer.text, answer.headers["Content-Security-Policy"]

    html, policy = asyncio.run(main())
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", html)
    assert not re.findall(r"""\bon\w+\s*=\s*["']|\bstyle\s*=|@import|url\(|innerHTML""", html)
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy


def test_both_languages_say_everything() -> None:
    async def main() -> str:
        async with client_of(fake_service()) as client:
            return (await client.get("/")).text

    html = asyncio.run(main())
    english, korean = _tables(html)
    assert english == korean
    assert set(re.findall(r'data-say="(\w+)"', html)) <= english


def _tables(html: str) -> tuple[set[str], set[str]]:
    """The names of what is said, in English and in Korean."""
    table = html[html.index("const words") : html.index("const $")]
    english, korean = table.split("\n  ko: ")
    return _names(english), _names(korean)


def _names(table: str) -> set[str]:
    return set(re.findall(r"[\s{](\w+):(?= )", re.sub(r'"[^"]*"|`[^`]*`', "", table))) - {"en", "ko"}


@pytest.fixture
def service() -> Service:
    return fake_service(limits=Limits(items=8, explanations=2), api_key="k")


@pytest.fixture
def browser_page(service: Service) -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with running(service) as url, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 640}, locale="ko-KR")
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Security" in line.text else None)
        page.goto(url)
        yield page
        assert errors == []
        browser.close()


def test_a_phone_in_korea(browser_page, service: Service) -> None:  # type: ignore[no-untyped-def]
    page = browser_page
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
    shown = page.locator("#results li")
    for index, text in enumerate(texts):
        assert f"{100 * share(text):.1f} %" in shown.nth(index).inner_text()
        assert ("disaster" if share(text) >= FakePredictor.threshold else "other") in shown.nth(index).inner_text()
    assert shown.nth(0).locator("mark").all_inner_texts() == texts[0].split()
    assert shown.nth(0).locator("mark").first.get_attribute("title") == f"weight {share('forest') - 0.5:+.3f}"
    page.click("#language")
    assert ("재난" if share(texts[0]) >= FakePredictor.threshold else "재난 아님") in shown.nth(0).inner_text()
    page.click("#language")
    assert page.title() == "Bongsu 봉수"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    for _ in range(200):  # the page tries the stream again now and then: it had no key at first
        if len(service.stream):
            break
        page.wait_for_timeout(50)
    time = "2026-01-01T12:00:00.000Z"
    service.stream.publish({"type": "status", "time": time, "rate": 12.5, "lag": 0.1, "share": 0.25, "dropped": 3})
    service.stream.publish({"type": "message", "text": ATTACK, "probability": 0.9, "threshold": 0.5, "time": time})
    alert = {"type": "alert", "id": "1", "state": "opened", "title": "봉화", "messages": 7, "evidence": [{"text": ATTACK}]}
    service.stream.publish(alert)
    service.stream.publish({**alert, "state": "closed", "messages": 9})
    page.wait_for_selector("#alerts li.other")
    assert page.locator("#alerts li").count() == 1
    assert "9 messages" in page.inner_text("#alerts")
    assert "2026-01-01 12:00 UTC · 12.5 messages/s" in page.inner_text("#rate")
    assert ATTACK in page.inner_text("#stream")
    assert page.title() == "Bongsu 봉수"
