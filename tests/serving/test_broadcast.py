"""What a listener of the live stream is sent, whenever it comes and however slow it is."""

from __future__ import annotations

import asyncio
from typing import Any

from fake_service import alert_of, message_of, status_of

from bongsu.serving.broadcast import Broadcaster


def test_who_comes_late_is_told_and_nothing_that_was_taken_back() -> None:
    async def main() -> dict[str, Any]:
        stream = Broadcaster()
        for number in range(60):
            stream.publish(message_of(number))
        stream.publish(alert_of(1))
        stream.publish(alert_of(2))
        stream.publish(alert_of(2, "closed"))
        stream.publish(status_of(rate=1.0))
        stream.publish(status_of(rate=2.0))
        stream.publish({"type": "deletion", "id": "59", "author": "", "source": "s"})
        stream.publish({"type": "deletion", "id": "a", "author": "", "source": "s"})
        stream.publish({"type": "deletion", "id": "58", "author": "", "source": "another"})
        return await anext(stream.subscribe().events(60))  # type: ignore[arg-type]

    snapshot = asyncio.run(main())
    assert [message["id"] for message in snapshot["messages"]] == [str(number) for number in range(10, 59)]
    assert [(alert["id"], alert["state"]) for alert in snapshot["alerts"]] == [("2", "closed"), ("1", "opened")]
    assert [item["id"] for item in snapshot["alerts"][0]["evidence"]] == ["b"]
    assert snapshot["status"]["rate"] == 2.0
    assert snapshot["ended"] is None


def test_a_listener_who_is_too_slow_gets_a_snapshot_with_every_alert() -> None:
    async def main() -> list[Any]:
        stream = Broadcaster()
        listener = stream.subscribe()
        stream.publish(alert_of(1))
        for number in range(1000):
            stream.publish(message_of(number))
        await asyncio.sleep(0)
        stream.close()
        return [event async for event in listener.events(60)]

    events = asyncio.run(main())
    assert len(events) <= 257
    snapshots = [event for event in events if event["type"] == "snapshot"]
    assert [alert["id"] for alert in snapshots[0]["alerts"]] == ["1"]
