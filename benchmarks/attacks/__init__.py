"""Hostile input, each in a process of its own under a memory limit: what came of it, the peak memory, the seconds.

    python -m benchmarks.attacks [NAME ...]

The memory is that of the largest process that an attack starts, with the libraries that it imports; of one that starts none,
its own, with the input that it makes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from benchmarks.measuring import status_megabytes

BONGSU = [sys.executable, "-m", "bongsu.cli"]
DETECTOR = "bongsu:beacon"
ENVIRONMENT = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
Attack = Callable[[Path], str]
ATTACKS: dict[str, tuple[Attack, str]] = {}
PEAKS: list[float] = []
"""Megabytes of the processes that an attack started."""


def attack(name: str, before: str = "") -> Callable[[Attack], Attack]:
    """Enter an attack under its name, with what it did when it was reported."""

    def enter(run: Attack) -> Attack:
        ATTACKS[name] = run, before
        return run

    return enter


def call(*words: object, given: bytes = b"", seconds: float = 180.0) -> subprocess.CompletedProcess[bytes]:
    """Run the command line to its end, which must not be a traceback."""
    command = [*BONGSU, *map(str, words)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        measure(process.pid)
        try:
            said, errors = process.communicate(given, timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert b"Traceback" not in errors, errors[-500:]
    return subprocess.CompletedProcess(command, process.returncode, said, errors)


def measure(process: int) -> None:
    """Look at a process's memory until it ends. (What `getrusage` tells of a child begins at its parent's.)"""
    place = len(PEAKS)
    PEAKS.append(0.0)

    def look() -> None:
        with suppress(OSError, IndexError):  # it has ended
            while True:
                PEAKS[place] = status_megabytes(process, "VmHWM")
                time.sleep(0.05)

    Thread(target=look, daemon=True).start()


def last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last thing that a command said."""
    return (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]


@contextmanager
def server(folder: Path, model: object = DETECTOR, *options: object) -> Iterator[str]:
    """Serve a bundle in a process of its own; yields the address."""
    command = [*BONGSU, "serve", str(model), "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stderr is not None
    measure(process.pid)
    try:
        while "http://" not in (line := process.stderr.readline()):
            assert line, process.wait()
        Thread(target=process.stderr.read, daemon=True).start()
        yield "http://" + line.partition("http://")[2].split()[0]
    finally:
        process.terminate()
        process.wait(60)
