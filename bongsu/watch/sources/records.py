"""Messages in what people send: JSON (a line each, arrays, pretty-printed), tables with a header, or plain text."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, Literal, TypeAlias

import orjson

from bongsu.corpus.detection import AROUND_JSON
from bongsu.errors import DataError
from bongsu.watch.messages import Deletion, Item, Message, made_id, tidy, tidy_id, web_address
from bongsu.watch.sources.safety import reference_of
from bongsu.watch.times import read_time

Mode: TypeAlias = Literal["", "json", "table", "text"]
_MOST_PENDING = 1 << 20
"""Bytes that an unfinished record may have."""
_MOST_LINES = 100
"""Lines that a quoted cell may span; beyond that the quote was none."""
_NAMES = {
    "id": ("id_str", "id", "uri", "tweet_id", "message_id", "_id", "guid", "번호"),
    "text": (
        *("full_text", "text", "content", "message", "body", "msg", "tweet", "tweet_text"),
        *("내용", "본문", "메시지", "텍스트", "글"),
    ),
    "time": (
        *("time", "created_at", "createdAt", "timestamp", "@timestamp", "timestamp_ms", "datetime", "date", "ts"),
        *("published", "published_at", "publishedAt", "pubDate", "created", "created_utc", "sent_at", "indexedAt"),
        *("시각", "시간", "일시", "날짜", "작성일", "작성일시", "작성시각", "등록일시"),
    ),
    "author": ("author", "author_id", "user", "user_id", "username", "screen_name", "acct", "account", "did", "작성자"),
    "url": ("url", "link", "permalink", "html_url", "uri", "주소", "링크"),
}
_INNER = ("data", "_source", "status", "tweet", "payload", "record", "message", "post")
"""Where a record may carry the message itself."""
_HEADINGS = {key.casefold(): name for name, keys in _NAMES.items() for key in keys}
_AUTHOR = ("id_str", "id", "acct", "username", "screen_name", "name")


@dataclass(frozen=True)
class Reading:
    """How records are read."""

    zone: tzinfo = UTC
    """Of times that name none."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """For `text`, `time`, `id`, `author` and `url`, the key or column that holds it, where it has no usual name."""


def columns_of(given: Sequence[str]) -> dict[str, str]:
    """Return what `--columns text=body,time=when` says.

    Raises:
        DataError: when it is written otherwise.
    """
    pairs = [part.partition("=") for text in given for part in text.split(",")]
    for name, _, column in pairs:
        if name not in _NAMES or not column:
            raise DataError(f"--columns {','.join(given)}: write it as text=COLUMN,time=COLUMN; there are {', '.join(_NAMES)}.")
    return {name: column for name, _, column in pairs}


def message_of(record: object, source: str, now: float | None, reading: Reading | None = None) -> Message | None:
    """Return the message in a JSON record or a table's row, whose keys may have any of the usual names; None without one.

    Args:
        now: the time of a message that has none; None when such a message cannot be used.
    """
    reading = reading or Reading()
    if not isinstance(record, Mapping):
        return None
    text = _field(record, "text", reading)
    if isinstance(extended := record.get("extended_tweet"), Mapping):
        text = extended.get("full_text", text)
    if not isinstance(text, str):
        inner = next((record[key] for key in _INNER if isinstance(record.get(key), Mapping)), None)
        if inner is None or any(isinstance(inner.get(key), Mapping) for key in _INNER if key not in ("message", "data")):
            return None
        stated = _field(record, "time", reading)
        return message_of({"time": stated, **inner} if stated is not None else inner, source, now, reading)
    stated = _field(record, "time", reading)
    time = now if stated is None or stated == "" else read_time(stated, reading.zone)
    text = tidy(text)
    if time is None or not text:
        return None
    author = _field(record, "author", reading)
    if isinstance(author, Mapping):
        author = next((author[key] for key in _AUTHOR if isinstance(author.get(key), str | int)), "")
    author = tidy_id(str(author)) if isinstance(author, str | int) else ""
    given = _field(record, "id", reading)
    identity = tidy_id(str(given)) if isinstance(given, str | int) else ""
    url = web_address(_field(record, "url", reading))
    return Message(identity or made_id(author, text, time), text, time, author, source, url)


def _field(record: Mapping[str, Any], name: str, reading: Reading) -> Any:
    if name in reading.columns:
        return record.get(reading.columns[name])
    for key in _NAMES[name]:
        value = record.get(key)
        if value is not None and not (name == "text" and not isinstance(value, str)):
            return value
    return None


def item_of(record: object, source: str, now: float | None, reading: Reading | None = None) -> Item | None:
    """Return the item in a record: a message, an official record (`MSG_CN`), or `{"delete": ID}`; None for garbage."""
    if isinstance(record, Mapping):
        if "MSG_CN" in record:
            return reference_of(record)
        gone = record.get("delete")
        if isinstance(gone, Mapping) and isinstance(gone.get("status"), Mapping):  # as Twitter's streams say it
            gone = gone["status"].get("id_str", gone["status"].get("id"))
        if isinstance(gone, str | int) and not isinstance(gone, bool):
            return Deletion(tidy_id(str(gone)), source=source)
    return message_of(record, source, now, reading)


class Records:
    """Reads items off lines; what the lines are, the first of them shows."""

    def __init__(self, source: str, reading: Reading, mode: Mode = "", header: Sequence[str] = ()) -> None:
        """Args: mode, header: what `state` returned, to go on in the middle."""
        self._source, self._reading, self.mode, self._header = source, reading, mode, list(header)
        self._delimiter = ","
        if self._header:
            *self._header, self._delimiter = self._header
        self._open: list[str] = []
        self._quotes = 0
        """Of the lines of a row of a table that is not ended."""
        self._depth = 0
        """Brackets that are open in a JSON value that is not ended."""
        self.pending = 0
        """Bytes of lines that belong to an unfinished record."""

    def state(self) -> tuple[Mode, list[str]]:
        """Return what is known of the lines."""
        return self.mode, [*self._header, self._delimiter] if self._header else []

    def read(self, line: bytes, now: float | None) -> Iterator[Item | None]:
        """Yield the items that a line ends; None for each record that is garbage."""
        text = decoded(line)
        if not self._open:
            if not self.mode:
                text = text.lstrip("\ufeff")
            if not text.strip():
                return
        self.pending += len(line)
        yield from self._read(text, now)
        if not self._open:
            self.pending = 0

    def finish(self, now: float | None) -> Iterator[Item | None]:
        """Yield what is left when no line follows."""
        if self._open and self.mode == "table":
            yield from self._rows("".join(self._open), now)
        elif self._open:
            yield None
        self._open, self._quotes, self.pending = [], 0, 0

    def _read(self, text: str, now: float | None) -> Iterator[Item | None]:
        if not self.mode:
            self.mode = self._recognised(text)
            if self.mode == "table":
                return
        if self.mode == "text" and isinstance(parsed(text.strip(_AROUND)), dict):
            self.mode = "json"  # the lines before were something else
        if self.mode == "text":
            yield self._item({"text": text}, now)
        elif self.mode == "table":
            yield from self._table(text, now)
        else:
            yield from self._json(text, now)

    def _item(self, record: object, now: float | None) -> Item | None:
        return item_of(record, self._source, now, self._reading)

    def _recognised(self, text: str) -> Mode:
        if (start := text.strip(_AROUND)) and (_JSON.match(start) or isinstance(parsed(f"{{{start}}}"), dict)):
            return "json"
        delimiter = max(",\t;|", key=text.count)
        try:
            cells = next(csv.reader([text.strip("\r\n")], delimiter=delimiter), [])
        except csv.Error:  # longer than any name of a column
            cells = []
        header = [cell.strip().strip("\ufeff") for cell in cells]
        wanted = self._reading.columns
        if wanted and (missing := set(wanted.values()) - set(header)):
            raise DataError(f"{self._source}: no column {', '.join(sorted(missing))}; there are {', '.join(header)[:200]}.")
        if wanted or "text" in [_HEADINGS.get(name.casefold()) for name in header]:
            canonical = {key.casefold(): key for keys in _NAMES.values() for key in keys}
            self._header = header if wanted else [canonical.get(name.casefold(), name) for name in header]
            self._delimiter = delimiter
            return "table"
        return "text"

    def _table(self, text: str, now: float | None) -> Iterator[Item | None]:
        self._open.append(text)
        self._quotes += text.count('"')
        if self._quotes % 2 == 0:
            whole, self._open, self._quotes = "".join(self._open), [], 0
            yield from self._rows(whole, now)
        elif len(self._open) > _MOST_LINES:
            (_, *others), self._open, self._quotes = self._open, [], 0
            yield None
            for line in others:
                yield from self._table(line, now)

    def _rows(self, text: str, now: float | None) -> Iterator[Item | None]:
        try:
            rows = list(csv.reader(text.splitlines(keepends=True), delimiter=self._delimiter))
        except csv.Error:
            rows = [[]]
        for row in rows:
            fits = len(row) == len(self._header)
            yield self._item(dict(zip(self._header, row, strict=True)), now) if fits else None

    def _json(self, text: str, now: float | None) -> Iterator[Item | None]:
        """Read JSON: values a line, also with commas and brackets around them, and values over several lines.

        With what is broken the rest of the line is given up: to look on costs its whole length again.
        """
        start = text.strip(_AROUND)
        value = parsed(start) if start[:1] in ("{", "[") else None
        if self._open:
            if text[0] == "{" and isinstance(value, dict):  # what is within a record is indented: that one was cut short
                yield None
                self._open = []
            else:
                self._depth += _depth(text)
                if self._depth > 0 and self.pending <= _MOST_PENDING:
                    self._open.append(text)
                    return
        if not self._open and value is not None:
            yield from self._items(value, now)
            return
        whole, self._open = "".join([*self._open, text]), []
        end, at = len(whole.rstrip()), 0
        while (at := _BETWEEN.match(whole, at).end()) < end:  # type: ignore[union-attr]
            if whole[at] != "{":
                yield None
                if (at := whole.find("{", at)) < 0:
                    return
            try:
                record, at = _DECODER.raw_decode(whole, at)
            except (ValueError, RecursionError) as error:
                # more lines belong to it, unless it ends within a string, where no line may
                unfinished = isinstance(error, json.JSONDecodeError) and error.pos >= end and "control" not in error.msg
                if unfinished and len(whole) - at <= _MOST_PENDING:
                    self._open, self._depth, self.pending = [whole[at:]], _depth(whole[at:]), len(whole) - at
                else:
                    yield None
                return
            yield from self._items(record, now)

    def _items(self, value: object, now: float | None) -> Iterator[Item | None]:
        """Yield the items of a JSON value: of a record, of a list of them, or of the list that it holds as `data`."""
        inner = value.get("data") if isinstance(value, Mapping) else None
        records = value if isinstance(value, list) else inner if isinstance(inner, list) else [value]
        for record in records:
            yield self._item(record, now)


_DECODER = json.JSONDecoder()
_AROUND = AROUND_JSON.decode()
_JSON = re.compile(r"\{|\[\s*(?:[{\]\"]|$)")
"""How lines of JSON begin; a text may begin with [BREAKING]."""
_BETWEEN = re.compile(r"[\[\], \t\r\n\x1e]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def _depth(text: str) -> int:
    """Return how many brackets are opened in a piece of JSON, less those that are closed."""
    bare = _STRING.sub("", text)
    return bare.count("{") + bare.count("[") - bare.count("}") - bare.count("]")


def decoded(line: bytes) -> str:
    """Return a line's text: UTF-8, else cp949 (Korean Windows), whichever has less damage."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        damaged = line.decode("utf-8", "replace")
    try:
        korean = line.decode("cp949")
    except UnicodeDecodeError:
        return damaged
    sound = sum(letter > "\x7f" for letter in damaged) - damaged.count("\ufffd")
    return damaged if sound > damaged.count("\ufffd") else korean


def parsed(text: str) -> object | None:
    """Return a JSON value, or None; half an emoji, NaN and what else is common are no reason to refuse it."""
    try:
        return orjson.loads(text)  # type: ignore[no-any-return]
    except (orjson.JSONDecodeError, UnicodeError):
        pass
    try:
        return json.loads(text)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        return None
