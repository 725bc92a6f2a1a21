"""Everything that wants a GPU, part after part: what share of its rate training uses and which change raises it, which
attention is fastest, the largest batch, the estimate of memory, the loaders, a real pre-training, inference.

    benchmarks/gpu.sh OUT [PART ...]            # on a bare machine with torch; see there
    python -m benchmarks.gpu OUT [PART ...] [--minutes 2]
    python -m benchmarks.gpu OUT --small        # the same on a CPU at a size of seconds, to see that it works

Leaves `results.md` (tables), `results.json` (all figures) and `curve.png` in OUT, each part as soon as it is there. A part that
fails is named with its error, and the others go on. Times are medians. MFU, here and in the log of a run, is the share of the
bfloat16 rate that the card's maker publishes; the rate of a large product, measured here, stands beside it. Where none is
published, as for a CPU, MFU is the share of the measured one.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import markdown
from bongsu.errors import OutOfMemoryError
from bongsu.files import write_json, write_text
from bongsu.model.attention import attention_mask, fused_attention, plain_attention
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.sizes import flops_per_token, parameter_count
from bongsu.pretraining.masked_lm import MaskedLanguageModelling
from bongsu.recipe import Model, Pretrain
from bongsu.reporting.charts import save_png, training_curves
from bongsu.tokens.batches import IGNORE, Batch, Batches, training_shape
from bongsu.tokens.shards import Shards
from bongsu.training.devices import autocast, memory_errors, published_flops, resolve_device
from bongsu.training.log import read_log
from bongsu.training.optimizers import build_optimizer
from bongsu.training.prefetch import Prefetch

MODELS = {
    "the study's": Model(preset="classic", d_model=1024, n_layers=6, n_heads=8, d_ff=2048, max_length=256),
    "33M": Model(preset="modern", d_model=512, n_layers=10, n_heads=8, max_length=256),
    "5M": Model(preset="modern", d_model=256, n_layers=4, n_heads=4, max_length=256),
}
SMALL_MODELS = dict.fromkeys(MODELS, Model(preset="modern", d_model=64, n_layers=1, n_heads=4, max_length=128))
VOCABULARY = 5000


@dataclass
class Setting:
    """What all parts share."""

    device: torch.device
    small: bool
    repeats: int
    minutes: float
    peak: float = math.nan
    """FLOP/s that MFU is a share of: the published rate, or without one the measured one."""

    @property
    def models(self) -> dict[str, Model]:
        return SMALL_MODELS if self.small else MODELS

    @property
    def pretrain(self) -> Pretrain:
        return Pretrain(row_length=128, batch_sentences=32 if self.small else 2048, precision="bfloat16")


@dataclass
class Results:
    """What was found so far, kept on the disk."""

    folder: Path
    figures: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, figures: Any, title: str, table: str) -> None:
        self.figures[name] = figures
        """Write a part, in the place of what it had so far."""
        self.sections[name] = f"## {title}\n\n{table}\n"
        write_json(self.folder / "results.json", self.figures)
        write_text(self.folder / "results.md", "\n".join(self.sections.values()))


def main() -> None:
    """Parse, measure part after part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=2.0, help="for the pre-training")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"{unknown[0]}: no such part; there are {', '.join(PARTS)}")
    device = resolve_device("auto")
    setting = Setting(device, options.small, 3 if options.small else options.repeats, options.minutes)
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out)
    measure_device(results, setting)
    for part in options.parts or PARTS:
        start = time.perf_counter()
        try:
            PARTS[part](results, setting)
        except Exception as error:  # the next part may work
            said = f"`{type(error).__name__}: {str(error)[:500]}`"
            results.add(f"{part} failed", {"failed": str(error)}, f"{part}: failed", said)
        print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    print("\n".join(results.sections.values()))
    print(f"{options.out}/results.md")


