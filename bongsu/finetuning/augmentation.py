"""Changed copies of training texts. Copy (row, epoch) is a pure function of the seed, so that a run can go on anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from bongsu.model.heads import MaskedLanguageModel
from bongsu.tokens.random import mix, uniform
from bongsu.tokens.special import MASK_ID, PAD_ID, SPECIAL

Int64 = npt.NDArray[np.int64]
Augmentation = Callable[[int, int], Int64]
"""The ids of text number `row` as they are shown in `epoch`."""

SIGNS = (".", ";", "?", ":", "!", ",")
EDA_SHARE = 0.1
REPLACED_SHARE = 0.15
COPIES = 4
_CHANGE, _FORM, _DROP, _REPLACE = range(4)  # what a random number is for


def aeda(text: str, draw: random.Random) -> str:
    """Puts signs at 1 to a third of the places between words (Karimi, Rossi and Prati 2021)."""
    words = text.split(" ")
    for place in sorted(draw.sample(range(len(words)), draw.randint(1, max(1, len(words) // 3))), reverse=True):
        words.insert(place, draw.choice(SIGNS))
    return " ".join(words)


def eda(text: str, draw: random.Random) -> str:
    """Swaps a tenth of the words and leaves out a tenth: the two operations of Wei and Zou (2019) that need no thesaurus."""
    words = text.split(" ")
    for _ in range(max(1, round(EDA_SHARE * len(words)))):
        one, other = draw.randrange(len(words)), draw.randrange(len(words))
        words[one], words[other] = words[other], words[one]
    kept = [word for word in words if draw.random() >= EDA_SHARE]
    return " ".join(kept or words[:1])


CHANGES: dict[str, Callable[[str, random.Random], str]] = {"aeda": aeda, "eda": eda}


def changed_words(
    kind: Literal["aeda", "eda"], texts: Sequence[str], encode: Callable[[str], Int64], seed: int
) -> Augmentation:
    """Texts changed word by word, anew each epoch."""

    def show(row: int, epoch: int) -> Int64:
        draw = random.Random(int(mix(seed, _CHANGE, epoch, row)))
        return encode(CHANGES[kind](texts[row], draw))

    return show


@torch.inference_mode()
def replaced_tokens(model: MaskedLanguageModel, ids: Sequence[Int64], seed: int, copies: int = COPIES) -> list[list[Int64]]:
    """`copies` of each text in which 15 % of the tokens are drawn from what a masked language model expects in their place.

    The labels are taken to stay (Kumar, Choudhary and Cho 2020 condition on them; on short texts the rest of the text does).
    """
    model.eval()
    device = model.output_bias.device
    generator = torch.Generator(device).manual_seed(seed)
    made: list[list[Int64]] = [[] for _ in ids]
    order = np.argsort([len(row) for row in ids], kind="stable")
    for copy in range(copies):
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            table = np.full((len(rows), max(len(ids[row]) for row in rows)), PAD_ID, dtype=np.int64)
            for number, row in enumerate(rows):
                table[number, : len(ids[row])] = ids[row]
            columns = np.arange(table.shape[1])
            hidden = uniform(mix(seed, _REPLACE, copy, rows[:, None], columns)) < REPLACED_SHARE
            hidden &= table >= len(SPECIAL)
            places = torch.from_numpy(np.flatnonzero(hidden)).to(device)
            if len(places):
                seen = torch.from_numpy(np.where(hidden, MASK_ID, table)).to(device)
                logits = model(seen, read=places).float()
                logits[:, : len(SPECIAL)] = -torch.inf
                table[hidden] = torch.multinomial(F.softmax(logits, dim=-1), 1, generator=generator)[:, 0].cpu().numpy()
            for number, row in enumerate(rows):
                made[row].append(table[number, : len(ids[row])].copy())
    return made


def in_turn(copies: Sequence[Sequence[Int64]], otherwise: Sequence[Int64]) -> Augmentation:
    """Another of a text's copies each epoch; a text that has none is shown as it is, `otherwise`."""
    return lambda row, epoch: copies[row][epoch % len(copies[row])] if copies[row] else otherwise[row]


def shown(
    ids: Sequence[Int64],
    seed: int,
    forms: Sequence[tuple[float, Augmentation]] = (),
    token_dropout: float = 0.0,
    mask_id: int = MASK_ID,
) -> Augmentation:
    """What a text looks like in an epoch.

    Args:
        forms: other forms of the texts, each with the probability that it is shown; the first that is drawn is taken.
        token_dropout: each token is `mask_id` with this probability.
    """

    def show(row: int, epoch: int) -> Int64:
        text = ids[row]
        for number, (share, form) in enumerate(forms):
            if uniform(mix(seed, _FORM, number, epoch, row)) < share:
                text = form(row, epoch)
                break
        if token_dropout:
            hidden = uniform(mix(seed, _DROP, epoch, row, np.arange(len(text)))) < token_dropout
            text = np.where(hidden, mask_id, text)
        return text

    return show
