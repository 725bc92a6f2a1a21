"""Messages a second of a run's detector, exported and in torch, against the text-classification pipeline of `transformers`.

    python -m benchmarks.inference RUN [--count 1000] [--repeats 5]

RUN is a run's folder with a detector on a `modern` encoder; its own fine-tuning texts are classified. The peer is a ModernBERT
of the same size with the same tokenizer. Every measurement is a process of its own with all cores; the sides take turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measuring import in_turn, markdown, peak_megabytes
from bongsu.finetuning.data import load_data
from bongsu.recipe import load_recipe

PIPELINE, TORCH, FLOAT32, INT8 = "transformers pipeline", "bongsu in torch", "bundle, float32", "bundle, int8"
ALONE, BATCHED = "one by one", "in batches"
SIDES = tuple(f"{side}, {how}" for side in (PIPELINE, TORCH, FLOAT32, INT8) for how in (ALONE, BATCHED))
_WARM = 32  # texts before the clock starts
_BATCH = 32  # of the pipeline, which takes its texts one by one unless it is told


def main() -> None:
    """Parses, exports, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--exports", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        texts = _texts(options.run)[: options.count]
        print(json.dumps(_measure(options.side, options.run, options.exports, texts)))
        return
    from bongsu.export.bundle import export_hf, export_onnx

    with tempfile.TemporaryDirectory() as folder:
        export_onnx(options.run, Path(folder) / "onnx", int8=True)
        export_hf(options.run, Path(folder) / "hf")
        arguments = [str(options.run), "--exports", folder, "--count", str(options.count)]
        figures = in_turn("benchmarks.inference", SIDES, arguments, options.repeats)
    peer = figures[f"{PIPELINE}, {ALONE}"]["rate"]
    rows = []
    for side, found in figures.items():
        times = [f"{found[key]:.2f}" if side.endswith(ALONE) else "" for key in ("p50", "p99")]
        rows.append([side, round(found["rate"]), f"{found['rate'] / peer:.1f}", *times, round(found["mb"])])
    print(markdown(["", "messages/s", "× the pipeline", "p50 ms", "p99 ms", "memory MB"], rows))


def _measure(side: str, run: Path, exports: Path, texts: list[str]) -> dict[str, float]:
    """Messages a second, and the time of a call in milliseconds: of one message, or of all together."""
    kind, how = side.rsplit(", ", 1)
    classify = _classifier(kind, run, exports, 1 if how == ALONE else _BATCH)
    calls = [[text] for text in texts] if how == ALONE else [texts]
    classify(texts[:_WARM])
    seconds = []
    for call in calls:
        start = time.perf_counter()
        classify(call)
        seconds.append(time.perf_counter() - start)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return {"rate": len(texts) / sum(seconds), "p50": float(p50), "p99": float(p99), "mb": peak_megabytes()}


def _texts(run: Path) -> list[str]:
    """Return the texts that a run was fine-tuned on, as they stand in its file."""
    return [row.raw[0] for row in load_data(load_recipe(run / "recipe.toml"), run / "finetune" / "data").training]


def _classifier(kind: str, run: Path, exports: Path, batch: int) -> Callable[[list[str]], object]:
    if kind == PIPELINE:
        from transformers import AutoConfig, AutoTokenizer, ModernBertForSequenceClassification, pipeline

        model = ModernBertForSequenceClassification(AutoConfig.from_pretrained(exports / "hf")).eval()
        tokenizer = AutoTokenizer.from_pretrained(exports / "hf")
        pipe = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu", batch_size=batch)
        return lambda texts: pipe(texts, truncation=True)
    if kind == TORCH:
        from bongsu.inference.torch_backend import load_predictor

        return load_predictor(run).predict
    from bongsu.inference.onnx import BundlePredictor

    return BundlePredictor.load(exports / "onnx", "int8" if kind == INT8 else "float32").predict


if __name__ == "__main__":
    main()
