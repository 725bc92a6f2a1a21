"""Put the encoder and the detector of a finished run of `recipes/beacon.toml` where the package keeps its models.

    python recipes/beacon/package.py runs/beacon bongsu/models/beacon

The encoder is kept in float16, the detector as an int8 graph alone.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch

from bongsu.errors import BongsuError
from bongsu.export.bundle import export_onnx, masked_lm_folder, run_recipe
from bongsu.files import atomic_folder, record_hashes
from bongsu.model.io import load_masked_lm, read_config, save_encoder
from bongsu.progress import note

LICENCE = "cc-by-sa-4.0"


def main(run: Path, out: Path) -> None:
    """Write `out`/encoder and `out`/detector, each whole or not at all.

    Raises:
        BongsuError: when the run is not finished, or its int8 graph loses more than half a point.
    """
    source = masked_lm_folder(run, run_recipe(run))
    if source is None:
        raise BongsuError(f"{run}: no pre-trained encoder here.")
    with atomic_folder(out / "encoder") as folder:
        save_encoder(folder, load_masked_lm(source), read_config(source)["extra"], torch.float16)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(source / name, folder / name)
        record_hashes(folder, "tokenizer.json", "tokenizer_config.json")
    loss = export_onnx(run, out / "detector", int8=True, licence=LICENCE, smallest=True)
    if loss is None or not loss.accurate:
        raise BongsuError(f"{run}: int8 loses too much: {loss}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    note(f"{out}: {size / 1e6:.1f} MB; int8 {loss.metric} {loss.int8:.4f}, float32 {loss.float32:.4f} ({loss.source})")


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:3]))
    except BongsuError as error:
        sys.exit(f"error: {error}")
