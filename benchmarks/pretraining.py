"""Pre-training, real tokens a second, against `transformers` as one would write it.

    python -m benchmarks.pretraining TEXTS [--size small|medium|study] [--steps 25] [--repeats 5] [--grow | --minutes 3]

TEXTS is a file of one text a line (.txt, .gz, .zst). The peer is BertForMaskedLM of the same width and depth, from scratch,
with Trainer, DataCollatorForLanguageModeling and dynamic padding, otherwise its defaults; and, where the processor computes
with bfloat16, the same with bf16=True. Both sides read the same sentences in the same order, from the same tokenizer, 128 a
step. A rate is all tokens of all steps after the first five, over all their time; padding counts for nothing. Every
measurement is a process of its own with all cores; the sides take turns. The table says which kind of machine it is, for
bfloat16 decides more than anything else. `--grow` shows instead how Bongsu's rate and memory change with row
length, batch, vocabulary and corpus. `--minutes` trains each side that long, at the same peak learning rate, and compares the
loss on the same hidden tokens of held-out texts, and when Bongsu had come to the peer's.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import in_turn, markdown, peak_megabytes
from bongsu.files import read_json
from bongsu.recipe import Recipe, parse_recipe

BONGSU, TRAINER, TRAINER_BF16 = "bongsu", "transformers Trainer", "transformers Trainer, bf16"
SIDES = (BONGSU, TRAINER, TRAINER_BF16)
SIZES: dict[str, dict[str, Any]] = {
    "small": {"d_model": 256, "n_layers": 4, "n_heads": 4, "vocab_size": 5000},
    "medium": {"d_model": 512, "n_layers": 6, "n_heads": 8, "vocab_size": 5000},
    "study": {"d_model": 1024, "n_layers": 6, "n_heads": 8, "vocab_size": 5000},
}
_ROW, _BATCH = 64, 128  # tokens a row, sentences a step
_HELD_OUT = 1000  # sentences that the loss is measured on
_WARM = 5  # steps before the clock starts
_TOTALLED = 500  # steps at the most whose tokens are counted
_COUNTED = 20  # steps after it, at the least: batches differ, and so do their times
_STARTED = time.time()


def main() -> None:
    """Parses, prepares the shards once, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--steps", type=int, default=_WARM + _COUNTED, help="of each side")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sides", nargs="*", choices=SIDES, help="by default all that this machine can run")
    parser.add_argument("--set", action="append", default=[], help="a change of Bongsu's recipe, section.key=value")
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--learning-rate", type=float, help="of both sides; by default each has its own")
    parser.add_argument("--race", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps < _WARM + _COUNTED and not options.race:
        parser.error(f"--steps: the clock starts after {_WARM} and needs {_COUNTED}; give {_WARM + _COUNTED} or more")
    if options.side:
        measure = _bongsu if options.side == BONGSU else _trainer
        print(json.dumps(measure(options)))
        return
    options.sides = options.sides or [side for side in SIDES if side != TRAINER_BF16 or _has_bfloat16()]
    print(f"{_machine()}\n")
    with tempfile.TemporaryDirectory() as folder:
        if options.grow:
            _grow(options, Path(folder))
        elif options.minutes:
            _race(options, Path(folder))
        else:
            _compare(options, Path(folder))


def _has_bfloat16() -> bool:
    from bongsu.training.devices import resolve_device, resolve_precision

    return resolve_precision("auto", resolve_device("auto")) == "bfloat16"


def _machine() -> str:
    """What the figures hold for: the processor or GPU, its cores, and whether it computes with bfloat16."""
    import torch

    from bongsu.parallel import cores

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), name)
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    return f"{name}, {cores()} cores, {'with' if _has_bfloat16() else 'without'} bfloat16"


def _compare(options: argparse.Namespace, folder: Path) -> None:
    run = _shards(options.texts, options.size, folder, options.set)
    figures = in_turn("benchmarks.pretraining", options.sides, _arguments(options, run), options.repeats)
    peer = figures.get(TRAINER, figures[options.sides[-1]])["rate"]
    print(f"{options.size}: {SIZES[options.size]}, {options.steps - _WARM} steps counted, "
          f"medians of {options.repeats}\n")  # fmt: skip
    rows = [
        [side, f"{found['rate']:,.0f}", f"{found['rate'] / peer:.1f}", f"{found['first_step']:.1f}", f"{found['mb']:,.0f}"]
        for side, found in figures.items()
    ]
    print(markdown(["", "tokens/s", "× Trainer", "first step after, s", "memory MB"], rows))


