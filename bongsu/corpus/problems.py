"""Bad places in the input: counted, shown, and too many of them an error."""

from __future__ import annotations

from bongsu.errors import DataError
from bongsu.progress import escape, warn

_SHOWN = 3
_KEPT = 20


class Problems:
    """Counts what had to be passed over in a source, up to `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self.examples: list[str] = []

    def skip(self, place: str, why: str) -> None:
        """Passes over a bad place.

        Raises:
            DataError: when there are more than `limit` of them.
        """
        self.count += 1
        message = f"{place}: {why}"
        if len(self.examples) < _KEPT:
            self.examples.append(message)
        if self.count > self.limit:
            raise DataError(
                f"{message}. That is bad place number {self.count}; max_bad = {self.limit} of them are passed over at most."
            )
        if self.count <= _SHOWN:
            warn(f"{escape(message)}; passed over")

    def decode(self, line: bytes | None, place: str, encoding: str) -> str | None:
        """A line as text; None when it is bad."""
        if line is None:
            self.skip(place, "a line of more than 64 MiB")
            return None
        if line.startswith((b"\xff\xfe", b"\xfe\xff")) and encoding == "utf-8":
            raise DataError(f"{place}: the file is UTF-16; set encoding = 'utf-16' is not streamed, convert it to UTF-8 first.")
        try:
            text = line.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        except LookupError:
            raise DataError(f"{place}: {encoding!r} is not an encoding Python knows.") from None
        except UnicodeError:
            self.skip(place, f"not {encoding}{_hint(line, encoding)}")
            return None
        if "\x00" in text:
            self.skip(place, "holds NUL characters; is this a text file?")
            return None
        return text

    def summary(self) -> str:
        """For the end of an error message."""
        return f" ({self.count} bad places, the first: {self.examples[0]})" if self.examples else ""


def _hint(line: bytes, encoding: str) -> str:
    try:
        korean = any("가" <= character <= "힣" for character in line.decode("cp949"))
    except UnicodeError:
        korean = False
    return "; it reads as Korean with encoding = 'cp949'" if korean and encoding != "cp949" else ""
