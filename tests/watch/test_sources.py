from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
from serving_http import Answer, Request, always, serving
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bongsu.watch.messages import Deletion, Message, Reference, tidy_id
from bongsu.watch.sources.base import SourceEndedError, SourceError
from bongsu.watch.sources.jetstream import Jetstream
from bongsu.watch.sources.jetstream import item_of as item_of_event
from bongsu.watch.sources.kafka import Kafka
from bongsu.watch.sources.mastodon import Mastodon
from bongsu.watch.sources.mastodon import item_of as item_of_status
from bongsu.watch.sources.records import item_of as item_of_record
from bongsu.watch.sources.safety import SafetyData, reference_of

EMERGENCY = {
    "SN": 204,
    "CRT_DT": "2023/11/15 14:29:31",
    "MSG_CN": "[기장군] 호우경보 발효중. 하천변 출입을 금지합니다",
    "RCPTN_RGN_NM": "부산광역시 기장군",
    "EMRG_STEP_NM": "안전안내",
    "DST_SE_NM": "호우",
}


async def take(source: Any, count: int, cursor: Any = None) -> list[Any]:
    found: list[Any] = []
    async for arrival in source.arrivals(cursor):
        found.append(arrival)
        if len(found) == count:
            break
    return found


def post(number: int, time_us: int) -> str:
    commit: dict[str, Any] = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": str(number)}
    commit["record"] = {"text": f"post {number}"}
    return json.dumps({"did": "did:a", "time_us": time_us, "kind": "commit", "commit": commit})


async def restarted(source: Any, count: int) -> list[Any]:
    """Take arrivals of a source that is started again where it stood whenever it fails, as a watch does."""
    found: list[Any] = []
    cursor = None
    while True:
        with suppress(SourceError):
            async with aclosing(source.arrivals(cursor)) as arrivals:
                async for arrival in arrivals:
                    found.append(arrival)
                    cursor = arrival.cursor
                    if len({one.item for one in found if one.item}) == count:
                        return found


