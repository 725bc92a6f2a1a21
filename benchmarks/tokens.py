"""Training a tokenizer and encoding with it, against the `tokenizers` library.

    python -m benchmarks.tokens FILE [--format csv] [--vocab-size 8000] [--megabytes 20] [--repeats 5]

FILE is anything a recipe's source may be. Every measurement is a process of its own; the sides take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import in_turn, markdown, peak_megabytes
from bongsu import recipe
from bongsu.corpus import blocks
from bongsu.corpus.cleaning import Cleaner
from bongsu.corpus.sentences import split_sentences
from bongsu.tokens import bpe, merges
from bongsu.tokens.encoding import ExactEncoder, FastEncoder

SIDES = ("train tokenizers", "train bongsu", "encode tokenizers", "encode bongsu")


def main() -> None:
    """Parses, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--format", default="auto")
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--tokenizer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = recipe.Tokenizer(vocab_size=options.vocab_size, lowercase=True)
    texts = _texts(options.file, options.format, options.megabytes)
    if options.side:
        print(json.dumps(_measure(options.side, texts, settings, options.tokenizer)))
        return
    with tempfile.TemporaryDirectory() as folder:
        bpe.save_tokenizer(bpe.train_tokenizer(settings, texts), Path(folder), 512)
        arguments = [options.file, "--format", options.format, "--vocab-size", str(options.vocab_size)]
        arguments += ["--megabytes", str(options.megabytes), "--tokenizer", folder]
        found = in_turn("benchmarks.tokens", SIDES, arguments, options.repeats)
    rows = []
    for work in ("train", "encode"):
        theirs, ours = found[f"{work} tokenizers"], found[f"{work} bongsu"]
        same = "yes" if theirs["outcome"] == ours["outcome"] else "NO"
        ratio = ours["rate"] / theirs["rate"]
        memory = f"{theirs['memory']:.0f} | {ours['memory']:.0f}"
        rows.append([work, f"{theirs['rate']:.2f}", f"{ours['rate']:.2f}", f"{ratio:.1f} x", memory, same])
    headings = ["", "tokenizers MB/s", "Bongsu MB/s", "ratio", "MB of memory added, tokenizers", "Bongsu", "same outcome"]
    print(markdown(headings, rows))


def _texts(path: str, form: str, megabytes: float) -> list[str]:
    """Texts as preparation hands them on: cleaned, documents cut into sentences where it would cut them."""
    texts: list[str] = []
    size, cleaner = 0, Cleaner(recipe.Cleaning())
    groups = blocks.file_groups([recipe.Source.model_validate({"path": path, "format": form})])
    for block in (block for group in groups for block in blocks.cut(group)):
        pieces = [text for text, _ in block.documents()]
        if block.sentences:
            pieces = [sentence for text in pieces for sentence in split_sentences(text)]
        for text in cleaner.clean_all(pieces):
            if text is not None:
                texts.append(text)
                size += len(text.encode())
        if size > megabytes * 1e6:
            break
    return texts


def _measure(side: str, texts: list[str], settings: recipe.Tokenizer, folder: Path) -> dict[str, float]:
    """Rate in MB/s, memory added in MB, and a number that stands for the outcome."""
    work, who = side.split()
    size = sum(len(text.encode()) for text in texts) / 1e6
    if work == "train":
        if who == "tokenizers":
            merges.find_spec = lambda name: None
        before, start = peak_megabytes(), time.perf_counter()
        outcome = bpe.train_tokenizer(settings, texts).to_str().encode()
        seconds = time.perf_counter() - start
    else:
        tokenizer = bpe.load_tokenizer(folder)
        encoder = ExactEncoder(tokenizer) if who == "tokenizers" else FastEncoder(tokenizer)
        before, start = peak_megabytes(), time.perf_counter()
        parts = [encoder.encode(texts[first : first + 16_384]) for first in range(0, len(texts), 16_384)]
        seconds = time.perf_counter() - start
        outcome = b"".join(ids.astype("int64").tobytes() + lengths.tobytes() for ids, lengths in parts)
    number = int.from_bytes(hashlib.sha256(outcome).digest()[:6], "big")
    return {"rate": size / seconds, "memory": peak_megabytes() - before, "outcome": number}


if __name__ == "__main__":
    main()
