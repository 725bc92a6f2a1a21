"""A real server under steady load: another bundle is swapped in, bad ones are offered, then SIGTERM; is any request lost?

    python -m benchmarks.swapping BUNDLE ANOTHER MESSAGES [--clients 32] [--seconds 5]

Every client asks again a moment after it is answered, on a connection that it keeps. Each answer is compared with what the
bundle that it names says of each message alone. A request is lost when it was sent and no answer came. Exits with 1 if one was
lost or failed, an answer was wrong, or a bundle taken or refused that should not have been.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson

from benchmarks.asking import classify, p50_p99
from benchmarks.measuring import markdown
from bongsu.inference.bundle import MANIFEST, MODEL, write_manifest
from bongsu.inference.onnx import BundlePredictor

_LARGEST = 8  # messages in a request
_CLOSE = {"float32": 1e-5, "int8": 1e-7}  # float32 rounds otherwise in other company


@dataclass
class Phase:
    """What became of the requests that were sent in a stretch of time."""

    answered: int = 0
    busy: int = 0
    failed: int = 0
    wrong: int = 0
    lost: int = 0
    turned_away: int = 0
    """Connections that the server, ending, did not take."""
    models: dict[str, None] = field(default_factory=dict)
    """The bundles that answered, in their order."""
    latencies: list[float] = field(default_factory=list)

    def row(self, name: str) -> list[object]:
        counts = [self.answered, self.busy, self.failed, self.wrong, self.lost, self.turned_away]
        return [name, *counts, *p50_p99(self.latencies), " then ".join(self.models)]


@dataclass
class Load:
    """Clients that ask until the server is gone."""

    port: int
    messages: list[str]
    answers: dict[str, dict[str, float]]
    """By bundle and message, the probability."""
    tolerance: float
    pause: float
    phase: str = "steady"
    phases: dict[str, Phase] = field(default_factory=lambda: defaultdict(Phase))

    async def client(self, number: int) -> None:
        draw = random.Random(number)
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                self.phases[self.phase].turned_away += 1
                return
            while await self._ask(reader, writer, draw.choices(self.messages, k=draw.randint(1, _LARGEST))):
                await asyncio.sleep(draw.expovariate(1 / self.pause) if self.pause else 0)
                if reader.at_eof():  # closed between two requests
                    break
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, texts: list[str]) -> bool:
        """One request; whether the connection is kept."""
        phase, started = self.phases[self.phase], time.perf_counter()
        try:
            status, head, content = await classify(reader, writer, texts)
        except (OSError, asyncio.IncompleteReadError):
            phase.lost += 1
            return False
        if status == "200":
            phase.answered += 1
            phase.latencies.append(time.perf_counter() - started)
            phase.wrong += not self._right(orjson.loads(content), texts, phase)
        elif status == "429":
            phase.busy += 1
        else:
            phase.failed += 1
        return "connection: close" not in head

    def _right(self, answer: dict, texts: list[str], phase: Phase) -> bool:  # type: ignore[type-arg]
        phase.models[answer["model"]] = None
        expected = self.answers[answer["model"]]
        pairs = zip(answer["results"], texts, strict=True)
        return all(abs(result["probability"] - expected[text]) <= self.tolerance for result, text in pairs)


class Figures:
    """The server's own."""

    def __init__(self, port: int) -> None:
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60)

    async def until(self, line: str) -> None:
        """Waits until they say so.

        Raises:
            TimeoutError: when they never do.
        """
        async with asyncio.timeout(60):
            while line not in (await self._client.get("/metrics")).text:
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        await self._client.aclose()


