"""Hostile input, each in a process of its own under a memory limit: what came of it, the peak memory, the seconds.

    python -m benchmarks.attacks [NAME ...]

The memory is that of the largest process, with the libraries that it imports; where the input is made in the same process, with
that as well.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    done = subprocess.run(
        [*BONGSU, *map(str, words)], input=given, capture_output=True, timeout=seconds, env=ENVIRONMENT, check=False
    )
    PEAKS.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    assert b"Traceback" not in done.stderr, done.stderr[-500:]
    return done


def last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last thing that a command said."""
    return (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]


@contextmanager
def server(folder: Path, model: object = DETECTOR, *options: object) -> Iterator[str]:
    """Serve a bundle in a process of its own; yields the address."""
    command = [*BONGSU, "serve", str(model), "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stderr is not None
    try:
        while "http://" not in (line := process.stderr.readline()):
            assert line, process.wait()
        Thread(target=process.stderr.read, daemon=True).start()
        yield "http://" + line.partition("http://")[2].split()[0]
        PEAKS.append(status_megabytes(process.pid, "VmHWM"))
    finally:
        process.terminate()
        process.wait(60)