def measure_device(results: Results, setting: Setting) -> None:
    """The rate of a large product in bfloat16 and of a copy, the best of some; and the published one."""
    device, size = setting.device, 512 if setting.small else 8192
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    measured = 2 * size**3 / min(timed(lambda: a @ b, device, setting.repeats))
    source = torch.zeros(2**24 if setting.small else 2**31, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.numel() / min(timed(lambda: target.copy_(source), device, setting.repeats))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    published = published_flops(name)
    setting.peak = published or measured
    figures = {"name": name, "measured": measured, "published": published, "copied": copied, "torch": torch.__version__}
    rows = [
        ["device", name],
        ["bfloat16 product, measured, TFLOP/s", f"{measured / 1e12:.2f}"],
        ["published, TFLOP/s", "unknown" if published is None else f"{published / 1e12:.0f}"],
        ["copy, read and written, GB/s", f"{copied / 1e9:,.0f}"],
        ["torch", torch.__version__],
    ]
    results.add("device", figures, "The device", markdown(["", ""], rows))


def timed(work: Callable[[], Any], device: torch.device, repeats: int, warm: int = 3) -> list[float]:
    """Seconds of each repeat, after some to warm up."""
    times = []
    for _ in range(repeats + warm):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return times[warm:]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def likely_shards(settings: Pretrain) -> Shards:
    """Random tokens in sentences as long as messages are: 25 tokens on average, about five to a row of 128."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.gamma(4.0, 25 / 4, 2 * (settings.batch_sentences or 128)).astype(np.int64), 3, 120)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Shards(generator.integers(3, VOCABULARY, offsets[-1]).astype(np.uint16), offsets, 4 * lengths)


def likely_batches(settings: Pretrain) -> Batches:
    shards = likely_shards(settings)
    return Batches(shards, training_shape(shards, settings), settings, VOCABULARY, 0)


def learner(model: Model, seed: int = 0) -> MaskedLanguageModelling:
    network = MaskedLanguageModel(EncoderConfig.from_recipe(model, VOCABULARY))
    initialize(network, seed)
    return MaskedLanguageModelling(network, None, [], torch.zeros(0), 1e-4, 0.01)  # type: ignore[arg-type]


def on_device(batch: Batch, device: torch.device) -> list[Tensor]:
    arrays = (batch.input_ids, batch.segment_ids, batch.positions, batch.query_positions, batch.targets)
    return [torch.from_numpy(array).to(device) for array in arrays]


def loss_of(network: Any, parts: list[Tensor]) -> Tensor:
    *inputs, targets = parts
    logits = network(*inputs).float()
    return F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum") / (targets != IGNORE).sum().clamp(min=1)


def step_of(
    loss: Callable[[list[Tensor]], Tensor], network: MaskedLanguageModel, optimizer: torch.optim.Optimizer, device: torch.device
) -> Callable[[list[Tensor]], Tensor]:
    """Return what takes a step on a batch that is on the device, and returns its loss without waiting for it."""

    def step(parts: list[Tensor]) -> Tensor:
        with autocast(device, "bfloat16"):
            value = loss(parts)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value.detach().clone()

    return step


WAYS = ("eager", "compiled", "compiled with the loss", "compiled, narrow residual", "compiled, all", "reduce-overhead, all")
"""What is changed about a step, in the order of the table."""


def prepared(network: MaskedLanguageModel, way: str) -> Callable[[list[Tensor]], Tensor]:
    """Return the loss of a batch on the device, computed one way."""
    every = way.endswith("all")
    network.encoder.narrow_residual = every or way.endswith("residual")  # type: ignore[assignment]
    if way == "eager":
        return lambda parts: loss_of(network, parts)
    torch._dynamo.reset()
    mode = "reduce-overhead" if way.startswith("reduce") else None
    if every or way.endswith("loss"):
        return torch.compile(lambda parts: loss_of(network, parts), dynamic=False, mode=mode)  # type: ignore[no-any-return]
    compiled = torch.compile(network, dynamic=False, mode=mode)
    return lambda parts: loss_of(compiled, parts)


def steps(results: Results, setting: Setting, name: str) -> None:
    """Time, MFU and loss of a step of one model, eager and compiled and with each change."""
    device, figures = setting.device, {}
    model = setting.models[name]
    made = likely_batches(setting.pretrain)
    moved = [on_device(made.batch(number), device) for number in range(4)]
    tokens = statistics.mean(int((parts[1] > 0).sum()) for parts in moved)
    config = EncoderConfig.from_recipe(model, VOCABULARY)
    work = 3 * flops_per_token(config, made.shape.row_length, made.shape.masked / made.shape.positions)
    title = (f"A step of {name}: {parameter_count(config):,} parameters, {made.shape.rows} rows of {made.shape.row_length}, "
             f"{tokens:,.0f} real tokens")  # fmt: skip
    rows = []
    for way in WAYS:
        if device.type == "cpu" and "reduce" in way:  # has no graphs to replay
            continue
        task = learner(model)
        network = task.language_model.to(device)
        optimizer = build_optimizer(task.groups(), setting.pretrain, device)
        step = step_of(prepared(network, way), network, optimizer, device)
        losses: list[Tensor] = []

        def next_step(step: Any = step, losses: list[Tensor] = losses) -> None:
            losses.append(step(moved[len(losses) % 4]))

        first = timed(next_step, device, 1, warm=0)[0]
        seconds = statistics.median(timed(next_step, device, setting.repeats))
        curve = torch.stack(losses).tolist()
        used = tokens / seconds * work / setting.peak
        rows.append([way, f"{1e3 * seconds:.1f}", f"{tokens / seconds:,.0f}", f"{used:.1%}", f"{first:.0f}",
                     f"{curve[0]:.4f}", f"{curve[-1]:.4f}"])  # fmt: skip
        figures[way] = {"seconds": seconds, "tokens_per_second": tokens / seconds, "mfu": used, "first": first, "losses": curve}
        headings = ["", "ms a step", "real tokens/s", "MFU", "first step, s", "first loss", "last loss"]
        results.add(f"steps {name}", figures, title, markdown(headings, rows))


def attention(results: Results, setting: Setting) -> None:
    """Forward and backward of attention alone, at rows as they are packed, every way there is."""
    device, made = setting.device, likely_batches(setting.pretrain)
    model, shape, batch = next(iter(setting.models.values())), made.shape, made.batch(0)
    size = (shape.rows, model.n_heads, shape.row_length, model.d_model // model.n_heads)
    q, k, v = (torch.randn(size, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    segments = torch.from_numpy(batch.segment_ids).to(device)
    mask = attention_mask(segments, torch.bfloat16)
    ways = {
        "plain": lambda: plain_attention(q, k, v, mask, 0.0),
        "scaled_dot_product_attention": lambda: fused_attention(q, k, v, mask, 0.0),
        "FlexAttention, compiled": flexible(segments, q, k, v),
        "flash, variable length": variable_length(batch.segment_ids, q, k, v),
    }
    read = (segments > 0)[:, None, :, None]  # what comes of padding has no meaning
    reference = ways["plain"]().detach().float() * read
    rows, figures = [], {}
    for way, work in ways.items():
        try:
            off = float((work().detach().float() * read - reference).abs().max())
            times = timed(lambda work=work: work().sum().backward(), device, setting.repeats)  # type: ignore[misc]
            figures[way] = {"seconds": statistics.median(times), "difference": off}
            rows.append([way, f"{1e3 * statistics.median(times):.2f}", f"{off:.3f}"])
        except Exception as error:  # a way that this device or this build of PyTorch does not have
            figures[way] = {"missing": (str(error).splitlines() or [type(error).__name__])[0][:100]}
            rows.append([way, "–", figures[way]["missing"]])
    sentences = float(batch.segment_ids.max(axis=1).mean())
    title = (f"Attention, forward and backward: {shape.rows} rows of {shape.row_length}, {sentences:.1f} sentences a row, "
             f"{model.n_heads} heads of {size[-1]}")  # fmt: skip
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


def batches(results: Results, setting: Setting) -> None:
    """Compiled steps of the largest model at a half of the batch, and at doubles of it until one does not fit."""
    settings = setting.pretrain
    name, model = next(iter(setting.models.items()))
    config = EncoderConfig.from_recipe(model, VOCABULARY)
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    for power in range(-1, 1 if setting.small else 8):
        tried = settings.model_copy(update={"batch_sentences": round((settings.batch_sentences or 128) * 2.0**power)})
        made = likely_batches(tried)
        label = f"{made.shape.rows} × {made.shape.row_length}"
        try:
            with memory_errors(lambda: ""):
                tokens, seconds, gib = batch_figures(model, made, setting)
        except OutOfMemoryError:
            rows.append([label, "does not fit", "", "", ""])
            figures.append({"rows": made.shape.rows, "fits": False})
            break
        used = tokens / seconds * 3 * flops_per_token(config, 128, made.shape.masked / made.shape.positions) / setting.peak
        rows.append([label, f"{1e3 * seconds:.1f}", f"{tokens / seconds:,.0f}", f"{used:.1%}", f"{gib:.1f}"])
        figures.append({"rows": made.shape.rows, "fits": True, "seconds": seconds, "tokens": tokens, "mfu": used, "gib": gib})
        title = f"The largest batch: {name}, {parameter_count(config):,} parameters"
        results.add("batches", figures, title, markdown(["rows", "ms a step", "real tokens/s", "MFU", "GiB"], rows))


def batch_figures(model: Model, made: Batches, setting: Setting) -> tuple[int, float, float]:
    """Return the real tokens of a batch, the seconds of a step with it, and the most memory held, in GiB (of a CPU 0)."""
    device = setting.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    task = learner(model)
    network = task.language_model.to(device)
    optimizer = build_optimizer(task.groups(), setting.pretrain, device)
    parts = on_device(made.batch(0), device)
    step = step_of(prepared(network, "eager" if setting.small else "compiled"), network, optimizer, device)
    seconds = statistics.median(timed(lambda: step(parts), device, setting.repeats))
    held = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return int((parts[1] > 0).sum()), seconds, held


def memory(results: Results, setting: Setting) -> None:
    """The estimate of memory against what training takes, a process for each shape."""
    if setting.device.type != "cuda":
        results.add("memory", None, "The estimate of memory", "On a CPU: `python -m benchmarks.memory`.")
        return
    command = [sys.executable, "-m", "benchmarks.memory", "--device", "cuda"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    results.add("memory", table, "The estimate of memory", table)


def loaders(results: Results, setting: Setting) -> None:
    """Tokens a second that loaders make, and what it takes to bring a batch to the device in two forms."""
    made, count = likely_batches(setting.pretrain), 8 if setting.small else 60
    rows, figures = [], {}
    for workers in (0, 1) if setting.small else (0, 1, 2, 4, 8):
        with Prefetch(made, 0, count, workers) as batches:
            tokens = int((batches.next().segment_ids > 0).sum())  # the first waits for processes to start
            start = time.perf_counter()
            for _ in range(count - 1):
                tokens += int((batches.next().segment_ids > 0).sum())
            rate = tokens / (time.perf_counter() - start)
        figures[str(workers)] = rate
        rows.append([str(workers) if workers else "a thread", f"{rate:,.0f}"])
    batch = made.batch(0)
    whole, narrow = whole_transfer(batch, setting.device), narrow_transfer(batch, setting.device)
    same = all(torch.equal(one.long(), other.long()) for one, other in zip(whole(), narrow(), strict=True))
    moved = {
        "int64": statistics.median(timed(whole, setting.device, setting.repeats)),
        "uint16 and pinned, positions made there": statistics.median(timed(narrow, setting.device, setting.repeats)),
    }
    table = markdown(["loader processes", "tokens/s"], rows)
    second = markdown(["a batch to the device", "ms"], [[form, f"{1e3 * seconds:.2f}"] for form, seconds in moved.items()])
    results.add("loaders", {"rates": figures, "transfer": moved, "same": same}, "Loaders",
                f"{table}\n\n{second}\n\nBoth forms give the same: {same}.")  # fmt: skip


def whole_transfer(batch: Batch, device: torch.device) -> Callable[[], list[Tensor]]:
    """As training does it today."""
    return lambda: on_device(batch, device)


def narrow_transfer(batch: Batch, device: torch.device) -> Callable[[], list[Tensor]]:
    """A fifth of the bytes: ids in 16 bits, segments in 8, and positions made of the segments on the device."""
    pin = device.type == "cuda"
    small = [
        torch.from_numpy(array.astype(kind))
        for array, kind in ((batch.input_ids, np.int16), (batch.segment_ids, np.uint8), (batch.query_positions, np.int32),
                            (batch.targets, np.int16))
    ]  # fmt: skip
    held = [part.pin_memory() if pin else part for part in small]

    def work() -> list[Tensor]:
        ids, segments, read, targets = (part.to(device, non_blocking=True).long() for part in held)
        return [ids, segments, positions_of(segments), read, targets]

    return work


def positions_of(segments: Tensor) -> Tensor:
    """Return the place of each token in its sentence, of segment ids [R, L]; 0 at padding, as in `Batch`."""
    place = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    begins = F.pad(segments[:, 1:] != segments[:, :-1], (1, 0), value=True)
    start = torch.where(begins, place, 0).cummax(dim=1).values
    return torch.where(segments > 0, place - start, 0)


def training(results: Results, setting: Setting) -> None:
    """A real pre-training on English that is on every machine, for as long as there is time."""
    changes = ["corpus.validation=0.03", "tokenizer.vocab_size=4000", "pretrain.row_length=64", "pretrain.log_every=5",
               "pretrain.evaluations=8", "pretrain.validation_sentences=500"]  # fmt: skip
    changes += ["model.d_model=64", "model.n_layers=2", "tokenizer.vocab_size=800", "pretrain.batch_sentences=32",
                "pretrain.evaluations=2"] if setting.small else ["model.d_model=256", "model.n_layers=4"]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        arguments = ["recipes/demo.toml", "--out", str(run), *(part for change in changes for part in ("--set", change))]
        arguments += ["--set", "task=none"] + (["--set", "corpus.sources=[{path='bongsu:demo.csv'}]"] if setting.small else
                      ["--set", "corpus.sources=[{path='python:stdlib', format='python'}]"])  # fmt: skip
        seconds = 0.0
        for count in (20, None):  # a trial tells how many there is time for
            planned = count or max(20, int(20 * 60 * setting.minutes * 0.75 / seconds))
            planned = min(planned, 60) if setting.small else planned
            start = time.perf_counter()
            command = [sys.executable, "-m", "bongsu.cli", "pretrain", *arguments, "--set", f"pretrain.steps={planned}"]
            subprocess.run(command, check=True, capture_output=True, text=True)
            log = read_log(run / "pretrain" / "checkpoints" / "metrics.jsonl")
            seconds = 20 * statistics.median(line["step_seconds"] for line in log if "loss" in line)
        minutes = (time.perf_counter() - start) / 60
    save_png(training_curves, results.folder / "curve.png", log)
    trained, measured = ([line for line in log if key in line] for key in ("loss", "validation_loss"))
    told = [key for key in ("tokens_per_second", "step_seconds", "data_wait", "mfu") if key in trained[-1]]
    usual = {key: statistics.median(line[key] for line in trained) for key in told}
    names = ("step", "validation_loss", "validation_accuracy", "validation_bits_per_byte")
    rows = [[f"{line[name]:,.4g}" for name in names] for line in measured]
    table = markdown(["step", "validation loss", "accuracy", "bits per byte"], rows)
    said = f"{minutes:.1f} minutes; medians: " + ", ".join(f"{key} {value:,.4g}" for key, value in usual.items())
    results.add("training", {"minutes": minutes, **usual, "validation": measured}, "Pre-training",
                f"{said}\n\n{table}\n\n![curves](curve.png)")  # fmt: skip


@torch.inference_mode()
def inference(results: Results, setting: Setting) -> None:
    """Messages of 32 tokens a second, forward alone, in batches."""
    device, rows, figures = setting.device, [], {}
    for name, model in setting.models.items():
        encoder = learner(model).language_model.encoder.to(device).eval()
        for count in (1, 32) if setting.small else (1, 32, 256, 1024):
            ids = torch.randint(3, VOCABULARY, (count, 32), device=device)

            def work() -> Tensor:
                with autocast(device, "bfloat16"):
                    return encoder(ids)  # type: ignore[no-any-return]  # noqa: B023

            seconds = statistics.median(timed(work, device, setting.repeats))
            figures[f"{name}, {count}"] = count / seconds
            rows.append([name, str(count), f"{1e3 * seconds:.2f}", f"{count / seconds:,.0f}"])
    results.add("inference", figures, "Inference", markdown(["model", "messages a batch", "ms", "messages/s"], rows))


PARTS: dict[str, Callable[[Results, Setting], None]] = {
    "study": partial(steps, name="the study's"), "33M": partial(steps, name="33M"), "5M": partial(steps, name="5M"),
    "attention": attention, "batches": batches, "memory": memory, "loaders": loaders, "training": training,
    "inference": inference,
}  # fmt: skip


if __name__ == "__main__":
    main()
