"""Streams against the plain bytes they stand for."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import fsspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bongsu.corpus import lines, streams
from bongsu.corpus.lines import numbered_lines
from bongsu.corpus.streams import DAMAGED, open_bytes, open_seekable, read_some, resolve
from bongsu.errors import DataError

PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
TEXT = "".join(f"줄 {n}: what stands here is {n * n}\n" for n in range(20_000)).encode()


def read_all(stream: IO[bytes]) -> tuple[bytes, bool]:
    """What can be read, and whether the stream ends in damage."""
    data = b""
    try:
        while chunk := read_some(stream, 2**16):
            data += chunk
    except DAMAGED:
        return data, True
    return data, False


def test_resolve_sorts_files_of_globs_and_folders(tmp_path: Path) -> None:
    for name in ("b.txt", "a.csv", "sub/c.jsonl.zst", "notes.md", ".hidden.txt", "~$lock.xlsx", "d.TXT.GZ"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [str(Path(file).relative_to(tmp_path)) for file in resolve(str(tmp_path))]
    assert names == ["a.csv", "b.txt", "d.TXT.GZ", "sub/c.jsonl.zst"]
    assert resolve(str(tmp_path / "*.txt")) == [str(tmp_path / "b.txt")]
    assert resolve("python:stdlib") == ["python:stdlib"]


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    file = tmp_path / "1_구어체(1)[2].xlsx"
    file.write_bytes(b"x")
    assert resolve(str(file)) == [str(file)]


@pytest.mark.parametrize("path", ["nowhere.txt", "no*.txt", "bongsu:nothing", "memory://nothing.txt", "python:other", "a\0b"])
def test_resolve_says_when_there_is_nothing(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        resolve(path)


def test_resolve_says_which_kinds_a_folder_may_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="parquet"):
        resolve(str(tmp_path))


def test_any_url_fsspec_knows() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/room/b.txt.zst": zstandard.compress(b"two\n"), "/room/a.txt": b"one\n", "/room/c.bin": b"?"})
    assert [open_bytes(file).read() for file in resolve("memory://room")] == [b"one\n", b"two\n"]
    assert len(resolve("memory://room/*.txt*")) == 2


@pytest.mark.parametrize(
    "path",
    [
        "nosuchprotocol://x/y.txt",
        "reference://a.txt::http://127.0.0.1:1/b.json",
        "zip://a.csv::memory://a.zip",
        "simplecache::memory://a.csv",
        "memory://a.csv::reference://b",
        "github://owner:repo@/a.csv",
        "local+dir://a",
    ],
)
def test_other_protocols_and_chains_are_refused(path: str) -> None:
    for look in (resolve, open_bytes):
        with pytest.raises(DataError, match="URLs of this kind are not read"):
            look(path)


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files_in_several_parts(ending: str, tmp_path: Path) -> None:
    pack = PACKERS[ending]
    file = tmp_path / f"a.txt{ending}"
    file.write_bytes(pack(TEXT) + pack(b"") + pack(b"the second part"))
    with open_bytes(str(file)) as stream:
        assert stream.read() == TEXT + b"the second part"
    with open_seekable(str(file)) as stream:
        stream.seek(-4, 2)
        assert stream.read() == b"part"


@pytest.mark.parametrize("ending", PACKERS)
def test_a_file_cut_short_gives_what_came_before_and_then_an_error(ending: str, tmp_path: Path) -> None:
    packed = PACKERS[ending](TEXT)
    file = tmp_path / f"a.txt{ending}"
    for cut in (1, 5, len(packed) // 2, len(packed) - 1):
        file.write_bytes(packed[:cut])
        with open_bytes(str(file)) as stream:
            data, damaged = read_all(stream)
        assert damaged, f"cut at {cut} of {len(packed)}"
        assert TEXT.startswith(data)
        assert cut < len(packed) // 2 or len(data) > len(TEXT) // 4
    file.write_bytes(packed + b"rubbish after the end")
    with open_bytes(str(file)) as stream:
        assert read_all(stream)[0] == TEXT


@pytest.mark.parametrize("ending", PACKERS)
def test_a_bomb_is_refused_with_little_memory(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BOMB_BYTES", 2**22)
    file = tmp_path / f"a.txt{ending}"
    file.write_bytes(PACKERS[ending](b"\0" * 2**26))
    tracemalloc.start()
    with pytest.raises(DataError, match="bomb"), open_bytes(str(file)) as stream:
        list(iter(partial(stream.read, 2**16), b""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27


def test_a_copy_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LARGEST_COPY", 1000)
    file = tmp_path / "a.parquet.gz"
    file.write_bytes(gzip.compress(TEXT))
    with pytest.raises(DataError, match="unpack it first"), open_seekable(str(file)):
        pass


@given(st.lists(st.binary(max_size=20).map(lambda part: part.replace(b"\n", b"").rstrip(b"\r"))))
def test_lines_are_those_that_were_written(written: list[bytes]) -> None:
    for end in (b"\n", b"\r\n"):
        data = b"".join(line + end for line in written)
        first = written[0].removeprefix(b"\xef\xbb\xbf").rstrip(b"\r") if written else b""
        expected = list(enumerate([first, *written[1:]] if written else [], start=1))
        assert list(numbered_lines(io.BytesIO(data))) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp949", "cp037"])
def test_lines_in_any_encoding(encoding: str) -> None:
    expected = ["first line", "" if encoding == "cp037" else "둘째 줄", "", "last"]
    stream = io.BytesIO("\n".join(expected).encode(encoding))
    codec = "cp949" if encoding == "cp949" else "utf-8"
    assert [line.decode(codec) for _, line in numbered_lines(stream, encoding) if line is not None] == expected


def test_a_line_too_long_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    data = b"a\n" + b"x" * 10_000 + b"\n" + b"y" * 99 + b"\nz" * 1 + b"\n" + b"w" * 1000
    assert list(numbered_lines(io.BytesIO(data))) == [(1, b"a"), (2, None), (3, b"y" * 99), (4, b"z"), (5, None)]


class Endless(io.RawIOBase):
    """A line of a gigabyte."""

    left = 2**30

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self.left)
        buffer[:size] = b"x" * size
        self.left -= size
        return size


def test_a_line_of_a_gigabyte_takes_little_memory() -> None:
    tracemalloc.start()
    assert list(numbered_lines(io.BufferedReader(Endless(), 2**18))) == [(1, None)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * lines.LONGEST_LINE
