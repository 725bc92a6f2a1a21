"""What the benchmarks share: each side in a fresh process, the sides in turn, medians, one table."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bongsu.files import write_text


def in_turn(module: str, sides: Sequence[str], arguments: Sequence[str], repeats: int) -> dict[str, dict[str, Any]]:
    """Runs `python -m MODULE --side SIDE ...` for every side, `repeats` times over, and takes the median of each figure.

    Each child prints one line of JSON, its figures, as its last.
    """
    seen: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(repeats):
        for side in sides:
            command = [sys.executable, "-m", module, "--side", side, *arguments]
            child = subprocess.run(command, capture_output=True, text=True, check=False)
            if child.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{child.stderr[-2000:]}")
            seen[side].append(json.loads(child.stdout.strip().splitlines()[-1]))
            print(f"{number + 1}/{repeats} {side}: {seen[side][-1]}", file=sys.stderr, flush=True)
    return {side: _medians(runs) for side, runs in seen.items()}


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows as a CSV file with a header."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, table.getvalue())


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number; of what is none, the first."""
    return {
        key: statistics.median(run[key] for run in runs) if isinstance(value, int | float) else value
        for key, value in runs[0].items()
    }


def peak_megabytes() -> float:
    """The most memory this process has held. (What `getrusage` tells of a child begins at its parent's.)"""
    if Path("/proc/self/status").is_file():
        return status_megabytes("self", "VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def status_megabytes(process: int | str, what: str) -> float:
    """What Linux tells of a process's memory, such as VmRSS (held now) or VmHWM (the most)."""
    return int(Path(f"/proc/{process}/status").read_text().split(f"{what}:")[1].split()[0]) / 1024


class PeakOfAll:
    """The most memory that this process and all it started have held together, in `megabytes` once it is left.

    Pages that several share are counted once (Linux's proportional set size). It is looked at five times a second.
    """

    megabytes = 0.0

    def __enter__(self) -> PeakOfAll:
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._done.wait(0.2):
            self.megabytes = max(self.megabytes, sum(map(_own_share, _descendants(os.getpid()))))


def _descendants(process: int) -> list[int]:
    found = [process]
    with suppress(OSError):  # it may have ended
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _descendants(int(child))
    return found


def _own_share(process: int) -> float:
    with suppress(OSError):
        return int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.M)[1]) / 1024  # type: ignore[index]
    return 0.0


def markdown(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
