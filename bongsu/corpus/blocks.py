"""Sources in blocks of some megabytes, which can be cleaned in parallel.

A block of a file of lines has the lines, still to be parsed; other files are parsed where they are cut, and a block has texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from bongsu.corpus.lines import codec_of, line_parts
from bongsu.corpus.readers import Document, File, documents, each_file
from bongsu.corpus.stats import ReadStats
from bongsu.corpus.streams import FileList, list_files
from bongsu.errors import BongsuError
from bongsu.recipe import Source

BYTES = 4 * 2**20
_TEXTS = 32_768
_LINES = ("text", "jsonl", "pile")
_SENTENCES = ("pile", "python")


@dataclass(frozen=True)
class FileGroup:
    """Files of a source, to be read one after the other."""

    number: int
    """Its place among the groups of a corpus."""
    source: int
    """The place of its source in the recipe."""
    settings: Source
    files: list[str]
    left_out: Counter[str] = field(default_factory=Counter)
    """Files of the source's folder that are not read, by reason; counted in its first group only."""


@dataclass
class Block:
    """A piece of a source."""

    group: FileGroup
    number: int
    """Its place in the group."""
    sentences: bool
    """Whether its documents are to be split."""
    content: File | list[tuple[str, str]]
    """Lines still to be parsed, or (text, language) of each document."""
    stats: ReadStats
    """What was seen of this piece alone."""
    error: BongsuError | None = None
    """The error that ended reading."""

    @property
    def name(self) -> str:
        """A name that sorts in the order of the corpus."""
        return f"{self.group.number:06d}-{self.number:06d}"

    def documents(self) -> list[tuple[str, str]]:
        """Return (text, language) of each document; add what parsing finds to `stats`."""
        if isinstance(self.content, list):
            return self.content
        read: list[tuple[str, str]] = []
        try:
            read += (
                (document.text, document.lang or "") for document in documents(self.group.settings, self.stats, self.content)
            )
        except BongsuError as error:
            self.error = error
        return read


def file_groups(sources: list[Source]) -> list[FileGroup]:
    """Return a group for each file; the files of a source with a limit are one group, as its documents are counted in order.

    Raises:
        DataError: when a source has no file, or an encoding that Python does not know.
    """
    found: list[FileGroup] = []
    for number, source in enumerate(sources):
        codec_of("utf-8" if source.encoding == "auto" else source.encoding)
        listed = list_files(source.path)
        left_out = listed.left_out
        for files in [listed.files] if source.limit is not None else [[file] for file in listed.files]:
            found.append(FileGroup(len(found), number, source, files, left_out))
            left_out = Counter()
    return found


def cut(group: FileGroup, size: int = BYTES) -> Iterator[Block]:
    """Cut a group into blocks of about `size` bytes each. An error is not raised but stored in the last block."""
    source = group.settings
    stats = ReadStats(source.max_bad, quiet=True)
    number, waiting = 0, 0
    texts: list[tuple[str, str]] = []
    sentences = bool(source.sentences)

    def block(content: File | list[tuple[str, str]], error: BongsuError | None = None) -> Block:
        nonlocal number
        made = Block(group, number, sentences, content, stats.take(), error)
        number += 1
        return made

    def pieces(source: Source, _: ReadStats, file: File) -> Iterator[Document | File]:
        nonlocal sentences
        sentences = file.form in _SENTENCES if source.sentences is None else source.sentences
        if file.form in _LINES and source.limit is None and not file.part.wide:
            for part in line_parts(file.part, size):
                yield replace(file, part=part, head="")
        else:
            yield from documents(source, stats, file)

    error = None
    try:
        for piece in islice(each_file(source, stats, FileList(group.files, group.left_out), pieces), source.limit):
            if isinstance(piece, File):
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