def _damaged(folder: Path) -> None:
    """A file that was changed."""
    content = bytearray((folder / MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / MODEL).write_bytes(content)


def _unreadable(folder: Path) -> None:
    """Every hash is right, and the graph is none."""
    (folder / MODEL).write_bytes(b"not a graph")
    (folder / MANIFEST).unlink()
    write_manifest(folder, "onnx")


def _pickled(folder: Path) -> None:
    """A pickle lies in it."""
    (folder / "head.pkl").write_bytes(b"\x80\x04.")


def _missing(folder: Path) -> None:
    """Gone."""
    shutil.rmtree(folder)


_BAD: tuple[Callable[[Path], None], ...] = (_damaged, _unreadable, _pickled, _missing)


def put(bundle: Path, place: Path, spoil: Callable[[Path], None] | None = None) -> None:
    """Puts a copy of a bundle, spoilt if so told, where the server looks."""
    fresh, old = place.with_name("fresh"), place.with_name("old")
    shutil.copytree(bundle, fresh)
    if spoil:
        spoil(fresh)
    if place.exists():
        place.rename(old)
    if fresh.exists():
        fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


async def drive(
    server: subprocess.Popen[str], port: int, load: Load, place: Path, another: Path, clients: int, seconds: float
) -> None:
    """Takes the server through it all."""
    figures = Figures(port)
    running = [asyncio.create_task(load.client(number)) for number in range(clients)]
    await asyncio.sleep(seconds)
    load.phase = "swap"
    put(another, place)
    server.send_signal(signal.SIGHUP)
    await figures.until('bongsu_swaps_total{outcome="done"} 1.0')
    await asyncio.sleep(seconds)
    for number, spoil in enumerate(_BAD, 1):
        load.phase = "bad bundles"
        put(another, place, spoil)
        server.send_signal(signal.SIGHUP)
        await figures.until(f'bongsu_swaps_total{{outcome="refused"}} {number}.0')
        await asyncio.sleep(seconds / len(_BAD))
    await figures.close()
    load.phase = "SIGTERM"
    server.send_signal(signal.SIGTERM)
    started = time.perf_counter()
    await asyncio.gather(*running)
    await asyncio.to_thread(server.wait)
    print(f"the process ended {time.perf_counter() - started:.2f} s after SIGTERM")


@contextmanager
def serving(place: Path, engine: str, log: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`bongsu serve`, in a process of its own; yields it and its port."""
    command = [
        sys.executable,
        "-c",
        "from bongsu.cli import main; main()",
        "serve",
        str(place),
        "--port",
        "0",
        "--engine",
        engine,
    ]
    with open(log, "w") as written, subprocess.Popen(command, stderr=written, text=True) as server:
        try:
            while "http://127.0.0.1:" not in log.read_text():
                if server.poll() is not None:
                    raise SystemExit(f"the server did not start:\n{log.read_text()}")
                time.sleep(0.05)
            yield server, int(log.read_text().partition("http://127.0.0.1:")[2].split()[0])
        finally:
            server.kill()


def main() -> None:
    """Parses, drives, prints the table, judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("another", type=Path, help="the bundle that is swapped in")
    parser.add_argument("messages", type=Path, help="a text file, one message a line")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between an answer and the next request, on average")
    parser.add_argument("--engine", choices=list(_CLOSE), default="float32")
    given = parser.parse_args()
    messages = [line for line in given.messages.read_text(encoding="utf-8").splitlines() if line.strip()][:500]
    answers = {}
    for folder in (given.bundle, given.another):
        predictor = BundlePredictor.load(folder, given.engine)
        answers[predictor.version] = {text: predictor.predict([text])[0].probability for text in messages}
        predictor.close()
    if len(answers) != 2:
        raise SystemExit("the two bundles are the same")
    with tempfile.TemporaryDirectory() as folder:
        place, log = Path(folder) / "bundle", Path(folder) / "log"
        put(given.bundle, place)
        with serving(place, given.engine, log) as (server, port):
            load = Load(port, messages, answers, _CLOSE[given.engine], given.pause)
            asyncio.run(drive(server, port, load, place, given.another, given.clients, given.seconds))
        lines = [orjson.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    headings = ["phase", "answered", "429", "failed", "wrong", "lost", "turned away", "p50 ms", "p99 ms", "bundle"]
    print(markdown(headings, [phase.row(name) for name, phase in load.phases.items()]))
    for line in lines:
        if line["message"] == "swap refused":
            print(f"refused: {line['reason'].replace(folder, '')}")
    told = sum(line["message"] == "request" and line["path"] == "/v1/classify" and line["status"] == 200 for line in lines)
    answered = sum(phase.answered for phase in load.phases.values())
    print(f"{given.engine}, {given.clients} clients: {told:,} answers by the server's log, {answered:,} answers received")
    first, second = answers
    kept = load.phases["bad bundles"].models | load.phases["SIGTERM"].models
    spoilt = any(phase.failed or phase.wrong or phase.lost for phase in load.phases.values())
    if spoilt or told != answered or list(load.phases["steady"].models) != [first] or list(kept) != [second]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
