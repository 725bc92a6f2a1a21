"""Predicting from a bundle where torch and the rest of `bongsu[train]` are not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from bongsu.inference.onnx import BundlePredictor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ABSENT = ("torch", "sklearn", "pyarrow", "transformers", "onnx", "onnxscript", "datasketch", "matplotlib")
WITHOUT = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"{{name}} is not installed here")
sys.meta_path.insert(0, Absent())
"""
MAIN = "from bongsu.cli import main\nmain()"


def bongsu(*arguments: str, before: str = WITHOUT, after: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{before}\n{MAIN}\n{after}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_messages_and_files_are_classified(bundle: Path, tmp_path: Path) -> None:
    texts = ["bada gufe 바다 🔥", "rimo kota"]
    expected = BundlePredictor.load(bundle, "float32").predict(texts, [["fire"], [""]])
    source = tmp_path / "messages.csv"
    source.write_text(f"id,keyword,text\n7,fire,{texts[0]}\n9,,{texts[1]}\n", encoding="utf-8")
    found = bongsu("predict", str(bundle), "--input", str(source))
    assert found.returncode == 0, found.stderr
    rows = [orjson.loads(line) for line in found.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["7", "9"]
    assert [row["probability"] for row in rows] == pytest.approx([p.probability for p in expected], abs=0.1)  # int8, it may be
    said = bongsu("predict", str(bundle), texts[0], "--explain")
    assert said.returncode == 0, said.stderr
    assert orjson.loads(said.stdout)["label"] in ("other", "disaster")


def test_help_imports_nothing_heavy() -> None:
    heavy = (*ABSENT, "numpy", "onnxruntime", "tokenizers", "fastapi", "uvicorn", "ray", "optuna")
    watch = f"import atexit, sys\natexit.register(lambda: print('LOADED', [n for n in {heavy} if n in sys.modules]))"
    found = bongsu("--help", before=watch)
    assert "predict" in found.stdout
    assert found.stdout.rstrip().endswith("LOADED []")


def test_a_message_through_a_runs_folder_loads_what_it_needs(made_run: Path) -> None:
    heavy = ("torch._dynamo", "sympy", "scipy", "sklearn", "matplotlib", "datasketch", "transformers", "onnxruntime")
    watch = f"import atexit, sys\natexit.register(lambda: print('LOADED', [n for n in {heavy} if n in sys.modules]))"
    found = bongsu("predict", str(made_run), "bada gufe", before=watch)
    answer, loaded = found.stdout.splitlines()
    assert json.loads(answer)["label"] in ("other", "disaster"), found.stderr
    assert loaded == "LOADED []"


@pytest.mark.skipif("BONGSU_CLEAN_ENVIRONMENT" not in os.environ, reason="installs from the package index; takes minutes")
def test_a_clean_environment_with_the_serve_extra(bundle: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    binaries = tmp_path / "venv" / "bin"
    subprocess.run([binaries / "pip", "install", "--quiet", f"{ROOT}[serve]"], check=True, cwd=tmp_path)
    installed = subprocess.run([binaries / "pip", "list"], capture_output=True, text=True, check=True).stdout.split()
    assert "onnxruntime" in installed
    assert "torch" not in installed
    said = subprocess.run([binaries / "bongsu", "predict", bundle, "bada gufe"], capture_output=True, text=True, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    served = "from bongsu.serving.app import create_app"
    subprocess.run([binaries / "python", "-c", served], check=True, cwd=tmp_path)