def _race(options: argparse.Namespace, folder: Path) -> None:
    run = _shards(options.texts, options.size, folder, options.set)
    options.learning_rate = options.learning_rate or 1e-3
    rates = in_turn("benchmarks.pretraining", options.sides, _arguments(options, run), 1)
    counts = read_json(run / "tokens" / "tokens.json")["splits"]["train"]
    found: dict[str, Any] = {}
    for side in options.sides:
        batch = _BATCH * counts["tokens"] / counts["sentences"]
        options.steps = round(60 * options.minutes * rates[side]["rate"] / batch)
        found[side] = in_turn("benchmarks.pretraining", [side], [*_arguments(options, run), "--race"], 1)[side] | {
            "steps": options.steps
        }
    rows = []
    for side, figures in found.items():
        reached = "–"
        if side != BONGSU and BONGSU in found:
            times = [seconds for seconds, loss in found[BONGSU]["curve"] if loss <= figures["loss"]]
            reached = f"{times[0] / 60:.2f}" if times else "not"
        rows.append([side, figures["steps"], f"{figures['seconds'] / 60:.1f}", f"{figures['loss']:.3f}", reached])
    print(markdown(["", "steps", "minutes", "validation loss", "Bongsu was there after, minutes"], rows))


def _grow(options: argparse.Namespace, folder: Path) -> None:
    rows = []
    for title, change in (
        *((f"rows of {length}", f"pretrain.row_length={length}") for length in (32, 64, 128, 256)),
        *((f"{count} sentences a batch", f"pretrain.batch_sentences={count}") for count in (32, 128, 512)),
        *((f"vocabulary {size:,}", f"tokenizer.vocab_size={size}") for size in (1000, 5000, 20_000)),
        *((f"{count:,} texts", f"corpus.sources.0.limit={count}") for count in (10_000, 40_000, 160_000)),
    ):
        options.set = [change]
        run = _shards(options.texts, options.size, folder / str(len(rows)), options.set)
        found = in_turn("benchmarks.pretraining", [BONGSU], _arguments(options, run), options.repeats)[BONGSU]
        rows.append([title, f"{found['rate']:,.0f}", f"{found['mb']:,.0f}"])
    print(markdown(["", "tokens/s", "memory MB"], rows))


def _arguments(options: argparse.Namespace, run: Path) -> list[str]:
    changes = [part for change in options.set for part in ("--set", change)]
    steps = ["--steps", str(options.steps)]
    rate = ["--learning-rate", str(options.learning_rate)] if options.learning_rate else []
    return [str(options.texts), "--run", str(run), "--size", options.size, *steps, *rate, *changes]


def _recipe(texts: Path, size: str, steps: int, changes: list[str]) -> Recipe:
    from bongsu.recipe import override

    shape = dict(SIZES[size])
    tree: dict[str, Any] = {
        "name": "benchmark",
        "corpus": {"sources": [{"path": str(texts)}]},
        "tokenizer": {"vocab_size": shape.pop("vocab_size")},
        "model": {**shape, "max_length": 512},
        "pretrain": {
            "row_length": _ROW,
            "batch_sentences": _BATCH,
            "steps": steps,
            "evaluations": 1,
            "validation_sentences": _HELD_OUT,
            "checkpoint_minutes": 1000,
        },
    }
    override(tree, changes)
    return parse_recipe(tree)


def _shards(texts: Path, size: str, folder: Path, changes: list[str]) -> Path:
    from bongsu.pipeline.running import run

    return run(_recipe(texts, size, 1, changes), out=folder / "run", until="encode").path


def _steps_clock() -> list[float]:
    """The moment after every step of an AdamW to come: both sides use torch's."""
    import torch

    ends: list[float] = []
    plain = torch.optim.AdamW.step

    def step(self: Any, *arguments: Any, **named: Any) -> Any:
        done = plain(self, *arguments, **named)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(time.time())
        return done

    torch.optim.AdamW.step = step  # type: ignore[method-assign]
    return ends


def _figures(ends: list[float], tokens: list[int]) -> dict[str, float]:
    rate = sum(tokens[_WARM:]) / (ends[-1] - ends[_WARM - 1])
    first = ends[0] - _STARTED
    return {"rate": rate, "first_step": first, "mb": peak_megabytes(), "seconds": ends[-1] - ends[0]}


def _bongsu(options: argparse.Namespace) -> dict[str, Any]:
    from bongsu.pretraining.masked_lm import pretrain
    from bongsu.tokens.batches import Batches, training_shape
    from bongsu.tokens.shards import open_shards
    from bongsu.training.log import read_log

    ends = _steps_clock()
    changes = [f"pretrain.learning_rate={options.learning_rate}"] if options.learning_rate else []
    changes += ["pretrain.evaluations=20"] if options.race else []
    recipe = _recipe(options.texts, options.size, options.steps, [*options.set, *changes])
    with tempfile.TemporaryDirectory() as folder:
        state = pretrain(recipe, options.run / "tokenizer", options.run / "tokens", Path(folder))
        log = read_log(Path(folder) / "checkpoints" / "metrics.jsonl")
    curve = [(ends[line["step"] - 1] - ends[0], line["validation_loss"]) for line in log if "validation_loss" in line]
    assert recipe.pretrain is not None
    shards = open_shards(options.run / "tokens", "train", verify=False)
    batches = Batches(
        shards, training_shape(shards, recipe.pretrain), recipe.pretrain, recipe.tokenizer.vocab_size, recipe.seed
    )
    tokens = [int((batches.batch(n).segment_ids > 0).sum()) for n in range(min(options.steps, _TOTALLED))]
    return {**_figures(ends[:_TOTALLED], tokens), "loss": state.last["loss"], "seconds": ends[-1] - ends[0], "curve": curve}