@asynccontextmanager
async def jetstream(events: list[tuple[int, str]], at_once: int) -> AsyncIterator[tuple[Jetstream, list[str]]]:
    """A server that keeps all events, as Jetstream does, and drops each connection after some of them, in mid-stream."""
    asked = list[str]()

    async def answer(socket: ServerConnection) -> None:
        assert socket.request is not None
        asked.append(socket.request.path)
        query = httpx.URL(socket.request.path).params
        assert query["wantedCollections"] == "app.bsky.feed.post"
        with suppress(ConnectionClosed):
            for frame in [frame for when, frame in events if when >= int(query.get("cursor", 0))][:at_once]:
                await socket.send(frame)
            await socket.send("{not json")
        socket.transport.abort()

    async with serve(answer, "127.0.0.1", 0, max_size=None) as server:
        yield Jetstream(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/subscribe"), asked


def test_jetstream_is_gapless_when_the_connection_drops() -> None:
    base = int(time.time() * 1e6)
    events = [(base + number * 10_000_000, post(number, base + number * 10_000_000)) for number in range(40)]

    async def main() -> list[Any]:
        async with jetstream(events, 7) as (source, asked):
            found = await restarted(source, 40)
            assert len(asked) > 5
            return found

    found = asyncio.run(asyncio.wait_for(main(), 600))
    assert list(dict.fromkeys(arrival.item.text for arrival in found)) == [f"post {number}" for number in range(40)]
    assert [arrival.cursor for arrival in found] == sorted(arrival.cursor for arrival in found)


def test_an_event_that_is_too_large_is_stepped_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is the first of all, and when it is large but bearable."""
    base = int(time.time() * 1e6) - 100_000_000

    def at(number: int) -> int:
        return base + number * 1_500_000

    events = [(at(number), post(number, at(number))) for number in range(20)]
    events[3] = (at(3), post(3, at(3)).replace("post 3", "post 3" + "x" * (2 << 20)))
    for number in (9, 10, 15):
        events[number] = (at(number), "x" * (5 << 20))

    async def main() -> tuple[list[Any], int]:
        async with jetstream(events, 100) as (source, asked):
            return await restarted(source, 17), len(asked)

    found, connections = asyncio.run(asyncio.wait_for(main(), 600))
    texts = list(dict.fromkeys(arrival.item.text[:7].rstrip("x") for arrival in found))
    assert texts == [f"post {number}" for number in range(20) if number not in (9, 10, 15)]
    assert connections < 10


def test_jetstream_deletions() -> None:
    deleted = {"operation": "delete", "collection": "app.bsky.feed.post", "rkey": "7"}
    assert item_of_event({"did": "d", "time_us": 1, "kind": "commit", "commit": deleted}, "s") == Deletion(
        "at://d/app.bsky.feed.post/7", source="s"
    )
    account = {"active": False, "status": "deleted"}
    event = {"did": "d", "time_us": 1, "kind": "account", "account": account}
    assert item_of_event(event, "s") == Deletion(author="d", source="s")
    like = {"operation": "create", "collection": "app.bsky.feed.like", "rkey": "7", "record": {}}
    assert item_of_event({"did": "d", "time_us": 1, "kind": "commit", "commit": like}, "") is None


def sse(*events: tuple[str, str]) -> Answer:
    body = "".join(f"event: {name}\ndata: {data}\n\n" for name, data in events)

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        writer.write(head + b":thump\n\n" + body.encode())

    return answer


def update(identity: str, content: str, **fields: Any) -> tuple[str, str]:
    status = {"id": identity, "content": content, "created_at": "2023-11-14T22:13:20Z", "account": {"acct": "a@b"}, **fields}
    return "update", json.dumps(status, ensure_ascii=False)


def test_mastodon_streams_posts_and_deletions_over_a_real_connection() -> None:
    answer = sse(
        update("5", "<p>Fire<br>now &amp; here</p>"),
        update("6", "<p>a\u2028b\x85c</p><ul><li>one</li><li>two</li></ul>"),
        update("7", "<p>hidden</p>", spoiler_text="flood"),
        ("update", "{broken"),
        ("notification", "{}"),
        ("delete", "5"),
    )

    async def main() -> tuple[Mastodon, list[Any]]:
        async with serving(answer) as (port, _):
            source = Mastodon(f"http://127.0.0.1:{port}/api/v1/streaming/public")
            return source, await restarted(source, 4)

    source, found = asyncio.run(asyncio.wait_for(main(), 600))
    first, second, third, deletion = (arrival.item for arrival in found)
    assert first == Message("5", "Fire\nnow & here", 1_700_000_000.0, "a@b", source.name)
    assert second.text.split() == ["a", "b", "c", "one", "two"]
    assert third.text == "flood\nhidden"
    assert deletion == Deletion("5", source=source.name)
    assert (source.tally.read, source.tally.garbage, source.tally.ignored) == (6, 1, 1)


def test_mastodon_follows_a_redirect_and_keeps_its_token_to_itself() -> None:
    async def main() -> None:
        async with serving(sse(update("5", "x"))) as (port, seen):
            for place, sent in ((f"http://127.0.0.1:{port}/real", True), (f"http://localhost:{port}/real", False)):
                async with serving(always(301, f"Location: {place}\r\n")) as (first, _):
                    source = Mastodon(f"http://127.0.0.1:{first}/api/v1/streaming/public?access_token=abc", "secret")
                    assert [arrival.item.id for arrival in await take(source, 1)] == ["5"]
                    assert "abc" not in source.name
                assert ("authorization" in seen[-1].headers) == sent

    asyncio.run(asyncio.wait_for(main(), 600))


@pytest.mark.parametrize(
    ("code", "headers", "error", "words"),
    [
        (404, "", SourceEndedError, "answered 404"),
        (401, "", SourceEndedError, "is a token needed"),
        (502, "", SourceError, "answered 502"),
        (429, "", SourceError, "answered 429"),
        (200, "Content-Type: text/html\r\n", SourceError, "text/html, not with a stream"),
    ],
)
def test_what_a_server_answers_is_reported(code: int, headers: str, error: type[Exception], words: str) -> None:
    async def main() -> None:
        async with serving(always(code, headers, b"<html>")) as (port, _):
            with pytest.raises(error, match=words):
                await take(Mastodon(f"http://127.0.0.1:{port}/x"), 1)
            if code != 200:
                with pytest.raises(error, match=words):
                    await take(Jetstream(f"ws://127.0.0.1:{port}/x"), 1)

    asyncio.run(asyncio.wait_for(main(), 600))


@pytest.fixture
def broker() -> Any:
    """The broker that librdkafka carries for tests: it speaks the protocol, over TCP."""
    pytest.importorskip("aiokafka")
    confluent = pytest.importorskip("confluent_kafka")
    return confluent.Producer({"test.mock.num.brokers": 1, "log_level": 0})


def test_kafka_goes_on_at_its_cursor(broker: Any) -> None:
    [address] = [f"kafka://{one.host}:{one.port}/messages" for one in broker.list_topics(timeout=10).brokers.values()]

    def send(*values: str | None) -> None:
        for number, value in enumerate(values):
            broker.produce("messages", value and value.encode(), key=b"gone", partition=number % 2)
        assert broker.flush(10) == 0

    async def main() -> None:
        send(*(f'{{"id": "old{number}", "text": "x"}}' for number in range(4)))
        source = Kafka(address)
        arrivals = source.arrivals(None)
        partitions = [await anext(arrivals) for _ in range(len(broker.list_topics("messages").topics["messages"].partitions))]
        assert len({one.partition for one in partitions}) == len(partitions)
        first = asyncio.ensure_future(anext(arrivals))
        while not source.live:  # it stands at the end now
            await asyncio.sleep(0.05)
        await asyncio.to_thread(send, '{"id": "a", "text": "x"}', '{"id": "b", "text": "x"}', "garbage", None)
        found = [await first, await anext(arrivals), await anext(arrivals), await anext(arrivals)]
        assert sorted(str(one.item and one.item.id) for one in found) == ["None", "a", "b", "gone"]
        assert Deletion("gone", source=source.name) in [one.item for one in found]
        assert (source.tally.garbage, source.tally.read) == (1, 4)
        await arrivals.aclose()  # type: ignore[attr-defined]
        again = await take(Kafka(address), len(partitions) + 3, found[0].cursor)  # whichever partition the first was of
        ids = [sorted(str(one.item and one.item.id) for one in some) for some in (again[len(partitions) :], found[1:])]
        assert ids[0] == ids[1]
        await nowhere(found[0].cursor)

    async def nowhere(cursor: dict[str, int]) -> None:
        """Offsets that the broker no longer has, or not yet: it was made anew."""
        reports = list[str]()
        source = Kafka(address, report=reports.append)
        found = await take(source, len(cursor) + 8, {name: offset + 1000 for name, offset in cursor.items()})
        assert [one.item.id for one in found if isinstance(one.item, Message)].count("old0") == 1
        assert len(reports) == len(cursor)
        assert "going on with the earliest" in reports[0]

    asyncio.run(asyncio.wait_for(main(), 600))
    with pytest.raises(SourceError, match="no broker answers"):
        asyncio.run(take(Kafka("kafka://127.0.0.1:1/messages"), 1))


def test_emergency_messages_are_references() -> None:
    reference = reference_of(EMERGENCY)
    time = 1_700_026_171.0  # 14:29:31 in Korea
    text, places = str(EMERGENCY["MSG_CN"]), ("부산광역시", "기장군")
    assert reference == Reference("재난문자:204", text, time, ("flood",), places, "안전안내")
    assert reference_of({**EMERGENCY, "CRT_DT": "?"}) is reference_of({**EMERGENCY, "MSG_CN": None}) is None

    def answer(request: httpx.Request) -> httpx.Response:
        """Two records today on two pages, one the day before."""
        asked = request.url.params
        assert asked["serviceKey"] == "secret"
        days: dict[str, list[Any]] = {
            "20231115": [EMERGENCY, {**EMERGENCY, "SN": 205}, "junk"],
            "20231114": [{**EMERGENCY, "SN": 203}],
        }
        records = days.get(asked["crtDt"], [])
        page = records[int(asked["pageNo"]) - 1 :][:1]
        return httpx.Response(200, json={"header": {"resultCode": "00"}, "totalCount": len(records), "body": page})

    async def main() -> list[Any]:
        transport = httpx.MockTransport(answer)
        return await take(SafetyData("secret", transport=transport, clock=lambda: time + 3600), 2, cursor=202)

    assert [arrival.item.id for arrival in asyncio.run(main())] == ["재난문자:203", "재난문자:204"]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ({"header": {"resultCode": "30", "resultMsg": "SERVICE KEY"}, "body": None}, SourceEndedError, "error 30 SERVICE KEY"),
        ({"header": {"resultCode": "22", "errorMsg": "LIMIT"}}, SourceError, "error 22 LIMIT"),
        (404, SourceEndedError, "answered 404"),
        (500, SourceError, "answered 500"),
        ("<html>", SourceError, "not JSON"),
    ],
)
def test_errors_of_the_safety_data_are_reported_without_the_key(answer: Any, error: type[Exception], words: str) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, int):
            return httpx.Response(answer)
        return httpx.Response(200, text=answer) if isinstance(answer, str) else httpx.Response(200, json=answer)

    with pytest.raises(error, match=words) as raised:
        asyncio.run(take(SafetyData("secret", transport=httpx.MockTransport(respond)), 1))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[기장군] 호우경보 발효중. 하천변 출입을 금지합니다", "issued"),
        ("[행정안전부] 오늘 14시 지진 대피 훈련이 있습니다", "void"),
        ("[서울시] 06:41 경계경보는 오발령 사항임을 알려드립니다", "void"),
        ("[포항시] 산불 대피명령이 해제되었습니다", "lifted"),
        ("[강릉시] 산불 진화 완료", "lifted"),
        ("[부산] 호우주의보 해제, 호우경보 발효", "issued"),
    ],
)
def test_drills_and_ends_are_told_from_warnings(text: str, kind: str) -> None:
    reference = reference_of({**EMERGENCY, "MSG_CN": text})
    assert reference is not None
    assert reference.kind == kind


def test_posts_keep_their_addresses_on_the_web() -> None:
    from bongsu.watch.messages import web_address
    from bongsu.watch.sources import jetstream, mastodon, records

    commit = {"collection": "app.bsky.feed.post", "operation": "create", "rkey": "3k a/b", "record": {"text": "fire"}}
    post = jetstream.item_of({"did": "did:plc:x", "kind": "commit", "time_us": 1_700_000_000_000_000, "commit": commit}, "s")
    assert post.url == "https://bsky.app/profile/did:plc:x/post/3k%20a%2Fb"  # type: ignore[union-attr]
    status = {"id": "1", "content": "fire", "url": None, "uri": "https://m.example/users/a/statuses/1"}
    assert mastodon.item_of("update", json.dumps(status), "s").url == status["uri"]  # type: ignore[union-attr]
    record = {"text": "fire", "time": 1_700_000_000, "link": "https://example.org/5"}
    assert records.message_of(record, "s", None).url == "https://example.org/5"  # type: ignore[union-attr]
    for bad in (
        "javascript:alert(1)",
        "https://user:pass@example.org/",
        "https://a b",
        "http:",
        "//x",
        "",
        None,
        5,
        "https://x/\n",
    ):
        assert web_address(bad) == ""


def test_times_that_cannot_be_and_half_an_emoji_end_no_source() -> None:
    from bongsu.watch.messages import web_address
    from bongsu.watch.sources.records import message_of

    for moment in (-(10**18), 0, 10**30):
        assert item_of_event({**json.loads(post(1, moment)), "time_us": moment}, "s") is None or moment > 0
    official = {**EMERGENCY, "SN": "\ud83d", "MSG_CN": "화재 \ud83d", "RCPTN_RGN_NM": "\ud83d", "EMRG_STEP_NM": "\ud83d"}
    reference = reference_of(official)
    assert reference is not None
    assert "?" in reference.text
    json.dumps([reference.id, reference.text, reference.places, reference.step], ensure_ascii=False).encode()
    assert web_address("https://a.example/\ud83d") == web_address("https://\ud83d/") == ""
    message = message_of({"text": "fire", "url": "https://a.example/\ud83d"}, "s", 0.0)
    assert message is not None
    assert message.url == ""


def test_ids_and_authors_beyond_measure_are_short_and_still_told_apart() -> None:
    long = "x" * 1_000_000
    for name in (long, long + "y", "é" * 501):
        record = {"text": "fire", "id": name, "author": name}
        status = {"content": "fire", "id": name, "account": {"acct": name}}
        commit = {"collection": "app.bsky.feed.post", "operation": "create", "rkey": name, "record": {"text": "fire"}}
        found = [
            (item_of_record(record, "s", 1.0), item_of_record({"delete": name}, "s", 1.0)),
            (item_of_status("update", json.dumps(status), "s"), item_of_status("delete", name, "s")),
            (
                item_of_event({"did": name, "kind": "commit", "commit": commit, "time_us": 10**15}, "s"),
                item_of_event({"did": name, "kind": "commit", "commit": {**commit, "operation": "delete"}}, "s"),
            ),
        ]
        for message, deletion in found:
            assert isinstance(message, Message)
            assert isinstance(deletion, Deletion)
            assert max(map(len, (message.id, message.author, message.url))) <= 500
            assert deletion.concerns(message)
            if name == long:
                assert not deletion.concerns(replace(message, id=tidy_id(long + "y")))


def test_a_record_number_of_thousands_of_digits_is_stepped_over() -> None:
    records = [{**EMERGENCY, "SN": "9" * 5000}, {**EMERGENCY, "SN": 7}]
    answer = httpx.MockTransport(lambda request: httpx.Response(200, json={"body": records, "totalCount": 2}))
    [arrival] = asyncio.run(take(SafetyData("key", transport=answer), 1))
    assert arrival.cursor == 7


def test_an_event_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bongsu.watch.sources.mastodon._LARGEST", 10_000)

    async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"data: " + b"x" * 1000)
            await writer.drain()

    async def main() -> None:
        async with serving(endless) as (port, _):
            await take(Mastodon(f"http://127.0.0.1:{port}/"), 1)

    with pytest.raises(SourceError, match="an event is larger than"):
        asyncio.run(asyncio.wait_for(main(), 60))


def test_tags_that_are_never_closed_take_no_time() -> None:
    from bongsu.watch.sources.mastodon import plain

    for text in ("<" * 300_000, "<br " * 100_000):  # minutes, were each looked for to the end
        assert plain(text)[:3] == text[:3]
    assert plain("a <b>c</b><br/>d<p>e") == "a c\nd\ne"
