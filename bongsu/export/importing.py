"""From a ModernBERT folder of `transformers` to a model folder that fine-tuning starts from."""

from __future__ import annotations

from pathlib import Path

from bongsu.errors import WorkspaceError
from bongsu.export.modernbert import read_modernbert
from bongsu.files import atomic_folder
from bongsu.inference.bundle import is_bundle, open_bundle
from bongsu.model.io import CONFIG, WEIGHTS, save_encoder
from bongsu.tokens.bpe import TOKENIZER, load_tokenizer, save_tokenizer


def import_modernbert(folder: Path, out: Path) -> bool:
    """Write the model folder `out`; return whether its output layer is that of `folder` too, or its hidden states alone.

    Raises:
        WorkspaceError: when the folder was changed since Bongsu wrote it, or Bongsu's encoder cannot hold its model, or `out`
            is there already.
    """
    if out.exists():
        raise WorkspaceError(f"{out}: is there already; name a new folder with --out.")
    if is_bundle(folder):
        bundle = open_bundle(folder)
        for name in (CONFIG, WEIGHTS, TOKENIZER):
            bundle.file(name)
    model, whole = read_modernbert(folder)
    tokenizer = load_tokenizer(folder)
    with atomic_folder(out) as made:
        save_encoder(made, model)
        save_tokenizer(tokenizer, made, model.encoder.config.max_length)
    return whole