def _trainer(options: argparse.Namespace) -> dict[str, float]:
    import torch
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
    )

    from bongsu.tokens.shards import open_shards

    ends = _steps_clock()
    shape = SIZES[options.size]
    shards = open_shards(options.run / "tokens", "train", verify=False)
    tokenizer = AutoTokenizer.from_pretrained(options.run / "tokenizer")
    order = _order(options, shards)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape["d_model"],
            num_hidden_layers=shape["n_layers"],
            num_attention_heads=shape["n_heads"],
            intermediate_size=4 * shape["d_model"],
        )
    )
    tokens: list[int] = []

    class Counted(DataCollatorForLanguageModeling):
        """The collator, telling how many real tokens each batch holds."""

        def __call__(self, examples: list[dict[str, list[int]]]) -> Any:
            tokens.append(sum(len(example["input_ids"]) for example in examples))
            return super().__call__(examples)

    class Sentences(torch.utils.data.Dataset[Any]):
        """Those of Bongsu's batches, in their order, as long as its rows."""

        def __len__(self) -> int:
            return len(order)

        def __getitem__(self, place: int) -> dict[str, list[int]]:
            start, end = shards.offsets[order[place]], shards.offsets[order[place] + 1]
            return {"input_ids": shards.tokens[start:end][:_ROW].tolist()}

    class InOrder(Trainer):
        """Does not shuffle what is shuffled already."""

        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(Sentences())

    with tempfile.TemporaryDirectory() as folder:
        trainer = InOrder(
            model=model,
            args=TrainingArguments(
                folder,
                per_device_train_batch_size=_BATCH,
                max_steps=options.steps,
                bf16=options.side == TRAINER_BF16,
                use_cpu=not torch.cuda.is_available(),
                report_to=[],
                save_strategy="no",
                **(
                    {"learning_rate": options.learning_rate, "warmup_steps": options.steps // 20}
                    if options.learning_rate
                    else {}
                ),
            ),
            train_dataset=Sentences(),
            data_collator=Counted(tokenizer, mlm_probability=0.15),
        )
        trainer.train()
    return {**_figures(ends[:_TOTALLED], tokens[: min(len(ends), _TOTALLED)]), "loss": _loss(model, options)}


def _order(options: argparse.Namespace, shards: Any) -> list[int]:
    """Return the sentences of Bongsu's batches one after another; see `Batches.batch`."""
    import numpy as np

    from bongsu.tokens.random import mix, permute

    recipe = _recipe(options.texts, options.size, options.steps, options.set)
    epoch, index = np.divmod(np.arange(options.steps * _BATCH), shards.sentences)
    order: list[int] = permute(index, shards.sentences, mix(recipe.seed, 0, epoch)).tolist()
    return order


def _loss(model: Any, options: argparse.Namespace) -> float:
    """Of the peer, on the packed and masked rows that Bongsu measures itself on, in float32."""
    import torch
    from torch.nn import functional as F

    from bongsu.pretraining.masked_lm import VALIDATION_SEED
    from bongsu.tokens.batches import IGNORE, Batches, training_shape
    from bongsu.tokens.shards import open_shards

    settings = _recipe(options.texts, options.size, 1, options.set).pretrain
    assert settings is not None
    train, held_out = (open_shards(options.run / "tokens", split, verify=False) for split in ("train", "validation"))
    batches = Batches(held_out, training_shape(train, settings), settings, model.config.vocab_size, VALIDATION_SEED)
    nats = count = 0.0
    model.eval()
    for batch in batches.validation(_HELD_OUT):
        ids, segments, positions, read, targets = (
            torch.from_numpy(part).to(model.device)
            for part in (batch.input_ids, batch.segment_ids, batch.positions, batch.query_positions, batch.targets)
        )
        same = segments[:, None, :, None] == segments[:, None, None, :]  # [rows, 1, L, L]: a token sees its own sentence
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=same, position_ids=positions).logits.flatten(0, 1)[read].float()
        nats += float(F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum"))
        count += float((targets != IGNORE).sum())
    return nats / count


if __name__ == "__main__":
    main()
