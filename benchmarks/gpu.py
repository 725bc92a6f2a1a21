"""Everything that wants a GPU, in one command: what share of its rate training uses, which attention is fastest, the largest
batch, the estimate of memory, and a real pre-training for as long as there is time.

    python -m benchmarks.gpu OUT [--recipe recipes/study-aihub.toml] [--set KEY=VALUE] [--minutes 60]
    python -m benchmarks.gpu OUT --small        # the same on a CPU at a size of seconds, to see that it works

Leaves `results.md` (tables), `results.json` (all figures), `curve.png` and the run itself in OUT. Each part is written as soon
as it is there. Rates are medians; the share of the rate is that of the card's own bfloat16 product of two large matrices,
measured here.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import markdown
from bongsu.errors import OutOfMemoryError
from bongsu.files import write_json, write_text
from bongsu.model.attention import attention_mask, fused_attention, plain_attention
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.sizes import flops_per_token, parameter_count
from bongsu.pipeline.planning import likely_shape, random_batch
from bongsu.pretraining.masked_lm import MaskedLanguageModelling
from bongsu.recipe import Recipe, load_recipe
from bongsu.reporting.charts import save_png, training_curves
from bongsu.tokens.packing import BatchShape
from bongsu.training.devices import autocast, memory_errors, published_flops, resolve_device, resolve_precision
from bongsu.training.log import read_log
from bongsu.training.optimizers import build_optimizer

SMALL = [
    "corpus.sources=[{path='bongsu:demo.csv'}]", "corpus.validation=0.05", "tokenizer.vocab_size=800", "model.d_model=64",
    "model.n_layers=2", "model.n_heads=4", "pretrain.batch_sentences=32", "pretrain.evaluations=4",
    "pretrain.log_every=5", "pretrain.validation_sentences=100", "pretrain.learning_rate=2e-3",
]  # fmt: skip
RESERVED = 0.75  # of the time for pre-training that its steps are planned to take: evaluations and a slow start need some


@dataclass
class Results:
    """What was found so far, kept on the disk."""

    folder: Path
    figures: dict[str, Any] = field(default_factory=dict)
    sections: list[str] = field(default_factory=list)

    def add(self, name: str, figures: Any, title: str, table: str) -> None:
        self.figures[name] = figures
        self.sections.append(f"## {title}\n\n{table}\n")
        write_json(self.folder / "results.json", self.figures)
        write_text(self.folder / "results.md", "\n".join(self.sections))
        print(self.sections[-1], flush=True)


def main() -> None:
    """Parses, measures part after part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/study-aihub.toml"))
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--minutes", type=float, default=60.0, help="for the pre-training")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if options.small:
        options.changes, options.minutes, options.repeats = [*SMALL, *options.changes], min(options.minutes, 0.4), 3
    recipe = load_recipe(options.recipe, options.changes)
    assert recipe.pretrain is not None
    device = resolve_device(recipe.pretrain.device)
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out)

    peak = measured_peak(device, 512 if options.small else 8192)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    published = published_flops(name)
    told = [
        ["device", name],
        ["bfloat16, measured, TFLOP/s", f"{peak / 1e12:.2f}"],
        ["published", "unknown" if published is None else f"{published / 1e12:.0f}"],
        ["torch", torch.__version__],
    ]
    results.add("device", {"name": name, "peak": peak, "published": published}, "The device", markdown(["", ""], told))
    attention(results, recipe, device, options.repeats)
    rate = batches(results, recipe, device, peak, options.repeats, 2**12 if options.small else 2**21)
    if device.type == "cuda":
        command = [sys.executable, "-m", "benchmarks.memory", "--device", "cuda"]
        table = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        results.add("memory", table, "The estimate of memory", table)
    pretraining(results, options, recipe, rate)
    print(f"{options.out}/results.md")


