"""What a pre-training would cost on GPUs, reckoned from its work and a few rates, and what would bound it.

    python -m benchmarks.cost [--sentences 10e6] [--epochs 40] [--gpu "H100 SXM"] [--gpus 1 8] [--mfu 0.5] ...

    step     = max(compute, loading) + what of the all-reduce the backward pass does not cover
    compute  = real tokens of a GPU's share × 3 × forward FLOP a token / (MFU × published bfloat16 rate)
    loading  = tokens of the whole batch / (rate of one loader process × loader processes of a GPU): every process of a run
               packs the whole batch, and keeps its rows of it
    traffic  = 2 (n - 1) / n × 4 bytes × parameters, sent by each GPU in a ring; two thirds of compute are the backward pass

The rate of a loader process is measured here and now, on made sentences; preparation is what `--prepare-mb-s` says. Everything
else is an assumption, and an argument.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.measuring import markdown
from bongsu.model.encoder import EncoderConfig
from bongsu.model.sizes import flops_per_token, parameter_count
from bongsu.progress import duration, short
from bongsu.recipe import Model, Pretrain
from bongsu.tokens.batches import Batches, training_shape
from bongsu.tokens.shards import Shards
from bongsu.training.devices import published_flops

VOCABULARY = 30_000
MASKED = 0.15


def main() -> None:
    """Parses, measures the loader, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=float, default=10e6)
    parser.add_argument("--tokens-a-sentence", type=float, default=25.0)
    parser.add_argument("--bytes-a-token", type=float, default=4.3)
    parser.add_argument("--epochs", type=float, default=40.0)
    parser.add_argument("--batch-sentences", type=int, default=8192, help="of a step, all GPUs together")
    parser.add_argument("--row-length", type=int, default=128)
    parser.add_argument("--gpu", default="H100 SXM")
    parser.add_argument("--gpus", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--mfu", type=float, default=0.5, help="share of the published bfloat16 rate")
    parser.add_argument("--link-gb-s", type=float, default=300.0, help="of a GPU: 300 NVLink, 20 PCIe, 10 between machines")
    parser.add_argument("--loaders", type=int, default=4, help="loader processes a GPU (loader_workers)")
    parser.add_argument("--prepare-mb-s", type=float, default=40.0, help="reading, cleaning, de-duplicating")
    options = parser.parse_args()
    config = EncoderConfig.from_recipe(Model(preset="modern", d_model=768, n_layers=12, n_heads=12), VOCABULARY)
    peak = published_flops(options.gpu)
    if peak is None:
        parser.error(f"--gpu: the rate of {options.gpu!r} is not known")
    loader = loader_rate(options.batch_sentences, options.row_length, options.tokens_a_sentence)
    work = 3 * flops_per_token(config, options.row_length, MASKED)
    parameters, total = parameter_count(config), options.sentences * options.tokens_a_sentence * options.epochs
    tokens = options.batch_sentences * options.tokens_a_sentence
    rows = []
    for count in options.gpus:
        compute = tokens / count * work / (options.mfu * peak)
        loading = tokens / (loader * options.loaders)
        traffic = 2 * (count - 1) / count * 4 * parameters
        waiting = max(0.0, traffic / (1e9 * options.link_gb_s) - 2 / 3 * compute)
        step = max(compute, loading) + waiting
        bound = max((compute, "compute"), (loading, "loading"), (waiting, "all-reduce"))[1]
        seconds = total / tokens * step
        rows.append([count, f"{1e3 * compute:.1f}", f"{1e3 * loading:.1f}", f"{traffic / 1e6:.0f}", f"{1e3 * waiting:.1f}",
                     short(tokens / step), duration(seconds), f"{count * seconds / 3600:.1f}", bound])  # fmt: skip
    size = options.sentences * options.tokens_a_sentence * options.bytes_a_token / 1e6
    preparing = size / options.prepare_mb_s
    print(f"{parameters / 1e6:.0f}M parameters, {work / 1e6:.0f} MFLOP a token; {options.sentences:,.0f} sentences, "
          f"{short(total)} tokens in {options.epochs:g} epochs, {tokens:,.0f} a step.\n"
          f"Assumed: {options.gpu}, {peak / 1e12:.0f} TFLOP/s published, {options.mfu:.0%} of it used, {options.link_gb_s:g} "
          f"GB/s a GPU for the all-reduce.\nMeasured here: a loader process makes {short(loader)} tokens/s.\n"
          f"Preparing {size:,.0f} MB at {options.prepare_mb_s:g} MB/s (assumed): {duration(preparing)}.\n")  # fmt: skip
    headings = ["GPUs", "compute, ms", "loading, ms", "all-reduce, MB a GPU", "of it waited for, ms", "tokens/s", "time",
                "GPU hours", "bound by"]  # fmt: skip
    print(markdown(headings, rows))


def loader_rate(sentences: int, row_length: int, mean: float) -> float:
    """Real tokens a second that one process packs and masks, on sentences of made lengths."""
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.gamma(3.0, mean / 3.0, 50_000).astype(np.int64), 2, row_length)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    shards = Shards(draw.integers(3, VOCABULARY, offsets[-1]).astype(np.uint16), offsets, lengths * 4)
    settings = Pretrain(batch_sentences=sentences, row_length=row_length, mask_rate=MASKED)
    batches = Batches(shards, training_shape(shards, settings), settings, VOCABULARY, 0)
    made = []
    for number in range(4):
        start = time.perf_counter()
        batch = batches.batch(number)
        made.append(float((batch.segment_ids > 0).sum()) / (time.perf_counter() - start))
    return max(made)


if __name__ == "__main__":
    main()
