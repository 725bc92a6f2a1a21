"""The errors Bongsu raises on purpose: each says what is wrong, where, and what to do.

Anything else that reaches the user is a bug. The command line prints these without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec


class BongsuError(Exception):
    """Root of every error raised on purpose; `str(error)` is the message a user reads."""


class RecipeError(BongsuError):
    """A recipe that cannot be run: an unknown key, a wrong type, an impossible size."""


class DataError(BongsuError):
    """Input that cannot be read. The message begins with the place (`file:line`, `file:row`)."""


class MissingColumnError(DataError):
    """A column that a setting names and that the file does not have; `advise` adds which setting to change."""

    def __init__(self, where: str, column: str, columns: Sequence[str], advice: str = "") -> None:
        self.where, self.column, self.columns = where, column, list(columns)
        there = ", ".join(self.columns[:50])
        super().__init__(f"{where}: there is no column {column!r}; the columns are {there}." + (f" {advice}" if advice else ""))

    def advise(self, advice: str) -> MissingColumnError:
        """Return the same error with a sentence that says what to do."""
        return MissingColumnError(self.where, self.column, self.columns, advice)


class WorkspaceError(BongsuError):
    """A run's folder that cannot be used: damaged, in use, or on a full disk."""


class TrainingError(BongsuError):
    """Training that must stop: a non-finite loss, no valid checkpoint, not enough memory."""


class OutOfMemoryError(TrainingError):
    """Training that needs more memory than the device has; the message says what would fit."""


class MissingExtraError(BongsuError):
    """A verb that needs packages that are not installed; the message says which extra to install."""


def need(package: str, extra: str) -> None:
    """Refuse to go on without an optional package.

    Raises:
        MissingExtraError: saying which extra to install.
    """
    if find_spec(package) is None:
        raise MissingExtraError(f"This needs packages that are not installed: pip install 'bongsu[{extra}]'")


class LibraryPanicError(BongsuError):
    """A library written in Rust gave up in the middle of a call, mostly because of one text."""


@contextmanager
def panics_as_errors(what: str) -> Iterator[None]:
    """Raise a panic of a library written in Rust as an error; also usable as a decorator.

    Such a panic (PyO3's PanicException) is a BaseException, so that no `except Exception` catches it.

    Args:
        what: the beginning of the message, such as "The tokenizer cannot read this text".

    Raises:
        LibraryPanicError: in place of a panic.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise LibraryPanicError(f"{what} ({error}).") from None
