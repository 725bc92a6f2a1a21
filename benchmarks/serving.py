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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.asking import classify, p50_p99
from benchmarks.measuring import markdown, status_megabytes

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
        return [name, round(self.messages / self.seconds), *p50_p99(self.latencies), self.refused, self.failed]


class Client:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", PORT))

    async def ask(self, load: Load, texts: list[str]) -> None:
        """One request, noted."""
        started = time.perf_counter()
        status, _, _ = await classify(self._reader, self._writer, texts)
        if status == "200":
            load.messages += len(texts)
            load.latencies.append(time.perf_counter() - started)
        elif status == "429":
            load.refused += 1
        else:
            load.failed += 1

    @property
    def open(self) -> bool:
        """Whether the server has not closed it."""
        return not self._reader.at_eof()

    def close(self) -> None:
        self._writer.close()


async def closed(messages: list[str], clients: int, batch: int, seconds: float) -> Load:
    """So many clients, each of which asks again as soon as it is answered."""
    load, draw = Load(), random.Random(0)
    until = time.perf_counter() + seconds

    async def one() -> None:
        client = await Client.connect()
        while time.perf_counter() < until:
            await client.ask(load, draw.choices(messages, k=batch))
        client.close()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    load.seconds = time.perf_counter() - started
    return load


async def opened(messages: list[str], rate: float, batch: int, seconds: float) -> Load:
    """Requests of `batch` messages at `rate` messages a second, whatever becomes of those before."""
    load, draw, free = Load(), random.Random(0), list[Client]()

    async def one() -> None:
        client = free.pop() if free and free[-1].open else await Client.connect()
        await client.ask(load, draw.choices(messages, k=batch))
        free.append(client)

    started = time.perf_counter()
    tasks: list[asyncio.Task[None]] = []
    while (elapsed := time.perf_counter() - started) < seconds:
        due = int(elapsed * rate / batch)
        tasks += [asyncio.create_task(one()) for _ in range(due - len(tasks))]
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - started
    return load


async def measure(messages: list[str], seconds: float, process: int) -> None:
    engine = await wait_until_ready()
    await closed(messages, 4, 8, 2)  # warm
    headings = ["", "messages/s", "p50 ms", "p99 ms", "refused", "failed"]
    print(f"{engine}, one client")
    print(markdown(headings, [(await closed(messages, 1, batch, seconds)).row(f"{batch} a request") for batch in BATCHES]))
    print("one message a request")
    print(markdown(headings, [(await closed(messages, clients, 1, seconds)).row(f"{clients} clients") for clients in CLIENTS]))
    best = await closed(messages, 8, 32, seconds)
    carried = best.messages / best.seconds
    flood = await opened(messages, 3 * carried, 32, max(seconds, 10))
    print("32 messages a request")
    print(markdown(headings, [best.row("8 clients"), flood.row("three times that, whatever comes back")]))
    print(
        f"memory of the server: {status_megabytes(process, 'VmRSS'):.0f} MB, at most {status_megabytes(process, 'VmHWM'):.0f}"
    )


async def wait_until_ready() -> str:
    """Returns the engine that the server chose."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}") as client:
        for _ in range(300):
            with suppress(httpx.TransportError):
                if (await client.get("/health/ready")).status_code == 200:
                    return (await client.get("/metrics")).text.partition('bongsu_model{engine="')[2].partition('"')[0]
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
