"""Load on a served bundle: messages a second and latency by batch and by clients, memory, and three times what it can carry.

    python -m benchmarks.serving BUNDLE MESSAGES [--seconds 5]

MESSAGES is a text file, one message a line. The server runs as `bongsu serve` does, in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from benchmarks.measuring import status_megabytes
from bongsu import progress

PORT = 18765
BATCHES = (1, 8, 32, 128)
CLIENTS = (1, 4, 16, 64)


@dataclass
class Load:
    """What came of a stretch of load."""

    seconds: float = 0.0
    messages: int = 0
    refused: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)

    def row(self, name: str) -> list[object]:
        p50, p99 = np.percentile(self.latencies or [0.0], [50, 99]) * 1000
        rate = round(self.messages / self.seconds)
        return [name, rate, round(float(p50), 1), round(float(p99), 1), self.refused, self.failed]


async def ask(client: httpx.AsyncClient, load: Load, texts: list[str]) -> None:
    """One request, noted."""
    started = time.perf_counter()
    response = await client.post("/v1/classify", json={"text": texts})
    if response.status_code == 200:
        load.messages += len(texts)
        load.latencies.append(time.perf_counter() - started)
    elif response.status_code == 429:
        load.refused += 1
    else:
        load.failed += 1


async def closed(client: httpx.AsyncClient, messages: list[str], clients: int, batch: int, seconds: float) -> Load:
    """So many clients, each of which asks again as soon as it is answered."""
    load, draw = Load(), random.Random(0)
    until = time.perf_counter() + seconds

    async def one() -> None:
        while time.perf_counter() < until:
            await ask(client, load, draw.choices(messages, k=batch))

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    load.seconds = time.perf_counter() - started
    return load


async def opened(client: httpx.AsyncClient, messages: list[str], rate: float, batch: int, seconds: float) -> Load:
    """Requests of `batch` messages at `rate` messages a second, whatever becomes of those before."""
    load, draw = Load(), random.Random(0)
    started = time.perf_counter()
    tasks: list[asyncio.Task[None]] = []
    while (elapsed := time.perf_counter() - started) < seconds:
        due = int(elapsed * rate / batch)
        tasks += [asyncio.create_task(ask(client, load, draw.choices(messages, k=batch))) for _ in range(due - len(tasks))]
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - started
    return load


async def measure(messages: list[str], seconds: float, process: int) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=60, limits=limits) as client:
        await wait_until(lambda: client.get("/health/ready"))
        headings = ["", "messages/s", "p50 ms", "p99 ms", "refused", "failed"]
        rows = []
        for batch in BATCHES:
            rows.append((await closed(client, messages, 1, batch, seconds)).row(f"{batch} a request"))
        progress.table("one client", headings, rows)
        rows = []
        for clients in CLIENTS:
            load = await closed(client, messages, clients, 1, seconds)
            rows.append(load.row(f"{clients} clients"))
        progress.table("one message a request", headings, rows)
        best = await closed(client, messages, 8, 32, seconds)
        carried = best.messages / best.seconds
        flood = await opened(client, messages, 3 * carried, 32, max(seconds, 10))
        progress.table("32 a request", headings, [best.row("8 clients"), flood.row("three times that, whatever comes back")])
        progress.note(f"memory of the server: {status_megabytes(process, 'VmRSS'):.0f} MB")


async def wait_until(get: Callable[[], Awaitable[httpx.Response]]) -> None:
    """Waits until the server is ready."""
    for _ in range(300):
        try:
            if (await get()).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.1)
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("messages", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--engine", default="auto")
    given = parser.parse_args()
    messages = given.messages.read_text(encoding="utf-8").splitlines()
    command = [sys.executable, "-c", "from bongsu.cli import main; main()", "serve", str(given.bundle)]
    options = ["--port", str(PORT), "--engine", given.engine]
    with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as server:
        try:
            asyncio.run(measure([message for message in messages if message.strip()], given.seconds, server.pid))
        finally:
            server.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
