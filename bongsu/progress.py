"""Terminal output: progress bars with rate and time left, tables, short notes. Everything goes to standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from bongsu.files import redacted_text
from bongsu.printable import count

__all__ = [
    "Bar",
    "bar",
    "console",
    "count",
    "duration",
    "escape",
    "grid",
    "note",
    "number_text",
    "short",
    "silence",
    "table",
    "warn",
]

console = Console(stderr=True, highlight=False)


class Bar(Protocol):
    """A progress bar."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Advance the bar by `amount` units; `note` replaces the text at its end."""


class _Rate(ProgressColumn):
    """Units a second, with thousands as k and millions as M."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{short(speed)} {task.fields['unit']}/s", style="cyan")


class _RichBar:
    def __init__(self, progress: Progress, task: int) -> None:
        self._progress = progress
        self._task = task

    def advance(self, amount: float = 1, note: str = "") -> None:
        if note:
            self._progress.update(self._task, advance=amount, note=note)  # type: ignore[arg-type]
        else:
            self._progress.update(self._task, advance=amount)  # type: ignore[arg-type]


@contextmanager
def bar(title: str, total: float | None, unit: str, done: float = 0) -> Iterator[Bar]:
    """Show a progress bar with rate and time left; without `total` a spinner that counts."""
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=24),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    ]
    with Progress(*columns, console=console, transient=True) as progress:
        yield _RichBar(progress, progress.add_task(title, total=total, completed=done, unit=unit, note=""))  # type: ignore[arg-type]


def note(text: str) -> None:
    """Print one line for the reader, without secrets in URLs."""
    console.print(redacted_text(text), soft_wrap=True)


@contextmanager
def silence() -> Iterator[None]:
    """Suppress output, as in all but one of several processes."""
    console.quiet = True
    try:
        yield
    finally:
        console.quiet = False


def warn(text: str) -> None:
    """Print a warning in one line, without secrets in URLs."""
    console.print(f"[yellow]warning:[/yellow] {redacted_text(text)}", soft_wrap=True)


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a small table; numbers are right-aligned."""
    console.print(grid(redacted_text(title), headings, rows))


def grid(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return what `table` prints."""
    made = Table(
        title=title or None, title_justify="left", title_style="bold", header_style="dim", box=None, padding=(0, 2, 0, 0)
    )
    for index, heading in enumerate(headings):
        number = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        made.add_column(heading, justify="right" if number else "left")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, str) else number_text(cell) for cell in row))
    return made


def number_text(value: object) -> str:
    """Format whole numbers with thousands separators, others with four digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def short(value: float) -> str:
    """Format 1234567 as 1.2M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}{letter}"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}"


def duration(seconds: float | None) -> str:
    """Format as 0.4 s, 12 s, 3 min 20 s, 2 h 05 min, 6 d 03 h."""
    if seconds is None:
        return "–"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400:,} d {whole % 86400 // 3600:02d} h"
