"""What the benchmarks share: each side in a fresh process, the sides in turn, medians, one table."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def in_turn(module: str, sides: Sequence[str], arguments: Sequence[str], repeats: int) -> dict[str, dict[str, float]]:
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
    return {side: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for side, runs in seen.items()}


def peak_megabytes() -> float:
    """The most memory this process has held. (What `getrusage` tells of a child begins at its parent's.)"""
    if Path("/proc/self/status").is_file():
        return status_megabytes("self", "VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def status_megabytes(process: int | str, what: str) -> float:
    """What Linux tells of a process's memory, such as VmRSS (held now) or VmHWM (the most)."""
    return int(Path(f"/proc/{process}/status").read_text().split(f"{what}:")[1].split()[0]) / 1024


def markdown(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
