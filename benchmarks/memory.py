"""The estimate of memory (`bongsu plan`, `bongsu tune --check`) against what training really takes at its peak.

    python -m benchmarks.memory [--device cpu]

Every shape is a process of its own, which takes two steps of training and writes a checkpoint, as `bongsu pretrain` does. On a
CPU its peak is the most memory the process has held; on CUDA the most that PyTorch has allocated, to which the estimate's
allowance for the CUDA context is added.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.measuring import markdown, peak_megabytes
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.memory import PROCESS_BYTES
from bongsu.model.sizes import parameter_count
from bongsu.pipeline import running  # noqa: F401  (what `bongsu pretrain` has loaded)
from bongsu.pipeline.planning import random_batch
from bongsu.pretraining.masked_lm import MaskedLanguageModelling
from bongsu.pretraining.memory import pretraining_bytes
from bongsu.recipe import Model, Pretrain
from bongsu.tokens.batches import Batch
from bongsu.tokens.packing import BatchShape
from bongsu.training.loop import Plan, train


@dataclass(frozen=True)
class Shape:
    """A model and a batch."""

    preset: str
    d_model: int
    n_layers: int
    n_heads: int
    vocab_size: int
    rows: int
    row_length: int
    precision: str
    dropout: float = 0.0

    def __str__(self) -> str:
        dropout = f", dropout {self.dropout}" if self.dropout else ""
        return (
            f"{self.preset}, d {self.d_model}, {self.n_layers} layers, {self.n_heads} heads, vocabulary {self.vocab_size:,}, "
            f"{self.rows} × {self.row_length}, {self.precision}{dropout}"
        )


CPU = (
    Shape("modern", 256, 4, 4, 5000, 26, 128, "bfloat16"),
    Shape("modern", 256, 4, 4, 5000, 104, 128, "bfloat16"),
    Shape("modern", 256, 4, 4, 5000, 104, 64, "float32"),
    Shape("classic", 256, 4, 4, 5000, 104, 128, "bfloat16", 0.1),
    Shape("modern", 512, 6, 8, 8000, 52, 128, "bfloat16"),
    Shape("modern", 512, 6, 8, 8000, 52, 128, "float32"),
    Shape("classic", 512, 6, 8, 30000, 26, 128, "bfloat16"),
    Shape("classic", 768, 8, 12, 5000, 16, 128, "bfloat16"),
)
CUDA = (
    *CPU[:5],
    Shape("classic", 768, 8, 12, 5000, 512, 128, "bfloat16", 0.1),
    Shape("classic", 768, 8, 12, 5000, 2048, 128, "bfloat16"),
    Shape("modern", 768, 12, 12, 30000, 512, 128, "bfloat16"),
    Shape("modern", 768, 12, 12, 30000, 128, 512, "bfloat16"),
)
MASKED = 0.15


def main() -> None:
    """Parses, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shapes = CUDA if options.device == "cuda" else CPU
    if options.only is not None:
        print(json.dumps(_measure(shapes[options.only], options.device)))
        return
    rows = []
    for number, shape in enumerate(shapes):
        command = [sys.executable, "-m", "benchmarks.memory", "--device", options.device, "--only", str(number)]
        child = subprocess.run(command, capture_output=True, text=True, check=False)
        if child.returncode:
            raise SystemExit(f"{shape} failed:\n{child.stderr[-2000:]}")
        found = json.loads(child.stdout.strip().splitlines()[-1])
        error = found["estimated"] / found["measured"] - 1
        cells = [f"{found[name] / 1e9:.2f}" for name in ("estimated", "measured")]
        rows.append([str(shape), f"{found['parameters'] / 1e6:.1f}M", *cells, f"{error:+.0%}"])
        print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(["", "parameters", "estimated GB", "measured GB", "error"], rows))


class _Same(MaskedLanguageModelling):
    """Every batch is the same one of random tokens."""

    only: Batch

    def batch(self, n: int) -> Batch:
        return self.only

    def evaluate(self) -> dict[str, float]:
        return {"loss": 0.0}


def _measure(shape: Shape, device: str) -> dict[str, float]:
    model = Model(preset=shape.preset, d_model=shape.d_model, n_layers=shape.n_layers, n_heads=shape.n_heads,
                  dropout=shape.dropout, max_length=shape.row_length)  # type: ignore[arg-type]  # fmt: skip
    config = EncoderConfig.from_recipe(model, shape.vocab_size)
    settings = Pretrain(precision=shape.precision, device=device, row_length=shape.row_length)  # type: ignore[arg-type]
    positions = shape.rows * shape.row_length
    batch = BatchShape(positions // 23, shape.rows, shape.row_length, round(MASKED * positions))
    network = MaskedLanguageModel(config)
    initialize(network, 0)
    task = _Same(network, None, [], torch.zeros(0), 1e-3, 0.01)  # type: ignore[arg-type]
    task.only = random_batch(shape.vocab_size, batch)
    with tempfile.TemporaryDirectory() as folder:
        train(task, Plan(2, 10, "loss"), settings, Path(folder))
    if device == "cuda":
        measured = torch.cuda.max_memory_allocated() + PROCESS_BYTES["cuda"]
    else:
        measured = 1e6 * peak_megabytes() * 1.048576
    estimated = pretraining_bytes(config, batch, settings, device)
    return {"parameters": parameter_count(config), "estimated": estimated, "measured": measured}


if __name__ == "__main__":
    main()
