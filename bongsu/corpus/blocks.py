"""A source in blocks: pieces that any process can clean, in an order of their own.

Of a file of lines a block is some megabytes of them, still to be parsed; other files are read where they are cut, and a block
is some megabytes of texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from bongsu.corpus.lines import Part, codec_of, line_parts
from bongsu.corpus.problems import Unreported
from bongsu.corpus.readers import Document, Reading, all_files, documents, resolve
from bongsu.errors import BongsuError
from bongsu.recipe import Source

BYTES = 4 * 2**20
_TEXTS = 32_768
_LINES = ("text", "jsonl", "pile")
_SENTENCES = ("pile", "python")


@dataclass(frozen=True)
class Stretch:
    """Files of a source, to be read one after the other."""

    number: int
    """Its place among the stretches of a corpus."""
    source: int
    """The place of its source in the recipe."""
    settings: Source
    paths: list[str]


@dataclass
class Found:
    """What reading a piece of a source brought to light."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0
    subsets: set[str] = field(default_factory=set)
    error: BongsuError | None = None
    """What put an end to it."""

    def tell(self, reading: Reading) -> None:
        """Adds it to what was seen of the whole source.

        Raises:
            BongsuError: the one that put an end to reading, or that of too many problems.
        """
        for place, why in self.problems:
            reading.problems.skip(place, why)
        reading.rows += self.rows
        reading.subsets |= self.subsets
        if self.error is not None:
            raise self.error


@dataclass
class Block:
    """A piece of a source."""

    stretch: Stretch
    number: int
    """Its place in the stretch."""
    sentences: bool
    """Whether its documents are to be split."""
    content: tuple[Part, str] | list[tuple[str, str]]
    """Lines and their format, or (text, language) of each document."""
    found: Found

    @property
    def name(self) -> str:
        """In the order of the corpus."""
        return f"{self.stretch.number:06d}-{self.number:06d}"

    def documents(self) -> list[tuple[str, str]]:
        """(text, language) of each document; what parsing brings to light is added to `found`."""
        if isinstance(self.content, list):
            return self.content
        reading = _reading(self.stretch.settings)
        read: list[tuple[str, str]] = []
        try:
            read += ((document.text, document.lang or "") for document in documents(reading, *self.content))
        except BongsuError as error:
            self.found.error = error
        _add(self.found, reading)
        return read


def stretches(sources: list[Source]) -> list[Stretch]:
    """A stretch for each file; a source with a limit is one, for its documents are counted one by one.

    Raises:
        DataError: when a source has no file, or an encoding that Python does not know.
    """
    found: list[Stretch] = []
    for number, source in enumerate(sources):
        codec_of(source.encoding)
        paths = resolve(source.path)
        for group in [paths] if source.limit is not None else [[path] for path in paths]:
            found.append(Stretch(len(found), number, source, group))
    return found


def cut(stretch: Stretch, size: int = BYTES) -> Iterator[Block]:
    """The blocks of a stretch, each of about `size` bytes. An error is not raised here but found in the last block."""
    source = stretch.settings
    reading = _reading(source)
    number, waiting = 0, 0
    texts: list[tuple[str, str]] = []
    sentences = bool(source.sentences)

    def block(content: tuple[Part, str] | list[tuple[str, str]], error: BongsuError | None = None) -> Block:
        nonlocal number
        made = Block(stretch, number, sentences, content, Found(error=error))
        _add(made.found, reading)
        reading.rows, reading.subsets = 0, set()
        number += 1
        return made

    def pieces(reading: Reading, path: str, form: str) -> Iterator[Document | tuple[Part, str]]:
        nonlocal sentences
        sentences = form in _SENTENCES if source.sentences is None else source.sentences
        if form in _LINES and source.limit is None and not codec_of(source.encoding)[1]:
            for part in line_parts(path, size):
                yield part, form
        else:
            yield from documents(reading, Part(path), form)

    error = None
    try:
        for piece in islice(all_files(reading, stretch.paths, pieces), source.limit):
            if isinstance(piece, tuple):
                yield block(piece)
                continue
            texts.append((piece.text, piece.lang or ""))
            waiting += len(piece.text)
            if waiting >= size or len(texts) == _TEXTS:
                yield block(texts)
                texts, waiting = [], 0
    except BongsuError as raised:
        error = raised
    yield block(texts, error)


def _reading(source: Source) -> Reading:
    return Reading(source, Unreported(source.max_bad))


def _add(found: Found, reading: Reading) -> None:
    """Moves what was seen since the last time."""
    problems = reading.problems
    assert isinstance(problems, Unreported)
    found.problems += problems.places
    found.rows += reading.rows
    found.subsets |= reading.subsets
    problems.places, problems.count = [], 0
