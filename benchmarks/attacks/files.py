"""Files of data that are small and unpack to much, or lead elsewhere."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from benchmarks.attacks import attack

_ZIP = zipfile.ZIP_DEFLATED


def _read(path: Path, **settings: str) -> str:
    from bongsu.corpus.readers import ReadStats, read
    from bongsu.errors import BongsuError
    from bongsu.recipe import Source

    stats, count, characters = ReadStats(1000), 0, 0
    try:
        for document in read(Source.model_validate({"path": str(path), **settings}), stats):
            count, characters = count + 1, characters + len(document.text)
    except BongsuError as error:
        return f"refused: {str(error).replace(str(path), path.name)[:90]}"
    return f"{count:,} rows, {characters:,} characters read; {stats.count} refused"


@attack("Parquet: run-length dictionary", "6.2 GB")
def _dictionary(folder: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"text": text}), folder / "a.parquet", compression="zstd")
    return _read(folder / "a.parquet")


@attack("Parquet: false footer", "6 GB")
def _footer(folder: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"] * 10}), folder / "a.parquet")
    content = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(content[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1")
    return _read(folder / "a.parquet")


@attack("xlsx: one shared string in 1,000 cells", "6.5 GB")
def _shared(folder: Path) -> str:
    import openpyxl

    book = openpyxl.Workbook()
    for row in [["SID", "원문", "번역문"], *([number, "SHARED", "SHARED"] for number in range(500))]:
        book.active.append(row)
    made = io.BytesIO()
    book.save(made)
    cell, link = b't="inlineStr"><is><t>SHARED</t></is>', b'<Relationship Type="x/sharedStrings" Target="strings.xml" Id="s" />'
    answers = []
    for length in (900_000, 6_000_000):
        with zipfile.ZipFile(made) as old, zipfile.ZipFile(folder / "a.xlsx", "w", _ZIP) as new:
            for name in old.namelist():
                content = old.read(name).replace(cell, b't="s"><v>0</v>')
                new.writestr(name, content.replace(b"</Relationships>", link + b"</Relationships>"))
            new.writestr("xl/strings.xml", b"<sst><si><t>" + b"x" * length + b"</t></si></sst>")
        answers.append(_read(folder / "a.xlsx"))
    return "; ".join(answers)


@attack("zstd: a wide list", "3.3 GB")
def _wide(folder: Path) -> str:
    import zstandard

    (folder / "a.json.zst").write_bytes(zstandard.compress(b'{"data": [' + b"[],[]," * 20_000_000 + b"[]]}"))
    return _read(folder / "a.json.zst")


@attack("zstd: one line of 1 GB")
def _line(folder: Path) -> str:
    import zstandard

    packer = zstandard.ZstdCompressor().compressobj()
    with open(folder / "a.jsonl.zst", "wb") as file:
        file.write(packer.compress(b'{"text": "'))
        for _ in range(1024):
            file.write(packer.compress(b"x" * 2**20))
        file.write(packer.flush())
    return _read(folder / "a.jsonl.zst")


@attack("JSON: 10,000,000 brackets deep")
def _deep(folder: Path) -> str:
    (folder / "a.json").write_bytes(b"[" * 10_000_000)
    return _read(folder / "a.json")


@attack("xlsx: entities within entities")
def _entities(folder: Path) -> str:
    names = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(10))
    with zipfile.ZipFile(folder / "a.xlsx", "w", _ZIP) as archive:
        for part in ("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml", "xl/worksheets/sheet1.xml"):
            archive.writestr(part, f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "x">{names}]><a>&a10;</a>')
    return _read(folder / "a.xlsx")


@attack("zip: 100,000 members")
def _members(folder: Path) -> str:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for number in range(100_000):
            archive.writestr(f"{number}.json", b"{}")
    return _read(folder / "a.zip")


@attack("zip within a zip, names that lead out")
def _nested(folder: Path) -> str:
    with zipfile.ZipFile(folder / "a.zip", "w", _ZIP) as archive:
        archive.writestr("../../outside.json", b'{"data": [{"ko": "a", "en": "b"}]}')
        archive.writestr("inner.zip", b"PK" + b"\0" * 10_000_000)
    return f"{_read(folder / 'a.zip')}; written outside: {(folder / '../../outside.json').exists()}"


@attack("recipe: reference:// chain", "environment read")
def _chain(folder: Path) -> str:
    (folder / "a.txt").write_text('{"version": 1, "templates": {}, "refs": {}}')
    answers = [
        _read(Path(path))
        for path in (
            f"reference://{folder}/a.txt::http://127.0.0.1:1/",
            "simplecache::file:///etc/passwd",
            "local:///etc/passwd",
        )
    ]
    assert all(answer.startswith("refused") for answer in answers), answers
    return f"{len(answers)} of {len(answers)} refused"


@attack("links out of a data folder, a pipe, a device, a ring of links")
def _links(folder: Path) -> str:
    data = folder / "data"
    data.mkdir()
    (folder / "secret.txt").write_text("the secret\n")
    (data / "fine.txt").write_text("a fine text\n")
    (data / "out.txt").symlink_to(folder / "secret.txt")
    (data / "zero.txt").symlink_to("/dev/zero")
    (data / "ring.txt").symlink_to(data / "ring.txt")
    (data / "up").symlink_to(folder)
    os.mkfifo(data / "pipe.txt")
    outcome = _read(data)
    assert outcome.startswith("1 rows, 11 characters"), outcome
    return outcome


@attack("UTF-16, a mark, three line ends, null bytes in one folder")
def _encodings(folder: Path) -> str:
    (folder / "a.txt").write_bytes("한글 하나\r\n둘\r\n".encode("utf-16"))
    (folder / "b.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\r\nthree\n")
    (folder / "c.txt").write_bytes(b"one\0two\nthree\n")
    (folder / "d.txt").write_bytes(b"old\rmac\r")
    return _read(folder)


@attack("JSON: huge numbers, NaN, keys twice, half an emoji")
def _numbers(folder: Path) -> str:
    lines = ['{"text": "good", "text": "better"}', '{"text": ' + "9" * 100_000 + "}", '{"text": NaN}', '{"text": 1e999}',
             '{"text": "\\ud83d"}', '{"text": ' + "[" * 5000 + "]" * 5000 + "}", "null", '{"text": "good"}']  # fmt: skip
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
    return _read(folder / "a.jsonl")


@attack("CSV: 2,000,000 columns, and a quote never closed")
def _columns(folder: Path) -> str:
    (folder / "a.csv").write_text("text" + ",a" * 2_000_000 + "\n" + ",".join("b" * 9) + "\n")
    with open(folder / "b.csv", "w") as file:
        file.write('id,text\n1,"')
        for _ in range(100_000):
            file.write("never closed " * 16 + "\n")
    answers = [_read(folder / "a.csv"), _read(folder / "b.csv")]
    assert all(answer.startswith("refused") for answer in answers), answers
    return answers[1]


@attack("recipe: 100,000 brackets deep, a number of 100,000 digits, binary")
def _recipes(folder: Path) -> str:
    from bongsu.errors import RecipeError
    from bongsu.recipe import load_recipe

    contents = [b"a = " + b"[" * 100_000, b"a = " + b"9" * 100_000, os.urandom(100_000), b"\xff\xfe"]
    refused = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.toml"
        path.write_bytes(content)
        try:
            load_recipe(path)
        except RecipeError as error:
            refused.append(str(error))
    assert len(refused) == len(contents), refused
    return f"{len(contents)} of {len(contents)} refused"


@attack("secrets in the address of a source", "in every row, report and model card")
def _secrets(folder: Path) -> str:
    from bongsu.corpus.readers import ReadStats, read
    from bongsu.errors import BongsuError
    from bongsu.files import redacted_text
    from bongsu.recipe import Source

    source = Source.model_validate({"path": "http://ann:hunter2@127.0.0.1:9/a.jsonl?token=hunter2#hunter2"})
    try:
        list(read(source, ReadStats(10)))
        said = "nothing"
    except BongsuError as error:
        said = str(error)
    assert "hunter2" not in said + redacted_text(f"at {source.path} failed"), said
    return said
