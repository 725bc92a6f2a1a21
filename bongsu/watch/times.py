"""Times as messages write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bongsu.errors import DataError

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
_LATEST = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
_NUMBER = re.compile(r"[+-]?\d{9,}(?:\.\d*)?|[+-]?\d+\.\d+|[+-]?\d+(?:\.\d*)?[eE]\+?\d+")
_ZONES = {"Z": "+00:00", "UTC": "+00:00", "GMT": "+00:00", "KST": "+09:00", "JST": "+09:00"}
_NAMED_ZONE = re.compile(rf"\s*\(?\b({'|'.join(_ZONES)})\)?$")
_REGION = re.compile(r"\[[\w/+-]+\]$")  # as Java writes: 2023-11-14T22:13:20Z[UTC]
_SPACED_ZONE = re.compile(r"\s+([+-]\d\d:?\d\d)$")
_KOREAN = re.compile(
    r"(\d{4})년\s*(\d{1,2})월\s*(\d{1,2})일\s*(오전|오후)?\s*(\d{1,2})(?:시|:)\s*(\d{1,2})(?:분|:)?\s*(?:(\d{1,2})초?)?"
)
_YEAR_FIRST = re.compile(
    r"(\d{4})[/.-]\s?(\d{1,2})[/.-]\s?(\d{1,2})\.?(?:[T\s]+(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?([+-]\d\d:?\d\d)?"
)
_YEAR_LAST = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:,?\s+(\d{1,2}):(\d\d)(?::(\d\d))?)?(\s*[AaPp][Mm])?")
_FORMS = (
    "%a %b %d %H:%M:%S %z %Y",  # Twitter's created_at
    "%a %b %d %H:%M:%S %Y",  # C's asctime
    "%d/%b/%Y:%H:%M:%S %z",  # logs of web servers
    "%b %d, %Y %I:%M:%S %p",
    "%b %d, %Y, %I:%M:%S %p",
    "%d %b %Y %H:%M:%S",
    "%d %b %Y %H:%M:%S %z",
)


def time_zone(name: str) -> tzinfo:
    """Return the zone of a name such as Asia/Seoul, or of an offset such as +09:00.

    Raises:
        DataError: when there is none.
    """
    if found := re.fullmatch(r"([+-])(\d\d):?(\d\d)", name):
        minutes = 60 * int(found[2]) + int(found[3])
        if minutes < 1440:
            return timezone(timedelta(minutes=minutes if found[1] == "+" else -minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(f"--timezone {name}: no such zone; write it as Asia/Seoul or +09:00.") from None


def read_time(value: object, zone: tzinfo = UTC) -> float | None:
    """Return the seconds since 1970 that a time stands for; None when it is not understood.

    Args:
        value: a number of seconds, milliseconds, microseconds or nanoseconds; or a text: ISO 8601, RFC 2822, and what
            Twitter, web servers, Java and Korean tables write. Of 3/4/2023 nobody knows the month: it is not understood.
        zone: of a text that names none.
    """
    if isinstance(value, Mapping):
        value = value.get("$date", value.get("$numberLong"))
    if isinstance(value, str):
        text = value.strip()
        moment = None if _NUMBER.fullmatch(text) else _moment(text)
        if moment is not None:
            with suppress(OverflowError, ValueError):
                value = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
        else:
            try:
                value = float(text)
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    if not math.isfinite(seconds):
        return None
    while seconds > _LATEST:
        seconds /= 1000
    return seconds if seconds >= _EARLIEST else None


def _moment(text: str) -> datetime | None:
    if len(text) > 80:
        return None
    text = _REGION.sub("", text)
    text = _NAMED_ZONE.sub(lambda match: _ZONES[match[1]], text)
    text = text if text[:1].isalpha() else _SPACED_ZONE.sub(r"\1", text)
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    with suppress(ValueError):
        if found := _KOREAN.fullmatch(text):
            year, month, day, half, hour, minute, second = found.groups()
            return datetime(int(year), int(month), int(day), _hour(hour, half), int(minute), int(second or 0))
        if found := _YEAR_FIRST.fullmatch(text):
            year, month, day, hour, minute, second, fraction, offset = found.groups()
            date = int(year), int(month), int(day)
            millionths = int((fraction or "0").ljust(6, "0")[:6])
            moment = datetime(*date, int(hour or 0), int(minute or 0), int(second or 0), millionths)
            return moment.replace(tzinfo=_offset(offset)) if offset else moment
        if found := _YEAR_LAST.fullmatch(text):
            first, second_part, year, hour, minute, second, half = found.groups()
            month_of_year, day_of_month = int(first), int(second_part)
            if "." in text[:6] or month_of_year > 12:  # 14.11.2023
                month_of_year, day_of_month = day_of_month, month_of_year
            elif day_of_month <= 12 and month_of_year != day_of_month:
                return None
            return datetime(int(year), month_of_year, day_of_month, _hour(hour, half), int(minute or 0), int(second or 0))
    spaced = re.sub(r"(?<=[\d ])([+-]\d\d):?(\d\d)$", r" \1\2", text).replace("  ", " ")
    for form in _FORMS:
        with suppress(ValueError):
            return datetime.strptime(spaced, form)
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        return parsedate_to_datetime(spaced)
    return None


def _hour(hour: str | None, half: str | None) -> int:
    """Return the hour of the day; of twelve, with the half of the day that Korean or English names."""
    if half is None:
        return int(hour or 0)
    return int(hour or 0) % 12 + 12 * (half.strip().lower() in ("오후", "pm"))


def _offset(text: str) -> timezone:
    minutes = 60 * int(text[1:3]) + int(text[-2:])
    return timezone(timedelta(minutes=minutes if text[0] == "+" else -minutes))
