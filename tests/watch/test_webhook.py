from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import resource
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_http import Answer, Request, always, serving, status
from watching import find, made_stream

from bongsu.errors import DataError
from bongsu.live_events import AlertEvent
from bongsu.watch import webhook as module
from bongsu.watch.addresses import ForbiddenAddressError, http_url, public_addresses, redacted
from bongsu.watch.payloads import CAP, FORMS, from_template
from bongsu.watch.sources.base import pause
from bongsu.watch.webhook import Webhook, message_id

ALERT: AlertEvent = {
    **find(made_stream(3))[0],
    "id": "1700000000-flood/포항시",
    "title": "flood: 포항시 <!channel> @everyone",
}


async def no_sleep(seconds: float) -> None:
    assert 0 <= seconds <= 60


def letters(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def sent(tmp_path: Path, answer: Answer, times: int = 1, path: str = "/x", **options: Any) -> tuple[Webhook, list[Request]]:
    """Send an alert to a server of this machine."""

    async def main() -> tuple[Webhook, list[Request]]:
        async with serving(answer) as (port, seen):
            hook = Webhook(f"http://127.0.0.1:{port}{path}", tmp_path / "dead.jsonl", True, sleep=no_sleep, **options)
            for seq in range(times):
                await hook.send(seq, ALERT)
            return hook, seen

    return asyncio.run(asyncio.wait_for(main(), 600))


def test_an_alert_at_a_place_that_is_not_ascii_is_delivered(tmp_path: Path) -> None:
    hook, seen = sent(tmp_path, always(200), times=2)
    assert (hook.delivered, hook.dead) == (2, 0)
    assert orjson.loads(seen[0].body) == ALERT
    keys = [request.headers["idempotency-key"] for request in seen]
    assert keys == [message_id(ALERT, 0), message_id(ALERT, 1)]
    assert all(key.isascii() and key.isalnum() for key in keys)


@pytest.mark.parametrize(("codes", "attempts", "dead"), [((503, 429, 200), 3, 0), ((400,), 1, 1), ((500,), 8, 1)])
def test_a_webhook_tries_again_and_keeps_what_fails(tmp_path: Path, codes: tuple[int, ...], attempts: int, dead: int) -> None:
    left, reports = list(codes), list[str]()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(status(left.pop(0) if len(left) > 1 else left[0], "Retry-After: 1\r\n"))

    hook, seen = sent(tmp_path, answer, report=reports.append)
    assert len(seen) == attempts
    assert len({request.headers["webhook-id"] for request in seen}) == 1
    assert [letter["body"] for letter in letters(tmp_path / "dead.jsonl")] == [ALERT] * dead
    assert len(reports) == hook.dead == dead


@pytest.mark.parametrize(
    ("code", "headers", "body", "told"),
    [
        (308, "Location: http://127.0.0.1:1/secret\r\n", b"", "HTTP 308: redirects are not followed"),
        (400, "", b"invalid_payload", "HTTP 400: invalid_payload"),
        (404, "", b"no_\x1b]0;title\x07service", r"HTTP 404: no_\x1b]0;title\x07service"),
        (403, "Content-Encoding: gzip\r\n", gzip.compress(b"x" * 10_000_000), "HTTP 403"),
    ],
)
def test_refusals_are_reported(tmp_path: Path, code: int, headers: str, body: bytes, told: str) -> None:
    reports = list[str]()
    hook, seen = sent(tmp_path, always(code, headers, body), path="/hooks/token", report=reports.append)
    assert len(seen) == hook.dead == 1
    assert told in reports[0]
    text = (tmp_path / "dead.jsonl").read_text()
    assert told == letters(tmp_path / "dead.jsonl")[0]["reason"][: len(told)]
    assert "token" not in text + reports[0]
    assert stat.S_IMODE((tmp_path / "dead.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("code", [200, 400])
def test_the_body_of_an_answer_is_not_unpacked(tmp_path: Path, code: int) -> None:
    packed = gzip.compress(bytes(200_000_000), 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent(tmp_path, always(code, "Content-Encoding: gzip\r\n", packed))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_an_answer_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within the time between two reads; the whole never ends."""
    monkeypatch.setattr(module, "_SECONDS", 0.3)

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    hook, seen = sent(tmp_path, answer)
    assert hook.dead == 1
    assert len(seen) <= 8
    assert "no answer within" in letters(tmp_path / "dead.jsonl")[0]["reason"]


def test_anything_that_goes_wrong_is_a_dead_letter(tmp_path: Path) -> None:
    def broken(alert: AlertEvent) -> tuple[bytes, str]:
        raise UnicodeEncodeError("ascii", "포", 0, 1, "made")

    hook = Webhook("http://127.0.0.1:9/x", tmp_path / "dead.jsonl", True, payload=broken, sleep=no_sleep)
    asyncio.run(hook.send(0, ALERT))
    long = Webhook(f"http://{'a' * 63}.invalid/x", tmp_path / "dead.jsonl", False, sleep=no_sleep)
    asyncio.run(long.send(1, ALERT))
    assert [letter["reason"].split(":")[0] for letter in letters(tmp_path / "dead.jsonl")] == ["UnicodeEncodeError", "gaierror"]


def test_all_addresses_of_a_name_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Webhook:
        async with serving(always(200)) as (port, _):
            info = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]

            async def resolve(*given: Any, **named: Any) -> Any:
                return info

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
            hook = Webhook(f"http://example.org:{port}/x", tmp_path / "dead.jsonl", True, sleep=no_sleep)
            await hook.send(0, ALERT)
            return hook

    assert asyncio.run(main()).delivered == 1


def test_dead_letters_are_sent_again_under_their_own_keys(tmp_path: Path) -> None:
    refused, first = sent(tmp_path, always(400), times=3)
    assert refused.dead == 3
    codes = [200, 400, 200]

    async def main() -> list[Request]:
        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(status(codes.pop(0)))

        async with serving(answer) as (port, seen):
            hook = Webhook(f"http://127.0.0.1:{port}/", tmp_path / "dead.jsonl", True, sleep=no_sleep)
            assert await hook.resend() == (2, 1)
            return seen

    seen = asyncio.run(main())
    assert [request.headers["webhook-id"] for request in seen] == [request.headers["webhook-id"] for request in first]
    assert [letter["key"] for letter in letters(tmp_path / "dead.jsonl")] == [seen[1].headers["webhook-id"]]
    (tmp_path / "dead.jsonl").unlink()
    with pytest.raises(DataError, match="nothing waits"):
        asyncio.run(Webhook("http://127.0.0.1:9/", tmp_path / "dead.jsonl", True).resend())


def test_requests_are_signed_as_standard_webhooks_are(tmp_path: Path) -> None:
    key = b"a secret of 24 bytes or so"
    _, seen = sent(tmp_path, always(200), secret="whsec_" + base64.b64encode(key).decode())
    headers, body = seen[0].headers, seen[0].body
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    with pytest.raises(DataError, match="not base64"):
        Webhook("http://127.0.0.1:9/", tmp_path / "dead.jsonl", secret="whsec_?")


_PRIVATE = (
    "127.0.0.1 localhost 10.0.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 192.0.0.8 240.0.0.1 255.255.255.255 224.0.0.1 "
    "::1 :: fe80::1 fc00::1 fec0::1 ::ffff:10.0.0.1 ::10.0.0.1 2002:a00:1:: 2002:808:808:: 2001:0:a00:1:: 2001:db8::1 ff02::1 "
    "64:ff9b::a00:1 64:ff9b:1::a00:1 64:ff9b::7f00:1 2a00:1450::5efe:10.0.0.1 "
    "2130706433 0x7f000001 017700000001 127.1 0x7f.1 １２７.0.0.1"
)


@pytest.mark.parametrize("host", _PRIVATE.split())
def test_a_webhook_does_not_reach_into_private_networks(host: str) -> None:
    with pytest.raises((ForbiddenAddressError, OSError)) as refused:
        asyncio.run(public_addresses(host, 80, allow_private=False))
    if host.isascii():
        assert "not a public address" in str(refused.value)


def test_public_addresses_are_public() -> None:
    for host in ("8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"):
        assert asyncio.run(public_addresses(host, 443, allow_private=False)) == [host]


@pytest.mark.parametrize(
    "url",
    [
        *("https://hooks..x/", "https://host:abc/", "http://[::1", "ftp://host/", "https:///x", "host", "https://host:0/"),
        *("https://host:99999/", f"https://{'a' * 64}.org/", "https://", "", "https://a b/"),
    ],
)
def test_addresses_that_are_none_are_refused_at_start(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--webhook: write it as"):
        Webhook(url + "secret" * ("/" in url[8:]), tmp_path / "dead.jsonl")


@given(st.text())
def test_any_text_is_an_address_or_refused(url: str) -> None:
    for each in (url, f"https://{url}"):
        with suppress(DataError):
            assert http_url(each, "--webhook").host


def test_secrets_are_taken_out_of_addresses() -> None:
    shown = redacted("https://me:password@host/api?access_token=abc")
    assert shown.startswith("https://host/api#")
    assert "password" not in shown
    assert "abc" not in shown
    assert redacted("https://host/api?tag=a") != redacted("https://host/api?tag=b")
    assert redacted("wss://host/subscribe") == "wss://host/subscribe"


def test_pauses_grow_and_are_bounded() -> None:
    assert all(0 <= pause(attempt) <= 60 for attempt in range(2000))


def test_chats_get_what_they_take() -> None:
    slack = orjson.loads(FORMS["slack"](ALERT)[0])["text"]
    assert "&lt;!channel&gt;" in slack
    assert "<!channel>" not in slack
    long: AlertEvent = {**ALERT, "evidence": [{**ALERT["evidence"][0], "text": "x" * 5000}] * 5}
    discord = orjson.loads(FORMS["discord"](long)[0])
    assert len(discord["content"]) <= 2000
    assert discord["allowed_mentions"] == {"parse": []}


def test_cap_holds_what_the_standard_asks_for() -> None:
    stream = find(made_stream(3))
    mine = [body for body in stream if body["id"] == stream[0]["id"]]
    first, last = (ElementTree.fromstring(FORMS["cap"]({**body, "title": "a\x00<b>"})[0]) for body in (mine[0], mine[-1]))
    names = [child.tag.removeprefix(f"{{{CAP}}}") for child in last]
    assert names == ["identifier", "sender", "sent", "status", "msgType", "source", "scope", "references", "info"]
    text = {child.tag.removeprefix(f"{{{CAP}}}"): child.text or "" for child in first}
    assert text["msgType"] == "Alert"
    assert last.findtext(f"{{{CAP}}}msgType") == "Cancel"
    assert last.findtext(f"{{{CAP}}}references") == f"{text['sender']},{text['identifier']},{text['sent']}"
    info = [child.tag.removeprefix(f"{{{CAP}}}") for child in last.find(f"{{{CAP}}}info") or []]
    order = ["language", "category", "event", "urgency", "severity", "certainty", "onset", "senderName", "headline"]
    assert info == [*order, "description", "area"]


def test_geojson_is_a_feature() -> None:
    feature = orjson.loads(FORMS["geojson"](ALERT)[0])
    assert (feature["type"], feature["geometry"], feature["properties"]) == ("Feature", None, ALERT)


def test_a_template_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"summary": "$title", "lines": "$evidence", "price": "$$5"}')
    quoted: AlertEvent = {**ALERT, "title": 'a "quoted"\n$title'}
    filled = orjson.loads(from_template(path)(quoted)[0])
    assert filled["summary"] == 'a "quoted"\n$title'
    assert filled["price"] == "$5"
    for wrong in ("$nothing", "5 $ each"):
        path.write_text(wrong)
        with pytest.raises(DataError, match="unknown in a template"):
            from_template(path)


@pytest.mark.parametrize("form", [None, *FORMS])
def test_half_an_emoji_is_delivered_as_a_question_mark_or_kept(tmp_path: Path, form: str | None) -> None:
    body: AlertEvent = {
        **ALERT,
        "title": "fire \ud83d",
        "evidence": [{**ALERT["evidence"][0], "text": "\ud83d"}],
        "id": "\ud83d",
    }

    async def main(answer: Answer) -> tuple[Webhook, list[Request]]:
        async with serving(answer) as (port, seen):
            payload = FORMS[form] if form else None
            hook = Webhook(f"http://127.0.0.1:{port}/", tmp_path / "dead.jsonl", True, payload=payload, sleep=no_sleep)
            await hook.send(1, body)
            return hook, seen

    hook, seen = asyncio.run(main(always(200)))
    assert hook.delivered == 1
    assert "fire" in seen[0].body.decode()
    asyncio.run(main(always(404)))
    [letter] = letters(tmp_path / "dead.jsonl")
    assert letter["body"]["title"] == "fire ?"
