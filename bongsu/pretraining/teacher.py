"""Sentence vectors of a teacher, which pre-training pulls the student's towards (Reimers and Gurevych 2020, section 3).

The teacher reads each sentence as the shards hold it, decoded: with the student's lower case and normalization.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu import progress
from bongsu.arrays import Float16, Int64
from bongsu.corpus.cleaning import is_written_in
from bongsu.errors import RecipeError
from bongsu.files import file_hash, read_json, write_json
from bongsu.model.hub import HubEncoder, hub_folder, weight_files
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.recipe import HUB, Pretrain
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.shards import Shards
from bongsu.training.devices import autocast, resolve_device, resolve_precision

PART = 8192
"""Sentences whose vectors are computed and written at a time."""
BATCH_TOKENS = 4096
_LONGEST = 256


class StudentModel(nn.Module):
    """A language model with a linear layer from the mean of a sentence's vectors to the teacher's vector.

    The layer serves training only: the language model alone is kept.
    """

    def __init__(self, language_model: MaskedLanguageModel, width: int, seed: int) -> None:
        super().__init__()
        self.language_model = language_model
        self.projection = nn.Linear(language_model.encoder.config.d_model, width)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.projection.weight.normal_(0, language_model.encoder.config.d_model**-0.5, generator=generator)
            self.projection.bias.zero_()

    def forward(
        self, input_ids: Tensor, segment_ids: Tensor, positions: Tensor, query_positions: Tensor, sentences: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """Return logits and projected sentence vectors.

        Args:
            input_ids, segment_ids, positions, query_positions: as of `MaskedLanguageModel.forward`.
            sentences: [R, L] int64, which sentence of the batch a token belongs to, `count` for padding.
            count: sentences of the batch, S.

        Returns:
            [M, vocab_size] and [S, width] float32; a sentence without tokens has the projection of zeros.
        """
        model = self.language_model
        hidden = model.encoder(input_ids, segment_ids, positions).flatten(0, 1)  # [R·L, d_model]
        logits = model.logits(hidden[query_positions])
        owners = sentences.flatten()
        sums = hidden.new_zeros(count + 1, hidden.shape[1], dtype=torch.float32).index_add(0, owners, hidden.float())
        sizes = torch.bincount(owners, minlength=count + 1).clamp(min=1)
        means = (sums / sizes[:, None])[:count]
        return logits, self.projection(means).float()


class Teacher:
    """An encoder of `transformers`, and the vectors that it computes for a run of pre-training."""

    def __init__(self, folder: Path, settings: Pretrain, tokenizer: Tokenizer) -> None:
        """Open the teacher.

        Args:
            folder: for the vectors and the progress of each split.
            tokenizer: the student's.

        Raises:
            RecipeError: when the teacher is not written as "hf:FOLDER".
            WorkspaceError: when there is no encoder of `transformers` in its folder.
        """
        source = teacher_folder(settings)
        self.folder, self.settings, self.tokenizer = folder, settings, tokenizer
        self.encoder = HubEncoder.open(source)
        self.width = self.encoder.config.d_model
        self.reader = load_tokenizer(source, foreign=True)
        self.reader.enable_truncation(min(_LONGEST, self.encoder.config.max_length))
        self.device = resolve_device(settings.device)
        self.precision = resolve_precision(settings.precision, self.device)
        self._weights = [file_hash(path) for path in weight_files(source)]

    def run(self, split: str, shards: Shards, sentences: Int64) -> Path:
        """Compute the vectors of some sentences of a split, or continue where an earlier run stopped.

        Those longer than a row, and those that are not in `teacher_scripts`, are left out.

        Args:
            sentences: int64, which ones, in an order that depends on nothing but the split and the seed.

        Returns:
            A file of [sentences of the split, width] float16, of length 1, or zeros where there is no vector.
        """
        path, state_path = self.folder / f"{split}.npy", self.folder / f"{split}.json"
        made_by = {
            "weights": self._weights,
            "scripts": list(self.settings.teacher_scripts),
            "row_length": self.settings.row_length,
            "shape": [shards.sentences, self.width],
            "first": sentences[:8].tolist(),
        }
        state = read_json(state_path) if state_path.is_file() and path.is_file() else {}
        if state.get("made_by") != made_by:
            self.folder.mkdir(parents=True, exist_ok=True)
            state_path.unlink(missing_ok=True)
            # Zeros that are not written take no room on the disk.
            np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(shards.sentences, self.width)).flush()
            state = {"made_by": made_by, "done": 0, "vectors": 0}
        vectors = np.lib.format.open_memmap(path, mode="r+")
        self.encoder.to(self.device)
        with progress.bar("teacher", len(sentences), "sentences", done=state["done"]) as bar:
            for start in range(state["done"], len(sentences), PART):
                part = sentences[start : start + PART]
                texts, taught = self._texts(shards, part)
                vectors[taught] = self._vectors(texts)
                vectors.flush()
                state |= {"done": start + len(part), "vectors": state["vectors"] + len(taught)}
                write_json(state_path, state)
                bar.advance(len(part))
        progress.note(f"teacher: vectors of {state['vectors']:,} of {state['done']:,} {split} sentences")
        self.encoder.cpu()
        return path

    def _texts(self, shards: Shards, sentences: Int64) -> tuple[list[str], Int64]:
        """Return the texts of those of the sentences that are taught, and which these are."""
        ids = [shards.tokens[shards.offsets[each] : shards.offsets[each + 1]].tolist() for each in sentences]
        texts = self.tokenizer.decode_batch(ids, skip_special_tokens=False)
        scripts = self.settings.teacher_scripts
        wanted = [
            len(tokens) <= self.settings.row_length and (not scripts or any(is_written_in(text, script) for script in scripts))
            for tokens, text in zip(ids, texts, strict=True)
        ]
        return [text for text, taught in zip(texts, wanted, strict=True) if taught], sentences[np.array(wanted, dtype=bool)]

    def _vectors(self, texts: list[str]) -> Float16:
        """Return the mean of each text's vectors, of length 1, [texts, width] float16."""
        encodings = self.reader.encode_batch(texts)
        found = np.zeros((len(texts), self.width), dtype=np.float16)
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        while order:
            longest = len(encodings[order[-1]].ids)
            size = max(1, BATCH_TOKENS // longest)
            batch, order = order[-size:], order[:-size]
            ids = torch.full((len(batch), longest), self.encoder.config.pad_id)
            real = torch.zeros((len(batch), longest), dtype=torch.int64)
            for row, index in enumerate(batch):
                tokens = encodings[index].ids
                ids[row, : len(tokens)], real[row, : len(tokens)] = torch.tensor(tokens), 1
            real = real.to(self.device)
            with torch.inference_mode(), autocast(self.device, self.precision):
                hidden = self.encoder(ids.to(self.device), real).float()
                means = (hidden * real[:, :, None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
            found[batch] = F.normalize(means, dim=-1).cpu().numpy()
        return found


def teacher_folder(settings: Pretrain) -> Path:
    """Return the folder of the teacher.

    Raises:
        RecipeError: when it is not written as "hf:FOLDER".
        WorkspaceError: when there is no encoder of `transformers` in it.
    """
    name = settings.teacher or ""
    if not name.startswith(HUB):
        raise RecipeError(f'pretrain.teacher: write "hf:FOLDER", the folder of an encoder of transformers, not {name!r}')
    return hub_folder(name)
