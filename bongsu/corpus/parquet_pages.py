"""Headers of a Parquet file's pages (Thrift's compact protocol): the size of each page before it is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, NamedTuple

DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
DELTA_BYTE_ARRAY = 7
_LARGEST_HEADER = 2**16  # bytes; statistics of long texts are cut by what writes them
_DEEPEST = 8


class Page(NamedTuple):
    """A page of a column."""

    kind: int
    unpacked: int
    """Bytes."""
    values: int
    """Rows of a column that is no list."""
    encoding: int


def pages_of(stream: IO[bytes], chunk: Any, size: int) -> Iterator[Page]:
    """Read the headers of all pages of a column in a row group, in order, without their contents.

    Args:
        chunk: pyarrow's ColumnChunkMetaData.
        size: bytes of the file.

    Raises:
        ValueError: when they are not what Parquet says.
    """
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    end = start + chunk.total_compressed_size
    if not 0 < start <= end <= size:
        raise ValueError("a column lies outside the file")
    values = 0
    while start < end and values < chunk.num_values:
        stream.seek(start)
        head = _Compact(stream.read(min(_LARGEST_HEADER, end - start)))
        fields = head.struct()
        packed = fields.get(3, -1)
        inner = fields.get({DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_V2: 8}.get(fields.get(1, -1), 0), {})
        if not isinstance(packed, int) or packed < 0 or not isinstance(inner, dict):
            raise ValueError("a page without a size")
        page = Page(fields[1], fields[2], inner.get(1, 0), inner.get(4 if fields[1] == DATA_PAGE_V2 else 2, 0))
        if page.unpacked < 0 or page.values < 0:
            raise ValueError("a page of negative size")
        if page.kind in (DATA_PAGE, DATA_PAGE_V2):
            values += page.values
        yield page
        start += head.place + packed


class _Compact:
    """Thrift's compact protocol: structures as dictionaries from the numbers of their fields."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Read a structure.

        Raises:
            ValueError: when it is nested too deeply or holds what Thrift does not know.
            IndexError: when the data ends within it.
        """
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):  # true, false
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            if count > len(self._data):
                raise ValueError("a list longer than its header")
            inner = head & 15
            return [self._byte() if inner in (1, 2) else self._value(inner, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("not a page header")

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self.place:
            raise ValueError("a page header that does not end")
        self.place += count
        return self._data[self.place - count : self.place]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number without an end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