def measured_peak(device: torch.device, size: int) -> float:
    """FLOP/s of the product of two square matrices in bfloat16, the best of some."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = timed(lambda: a @ b, device, 20)
    return 2 * size**3 / min(times)


def timed(work: Callable[[], Any], device: torch.device, repeats: int) -> list[float]:
    """Seconds of each repeat, after two to warm up."""
    times = []
    for _ in range(repeats + 2):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return times[2:]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def attention(results: Results, recipe: Recipe, device: torch.device, repeats: int) -> None:
    """Forward and backward of attention alone, at the recipe's rows, every way there is."""
    shape, model = shape_of(recipe), recipe.model
    size = (shape.rows, model.n_heads, shape.row_length, model.d_model // model.n_heads)
    q, k, v = (torch.randn(size, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    batch = random_batch(recipe.tokenizer.vocab_size, shape)
    segments = torch.from_numpy(batch.segment_ids).to(device)
    mask = attention_mask(segments, torch.bfloat16)
    ways = {
        "plain": lambda: plain_attention(q, k, v, mask, 0.0),
        "scaled_dot_product_attention": lambda: fused_attention(q, k, v, mask, 0.0),
        "FlexAttention, compiled": flexible(segments, q, k, v),
        "flash, variable length": variable_length(batch.segment_ids, q, k, v),
    }
    reference = ways["plain"]().detach().float()
    rows, figures = [], {}
    for way, work in ways.items():
        try:
            off = float((work().detach().float() - reference).abs().max())
            seconds = statistics.median(timed(lambda work=work: work().sum().backward(), device, repeats))  # type: ignore[misc]
            figures[way] = {"seconds": seconds, "difference": off}
            rows.append([way, f"{1e3 * seconds:.2f}", f"{off:.3f}"])
        except Exception as error:  # a way that this device or this build of PyTorch does not have
            figures[way] = {"missing": str(error).splitlines()[0][:100]}
            rows.append([way, "–", figures[way]["missing"]])
    title = f"Attention, forward and backward: {shape.rows} rows of {shape.row_length}, {model.n_heads} heads of {size[-1]}"
    results.add("attention", figures, title, markdown(["", "ms", "largest difference from plain"], rows))


def flexible(segments: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """FlexAttention (Dong et al. 2024), with the block mask made anew for each batch, as training has to."""

    def work() -> Tensor:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        def same(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return segments[batch, i] == segments[batch, j]

        rows, _, length, _ = q.shape
        blocks = torch.compile(create_block_mask)(same, rows, None, length, length, device=q.device)
        return torch.compile(flex_attention)(q, k, v, block_mask=blocks)  # type: ignore[no-any-return]

    return work


def variable_length(segment_ids: Any, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """Flash attention over sentences laid end to end (Dao 2023)."""
    rows, heads, length, width = q.shape
    starts = [row * length + column for row in range(rows) for column in range(length)
              if column == 0 or segment_ids[row, column] != segment_ids[row, column - 1]]  # fmt: skip
    ends = torch.tensor([*starts, rows * length], dtype=torch.int32, device=q.device)
    longest = int(ends.diff().max())

    def work() -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        flat = [heads_.transpose(1, 2).reshape(rows * length, heads, width) for heads_ in (q, k, v)]
        seen = varlen_attn(*flat, ends, ends, longest, longest)
        return seen.view(rows, length, heads, width).transpose(1, 2)

    return work


def shape_of(recipe: Recipe) -> BatchShape:
    assert recipe.pretrain is not None
    return likely_shape(recipe.pretrain)


def batches(results: Results, recipe: Recipe, device: torch.device, peak: float, repeats: int, most: int) -> float:
    """Steps of training at the recipe's batch, and at halves and doubles of it until one does not fit. Gives real tokens a
    second at the recipe's batch, with rows taken as 95 % full."""
    assert recipe.pretrain is not None
    shape = shape_of(recipe)
    config = EncoderConfig.from_recipe(recipe.model, recipe.tokenizer.vocab_size)
    precision = resolve_precision(recipe.pretrain.precision, device)
    model = MaskedLanguageModel(config)
    initialize(model, recipe.seed)
    model.to(device)
    task = MaskedLanguageModelling(model, None, [], torch.zeros(0), 1e-4, 0.01)  # type: ignore[arg-type]
    optimizer = build_optimizer(task.groups(), recipe.pretrain, device)
    rows: list[list[str]] = []
    figures, own = [], 0.0
    factors = [0.5, 1, *(2**power for power in range(1, 20))]
    for factor in factors:
        tried = replace(shape, rows=max(1, round(shape.rows * factor)), masked=max(1, round(shape.masked * factor)))
        if tried.positions > most:
            break
        batch = random_batch(config.vocab_size, tried)

        def step(batch: Any = batch) -> None:
            with autocast(device, precision):
                outcome = task.loss(batch)
            outcome.loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        try:
            with memory_errors(lambda: ""):
                seconds = statistics.median(timed(step, device, repeats))
        except OutOfMemoryError:
            rows.append([f"{tried.rows} × {tried.row_length}", "does not fit", "", "", ""])
            figures.append({"rows": tried.rows, "fits": False})
            break
        rate = tried.positions / seconds
        used = rate * 3 * flops_per_token(config, tried.row_length, tried.masked / tried.positions) / peak
        memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else math.nan
        own = rate if factor == 1 else own
        rows.append(
            [f"{tried.rows} × {tried.row_length}", f"{1e3 * seconds:.1f}", f"{rate:,.0f}", f"{used:.1%}", f"{memory:.1f}"]
        )
        figures.append({"rows": tried.rows, "fits": True, "seconds": seconds, "positions_per_second": rate, "share": used})
    title = f"Steps of training, {parameter_count(config):,} parameters, {precision}"
    headings = ["rows", "ms a step", "tokens/s, padding included", "share of the measured rate", "GiB"]
    results.add("batches", figures, title, markdown(headings, rows))
    return 0.95 * own


def pretraining(results: Results, options: argparse.Namespace, recipe: Recipe, rate: float) -> None:
    """The recipe itself, with as many of its steps as there is time for, so that its schedule comes to its end."""
    assert recipe.pretrain is not None
    shape = shape_of(recipe)
    tokens = 0.95 * shape.positions * recipe.pretrain.accumulate
    affordable = max(20, int(RESERVED * 60 * options.minutes * rate / tokens))
    run = options.out / "run"
    command = [sys.executable, "-m", "bongsu.cli", "pretrain", str(options.recipe), "--out", str(run)]
    changes = [part for change in options.changes for part in ("--set", change)]
    subprocess.run([*command[:3], "encode", *command[4:], *changes], check=True)
    planned = [*changes, "--set", "pretrain.epochs=none", "--set", f"pretrain.steps={min(affordable, _all_steps(recipe, run))}"]
    start = time.perf_counter()
    subprocess.run([*command, *planned], check=True)
    minutes = (time.perf_counter() - start) / 60
    log = read_log(run / "pretrain" / "checkpoints" / "metrics.jsonl")
    save_png(training_curves, options.out / "curve.png", log)
    trained = [line for line in log if "loss" in line]
    measured = [line for line in log if "validation_loss" in line]
    told_of = [key for key in ("tokens_per_second", "step_seconds", "data_wait", "mfu") if key in trained[-1]]
    usual = {key: statistics.median(line[key] for line in trained) for key in told_of}
    rows = [[f"{line['step']:,.0f}", f"{line['validation_loss']:.4f}", f"{line['validation_accuracy']:.4f}",
             f"{line['validation_bits_per_byte']:.4f}"] for line in measured]  # fmt: skip
    told = f"{minutes:.1f} minutes; medians: " + ", ".join(f"{key} {value:,.4g}" for key, value in usual.items())
    table = markdown(["step", "validation loss", "accuracy", "bits per byte"], rows)
    results.add("pretraining", {"minutes": minutes, **usual, "validation": measured}, "Pre-training",
                f"{told}\n\n{table}\n\n![curves](curve.png)")  # fmt: skip


def _all_steps(recipe: Recipe, run: Path) -> int:
    from bongsu.pretraining.masked_lm import total_steps
    from bongsu.tokens.batches import training_shape
    from bongsu.tokens.shards import open_shards

    assert recipe.pretrain is not None
    shards = open_shards(run / "tokens", "train", verify=False)
    return total_steps(recipe, shards.sentences, training_shape(shards, recipe.pretrain))


if __name__ == "__main__":
    main()
