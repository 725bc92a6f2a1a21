"""A real server with real bundles, under load, through swaps, refusals and its end."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bongsu.files import read_json, write_json
from bongsu.inference.bundle import MANIFEST, write_manifest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_nothing_is_lost_whatever_happens_to_the_bundle(bundle: Path, tmp_path: Path, sentences: list[str]) -> None:
    another = shutil.copytree(bundle, tmp_path / "another")
    config = read_json(another / "bundle.json")
    config["model"]["task"]["max_length"] = 5  # it reads less, so it answers otherwise
    write_json(another / "bundle.json", config)
    (another / MANIFEST).unlink()
    write_manifest(another, "onnx")
    messages = tmp_path / "messages.txt"
    messages.write_text("\n".join(sentences[:100]), encoding="utf-8")
    files = [str(path) for path in (bundle, another, messages)]
    command = [sys.executable, "-m", "benchmarks.swapping", *files, "--seconds", "0.4", "--clients", "12"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    for reason in ("its content has changed", "ONNX Runtime cannot open it", "pickle form", "no such folder"):
        assert reason in found.stdout
