"""Learning the merges of byte-level BPE: by `gigabpe` where it is installed and agrees with `tokenizers`, else by `tokenizers`.

`tokenizers` is the reference. The fast trainer has to learn the same from the first texts; where it does not, or cannot take a
text, it is not used.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import chain

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from bongsu.errors import panics_as_errors
from bongsu.progress import warn

Merges = list[tuple[str, str]]

_TRIAL_BYTES = 200_000
_TRIAL_MERGES = 300
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def learn_merges(texts: Iterable[str], special: list[str], size: int, min_frequency: int) -> tuple[dict[str, int], Merges]:
    """Return a vocabulary (special tokens, the 256 bytes, merges) of at most `size` entries, and the merges in order.

    Memory with `gigabpe` is that of the different words; `texts` go through a temporary file.
    """
    stream = iter(texts)
    trial = list(_head(stream))
    if find_spec("gigabpe") is None or not _agrees(trial, special, min_frequency):
        return _learn_slowly(chain(trial, stream), special, size, min_frequency)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", prefix="bongsu-") as file:
        for text in chain(trial, stream):
            if not _is_line(text):
                file.flush()
                return _learn_slowly(chain(_lines(file.name), [text], stream), special, size, min_frequency)
            file.write(text + "\n")
        file.flush()
        try:
            with panics_as_errors("gigabpe panicked"):
                return _learn_fast(file.name, special, size, min_frequency)
        except Exception as error:  # a young library may raise anything; the other one is always there
            warn(f"gigabpe failed ({error}); learning the merges with tokenizers, which is slower.")
        return _learn_slowly(_lines(file.name), special, size, min_frequency)


def _learn_fast(path: str, special: list[str], size: int, min_frequency: int) -> tuple[dict[str, int], Merges]:
    import gigabpe

    # It begins with the bytes that occur, `tokenizers` with all 256: up to 256 merges too many, which are cut.
    _, found = gigabpe.train_bpe(
        [path], vocab_size=size, special_tokens=[], min_frequency=min_frequency, pretokenizer="bytelevel"
    )
    vocabulary = {token: number for number, token in enumerate([*special, *ALPHABET])}
    merges: Merges = []
    for one, other in found:
        if len(vocabulary) == size:
            break
        vocabulary.setdefault(one + other, len(vocabulary))
        merges.append((one, other))
    return vocabulary, merges


def _learn_slowly(texts: Iterable[str], special: list[str], size: int, min_frequency: int) -> tuple[dict[str, int], Merges]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=special,
        initial_alphabet=ALPHABET,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(one, other) for one, other in model["merges"]]


def _agrees(texts: list[str], special: list[str], min_frequency: int) -> bool:
    if not all(map(_is_line, texts)):
        return False
    size = len(special) + len(ALPHABET) + _TRIAL_MERGES
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", prefix="bongsu-") as file:
        file.writelines(text + "\n" for text in texts)
        file.flush()
        try:
            with panics_as_errors("gigabpe panicked"):
                fast = _learn_fast(file.name, special, size, min_frequency)
        except Exception:  # the library's own kinds
            return False
    return fast == _learn_slowly(texts, special, size, min_frequency)


def _is_line(text: str) -> bool:
    """Return whether a text can be a line of its own: a line end inside or blanks at its end would change its words."""
    return "\n" not in text and not text[-1:].isspace()


def _head(stream: Iterator[str]) -> Iterator[str]:
    size = 0
    while size < _TRIAL_BYTES and (text := next(stream, None)) is not None:
        size += len(text)
        yield text


def _lines(path: str) -> Iterator[str]:
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.removesuffix("\n")
