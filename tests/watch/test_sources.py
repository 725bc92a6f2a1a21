from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from bongsu.errors import DataError
from bongsu.watch.messages import Deletion, Message, Reference
from bongsu.watch.sources import jetstream, mastodon
from bongsu.watch.sources.jetstream import Jetstream
from bongsu.watch.sources.kafka import Kafka
from bongsu.watch.sources.lines import File
from bongsu.watch.sources.mastodon import Mastodon
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


def test_jetstream_is_gapless_when_the_connection_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server keeps all events, as Jetstream does, and drops each connection after seven of them, in mid-stream."""
    monkeypatch.setattr(jetstream, "pause", lambda attempt: 0.0)
    base = int(time.time() * 1e6)
    events = [(base + number * 10_000_000, post(number, base + number * 10_000_000)) for number in range(40)]

    async def answer(socket: ServerConnection) -> None:
        assert socket.request is not None
        query = httpx.URL(socket.request.path).params
        assert query["wantedCollections"] == "app.bsky.feed.post"
        rest = [frame for when, frame in events if when >= int(query.get("cursor", 0))]
        for frame in rest[:7]:
            await socket.send(frame)
        await socket.send("{not json")
        socket.transport.abort()

    async def main() -> tuple[Jetstream, list[Any]]:
        async with serve(answer, "127.0.0.1", 0) as server:
            source = Jetstream(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/subscribe")
            found: list[Any] = []
            async for arrival in source.arrivals(None):
                found.append(arrival)
                if arrival.item.text == "post 39":
                    return source, found
            raise AssertionError

    source, found = asyncio.run(asyncio.wait_for(main(), 30))
    assert list(dict.fromkeys(arrival.item.text for arrival in found)) == [f"post {number}" for number in range(40)]
    assert source.connects > 5
    assert [arrival.cursor for arrival in found] == sorted(arrival.cursor for arrival in found)


def test_jetstream_deletions() -> None:
    deleted = {"operation": "delete", "collection": "app.bsky.feed.post", "rkey": "7"}
    assert jetstream.item_of({"did": "d", "time_us": 1, "kind": "commit", "commit": deleted}, "") == Deletion(
        "at://d/app.bsky.feed.post/7"
    )
    account = {"active": False, "status": "deleted"}
    assert jetstream.item_of({"did": "d", "time_us": 1, "kind": "account", "account": account}, "") == Deletion(author="d")
    like = {"operation": "create", "collection": "app.bsky.feed.like", "rkey": "7", "record": {}}
    assert jetstream.item_of({"did": "d", "time_us": 1, "kind": "commit", "commit": like}, "") is None


def test_mastodon_streams_posts_and_deletions_over_a_real_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mastodon, "pause", lambda attempt: 0.0)
    status: dict[str, Any] = {"id": "5", "content": "<p>Fire<br>now &amp; here</p>", "created_at": "2023-11-14T22:13:20Z"}
    status["account"] = {"acct": "a@b"}
    update = json.dumps(status)
    body = f":thump\n\nevent: update\ndata: {update}\n\nevent: update\ndata: {{broken\n\nevent: delete\ndata: 5\n\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body.encode())
        await writer.drain()
        writer.close()

    async def main() -> tuple[Mastodon, list[Any]]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            source = Mastodon(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1/streaming/public")
            return source, await take(source, 4)

    source, found = asyncio.run(asyncio.wait_for(main(), 30))
    message = Message("5", "Fire\nnow & here", 1_700_000_000.0, "a@b", source.name)
    assert [arrival.item for arrival in found] == [message, Deletion("5")] * 2
    assert source.gaps == 1
    assert source.garbage == 2


def test_kafka_goes_on_at_its_cursor() -> None:
    """Against the broker that librdkafka carries for tests: it speaks the protocol, over TCP."""
    pytest.importorskip("aiokafka")
    confluent = pytest.importorskip("confluent_kafka")
    producer = confluent.Producer({"test.mock.num.brokers": 1, "log_level": 0})
    [broker] = producer.list_topics(timeout=10).brokers.values()
    address = f"kafka://{broker.host}:{broker.port}/messages"

    def send(*values: str) -> None:
        for number, value in enumerate(values):
            producer.produce("messages", value.encode(), partition=number % 2)
        assert producer.flush(10) == 0

    async def main() -> None:
        send(*(f'{{"id": "old{number}", "text": "x"}}' for number in range(4)))
        source = Kafka(address)
        arrivals = source.arrivals(None)
        first = asyncio.ensure_future(anext(arrivals))
        while not source.live:  # it stands at the end now
            await asyncio.sleep(0.05)
        await asyncio.to_thread(send, '{"id": "a", "text": "x"}', '{"id": "b", "text": "x"}', "garbage")
        found = [await first, await anext(arrivals), await anext(arrivals)]
        assert sorted(str(one.item and one.item.id) for one in found) == ["None", "a", "b"]
        assert source.garbage == 1
        await arrivals.aclose()
        again = await take(Kafka(address), 2, found[0].cursor)  # whichever partition the first was of
        ids = [sorted(str(one.item and one.item.id) for one in some) for some in (again, found[1:])]
        assert ids[0] == ids[1]

    asyncio.run(asyncio.wait_for(main(), 60))
    with pytest.raises(DataError, match="no broker answers"):
        asyncio.run(take(Kafka("kafka://127.0.0.1:1/messages"), 1))


def test_emergency_messages_are_references() -> None:
    reference = reference_of(EMERGENCY)
    time = 1_700_026_171.0  # 14:29:31 in Korea
    text, places = str(EMERGENCY["MSG_CN"]), ("부산광역시", "기장군")
    assert reference == Reference("재난문자:204", text, time, ("flood",), places, "안전안내")
    assert reference_of({**EMERGENCY, "CRT_DT": "?"}) is reference_of({**EMERGENCY, "MSG_CN": None}) is None

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["serviceKey"] == "secret"
        return httpx.Response(200, json={"header": {}, "body": [EMERGENCY, {**EMERGENCY, "SN": 205}, "junk"]})

    async def main() -> list[Any]:
        client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        return await take(SafetyData("secret", client=client), 1, cursor=204)

    assert [arrival.item.id for arrival in asyncio.run(main())] == ["재난문자:205"]


def test_a_followed_file_survives_rotation_and_restart(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"

    def line(number: int) -> str:
        return json.dumps({"id": str(number), "text": "x", "time": 1_700_000_000}) + "\n"

    path.write_text(line(0) + "{broken\n" + line(1) + line(2)[:9])

    async def main() -> list[Any]:
        found = []
        source = File(path, follow=True, poll=0.001)
        async for arrival in source.arrivals(None):
            found.append(arrival)
            if len(found) == 3:  # the half line is completed, the file rotated away and begun anew
                with open(path, "a") as file:
                    file.write(line(2)[9:])
                path.rename(tmp_path / "log.jsonl.1")
                path.write_text(line(3))
            if arrival.item and arrival.item.id == "3":
                return found
        raise AssertionError

    found = asyncio.run(asyncio.wait_for(main(), 30))
    assert [arrival.item and arrival.item.id for arrival in found] == ["0", None, "1", "2", "3"]
    again = asyncio.run(take(File(tmp_path / "log.jsonl.1"), 9, found[2].cursor))
    assert [arrival.item.id for arrival in again] == ["2"]
