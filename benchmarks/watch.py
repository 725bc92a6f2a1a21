"""How much a watch keeps up with: `bongsu watch` in a process of its own, on a made Jetstream that waits for nobody.

    python -m benchmarks.watch BUNDLE MESSAGES [--rates 500,1000,1500] [--seconds 60]

MESSAGES is a text file, one message a line. They are sent as live posts, through a WebSocket on this machine; the watch writes
a store and shows its page, whose stream is listened to. Sender and listener run on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.measuring import markdown, status_megabytes

PAGE_PORT = 18766
_TICK = 0.01
_WARM = 5  # seconds, and as many statuses that are left out


class Sender:
    """Sends posts at a rate to whoever connects."""

    def __init__(self, messages: Iterator[str], rate: float) -> None:
        self.sent = 0
        self._messages, self._rate = messages, rate

    async def __call__(self, socket: ServerConnection) -> None:
        started = time.perf_counter()
        with suppress(ConnectionClosed):
            while True:
                due = int((time.perf_counter() - started) * self._rate)
                for number in range(self.sent, due):
                    await socket.send(_post(number, next(self._messages)))
                self.sent = due
                await asyncio.sleep(_TICK)


def _post(number: int, text: str) -> bytes:
    commit = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": str(number), "record": {"text": text}}
    return orjson.dumps({"did": f"did:{number}", "time_us": time.time_ns() // 1000, "kind": "commit", "commit": commit})


async def listen(statuses: list[dict[str, Any]]) -> None:
    """Takes the watch's statuses off its page's stream."""
    async with httpx.AsyncClient(timeout=None) as client:
        while True:
            with suppress(httpx.HTTPError):
                async with client.stream("GET", f"http://127.0.0.1:{PAGE_PORT}/v1/stream") as response:
                    async for line in response.aiter_lines():
                        if line.startswith("data: ") and (event := orjson.loads(line[6:]))["type"] == "status":
                            statuses.append(event)
            await asyncio.sleep(0.2)


async def measure(bundle: Path, messages: Iterator[str], rate: float, seconds: float, store: Path) -> list[object]:
    """One row: a watch under so many messages a second."""
    sender, statuses = Sender(messages, rate), list[dict[str, Any]]()
    async with serve(sender, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        command = [sys.executable, "-c", "from bongsu.cli import main; main()", "watch", str(bundle)]
        command += [f"ws://127.0.0.1:{port}/subscribe", "--store", str(store), "--page", str(PAGE_PORT), "--no-view"]
        watch = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listening = asyncio.create_task(listen(statuses))
        try:
            while len(statuses) < _WARM:
                await asyncio.sleep(0.1)
            started, sent, busy = time.perf_counter(), sender.sent, _cpu_seconds(watch.pid)
            await asyncio.sleep(seconds)
            took, sent, busy = time.perf_counter() - started, sender.sent - sent, _cpu_seconds(watch.pid) - busy
            memory = status_megabytes(watch.pid, "VmRSS")
        finally:
            listening.cancel()
            watch.send_signal(signal.SIGTERM)
            watch.wait()
    first, last = statuses[_WARM - 1], statuses[-1]
    lags = [status["lag"] for status in statuses[_WARM:]]
    dropped = last["dropped"] - first["dropped"]
    return [
        round(sent / took),
        round((last["received"] - first["received"]) / took),
        dropped,
        f"{np.median(lags):.2f}",
        f"{max(lags):.2f}",
        f"{busy / took:.2f}",
        round(memory),
        f"{last['share']:.1%}",
    ]


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("messages", type=Path)
    parser.add_argument("--rates", default="500,1000,1500", help="messages a second, one row each")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    given = parser.parse_args()
    lines = [line for line in given.messages.read_text(encoding="utf-8").splitlines() if line.strip()]
    messages, rows = itertools.cycle(lines), []
    with tempfile.TemporaryDirectory() as folder:
        for number, rate in enumerate(map(float, given.rates.split(","))):
            store = Path(folder) / f"{number}.db"
            rows.append(asyncio.run(measure(given.bundle, messages, rate, given.seconds, store)))
            print(rows[-1], file=sys.stderr, flush=True)
    headings = ["sent a second", "read a second", "dropped", "lag s, median", "longest", "cores busy", "memory MB", "that pass"]
    print(markdown(headings, rows))


if __name__ == "__main__":
    main()
