"""Several processes, started as users start them: by torch's launcher and by Ray Train. What they compute is tested with the
loop; here, that they meet, and what is said when one fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bongsu.errors import TrainingError
from bongsu.pipeline.launching import launch_on_ray
from bongsu.pipeline.running import run
from bongsu.recipe import load_recipe
from bongsu.training.log import read_log

pytestmark = pytest.mark.slow

RECIPE = """
name = "tiny"
[corpus]
validation = 0.1
[[corpus.sources]]
path = "bongsu:demo.csv"
where = { split = "test" }
[tokenizer]
vocab_size = 500
[model]
d_model = 16
n_layers = 2
n_heads = 2
max_length = 64
[pretrain]
steps = 8
row_length = 32
batch_sentences = 16
log_every = 1
evaluations = 1
precision = "float32"
device = "cpu"
validation_sentences = 20
"""


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def alone(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one process."""
    return losses(run(load_recipe(recipe_file), tmp_path_factory.mktemp("alone"), "pretrain").path)


def losses(out: Path) -> list[float]:
    log = read_log(out / "pretrain" / "checkpoints" / "metrics.jsonl")
    return [line.get("loss", line.get("validation_loss", 0.0)) for line in log]


def test_workers_of_this_machine(recipe_file: Path, alone: list[float], tmp_path: Path) -> None:
    """The second of two fails as it starts, then it does not."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('RANK') == '1' and os.environ.get('BROKEN'):\n"
        "    print('error: no driver here', file=sys.stderr)\n"
        "    os._exit(3)\n"
    )
    command = [
        sys.executable,
        "-m",
        "bongsu.cli",
        "pretrain",
        str(recipe_file),
        "--out",
        str(tmp_path / "run"),
        "--workers",
        "2",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    broken = subprocess.run(command, env={**environment, "BROKEN": "1"}, capture_output=True, text=True, timeout=600)
    assert broken.returncode == 1
    assert "Process 1 of 2 ended with status 3: error: no driver here" in broken.stderr
    assert "Traceback" not in broken.stderr
    mended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert mended.returncode == 0, mended.stderr
    assert losses(tmp_path / "run") == pytest.approx(alone, rel=1e-5)
    assert (tmp_path / "run" / "pretrain" / "model" / "model.safetensors").is_file()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_workers_of_a_ray_cluster(recipe_file: Path, alone: list[float], tmp_path: Path) -> None:
    """A run that diverges says so; one that does not takes the same steps."""
    out = run(load_recipe(recipe_file), tmp_path / "run", "encode").path
    diverging = load_recipe(recipe_file, ["pretrain.learning_rate=1e30", "pretrain.max_skipped=2", "pretrain.clip=1e9"])
    with pytest.raises(TrainingError, match=r"^Step \d: the loss is .*Try a lower learning_rate"):
        launch_on_ray(diverging, out, 1, "auto")
    launch_on_ray(load_recipe(recipe_file), out, 2, "auto")
    assert losses(out) == pytest.approx(alone, rel=1e-5)
    assert not (out / "ray").exists()
