"""Runs the attacks: `python -m benchmarks.attacks [NAME ...]`."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import benchmarks.attacks
import benchmarks.attacks.files
import benchmarks.attacks.models
import benchmarks.attacks.serving
import benchmarks.attacks.text
import benchmarks.attacks.watching
from benchmarks.attacks import ATTACKS, ENVIRONMENT, PEAKS
from benchmarks.measuring import markdown, peak_megabytes

_LIMIT = 4 * 2**30
_SECONDS = 600


def _one(name: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT, _LIMIT))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = ATTACKS[name][0](Path(folder))
    print(json.dumps([outcome, max(PEAKS) if PEAKS else peak_megabytes(), time.perf_counter() - started]))


def main() -> None:
    """Run the attacks one after another and print the table."""
    parser = argparse.ArgumentParser(
        description=benchmarks.attacks.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="parts of the names of the attacks to run; all by default")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return _one(given.one)
    rows = []
    for name, (_, before) in ATTACKS.items():
        if given.names and not any(part in name for part in given.names):
            continue
        command = [sys.executable, "-m", "benchmarks.attacks", "--one", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, env=ENVIRONMENT)
            outcome, peak, seconds = (
                json.loads(done.stdout.splitlines()[-1])
                if done.returncode == 0
                else (f"BROKE: exit {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1][-150:]}", 0.0, 0.0)
            )
        except subprocess.TimeoutExpired:
            outcome, peak, seconds = "BROKE: not done in time", 0.0, float(_SECONDS)
        rows.append([name, before, outcome.replace("|", "/"), f"{peak:.0f}", f"{seconds:.1f}"])
        print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(["attack", "before", "now", "peak MB", "s"], rows))
    return None


if __name__ == "__main__":
    main()
