"""Bytes as they come, made UTF-8: gzip and Zstandard unpacked, UTF-16 rewritten, a byte order mark taken off."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator

import zstandard

from bongsu.corpus.detection import kind_of
from bongsu.errors import DataError

_PIECE = 1 << 20
_ZSTD_STEP = 256
"""Bytes unpacked at a time: a block of Zstandard has at least 4 bytes and makes at most 128 kB."""


class Unpacking:
    """Turns chunks of bytes into chunks of UTF-8; what it is, the first chunk shows."""

    def __init__(self) -> None:
        self.plain = True
        """Whether the bytes come out as they go in, so that places in the two are the same."""
        self._begun = False
        self._kind = ""
        self._gzip = zlib.decompressobj(31)
        self._zstd = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        self._utf16: codecs.IncrementalDecoder | None = None
        self._marked = False

    def begin(self, head: bytes) -> None:
        """Look at the first bytes.

        Raises:
            DataError: when they are those of a picture, a database or another file without lines.
        """
        self._begun = True
        if head[:2] == b"\x1f\x8b":
            self._kind = "gzip"
        elif head[:4] == b"\x28\xb5\x2f\xfd":
            self._kind = "zstd"
        elif kind := kind_of(head):
            raise DataError(f"by its first bytes this is a {kind} file; messages are read from text, CSV or JSON.")
        else:
            self._begin_text(head)
        self.plain = not self._kind and self._utf16 is None

    def _begin_text(self, head: bytes) -> None:
        self._marked = True
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            self._utf16 = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        elif len(head) >= 8 and (zeros := head[:400].count(0)) * 5 >= 2 * min(len(head), 400):
            big = head[:400:2].count(0) * 2 > zeros
            self._utf16 = codecs.getincrementaldecoder("utf-16-be" if big else "utf-16-le")("surrogatepass")

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk gives, in pieces of about a megabyte at most.

        Raises:
            DataError: when it is damaged.
        """
        if not self._begun:
            self.begin(chunk)
        for piece in self._unpacked(chunk):
            if self._kind and not self._marked:
                self._begin_text(piece)
            try:
                yield self._utf16.decode(piece).encode("utf-8", "surrogatepass") if self._utf16 else piece
            except UnicodeError:
                raise DataError("looks like UTF-16 but is not.") from None

    def _unpacked(self, chunk: bytes) -> Iterator[bytes]:
        try:
            if self._kind == "gzip":
                while chunk:
                    if piece := self._gzip.decompress(chunk, _PIECE):
                        yield piece
                    chunk = self._gzip.unconsumed_tail
                    if self._gzip.eof:
                        chunk, self._gzip = self._gzip.unused_data, zlib.decompressobj(31)
            elif self._kind == "zstd":
                for start in range(0, len(chunk), _ZSTD_STEP):
                    part = chunk[start : start + _ZSTD_STEP]
                    while part:
                        if piece := self._zstd.decompress(part):
                            yield piece
                        part = b""
                        if self._zstd.eof:
                            part = self._zstd.unused_data
                            self._zstd = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
            else:
                yield chunk
        except (zlib.error, zstandard.ZstdError) as error:
            raise DataError(f"cannot be unpacked ({error}).") from None
