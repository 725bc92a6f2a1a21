"""The terminal view: rate, lag, share of disasters, losses, running alerts."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bongsu.printable import printable
from bongsu.progress import duration, short

_ALERTS = 12
_MESSAGES = 5


class View:
    """Listens to a watch and draws it; a context manager."""

    def __init__(self, console: Console) -> None:
        self._status: dict[str, Any] = {}
        self._alerts: dict[str, dict[str, Any]] = {}
        self._messages: deque[dict[str, Any]] = deque(maxlen=_MESSAGES)
        # Redirected, standard output would never reach a file. On a terminal its lines are printed above the view.
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self.draw, redirect_stdout=sys.stdout.isatty())

    def __enter__(self) -> View:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def hear(self, event: dict[str, Any]) -> None:
        """Takes in what the watch tells."""
        if event["type"] == "status":
            self._status = event
        elif event["type"] == "message":
            self._messages.append(event)
        elif event["type"] == "alert" and event["state"] == "closed":
            self._alerts.pop(event["id"], None)
        elif event["type"] == "alert":
            self._alerts[event["id"]] = event

    def draw(self) -> Group:
        """What is shown now."""
        return Group(
            self._line(), Panel(self._table(), title="running alerts", title_align="left"), *map(_message, self._messages)
        )

    def _line(self) -> Text:
        status = self._status
        if not status:
            return Text("waiting for messages", style="dim")
        lag = "" if status["lag"] is None else f"  ·  lag {duration(status['lag'])}"
        line = Text(f"{_minute(status['time'])}  ·  {short(status['rate'])} messages/s{lag}")
        line.append(f"  ·  disasters {status['share']:.1%}")
        line.append(f"  ·  {status['received']:,} received, queue {status['queue']:,}", style="dim")
        for name in ("dropped", "late", "misdated", "garbage"):
            if status[name]:
                line.append(f"  ·  {name} {status[name]:,}", style="yellow")
        return line

    def _table(self) -> Table | Text:
        if not self._alerts:
            return Text("none", style="dim")
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("since", "event", "messages", "copies", "evidence"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        for alert in list(self._alerts.values())[-_ALERTS:]:
            text = alert["evidence"][0]["text"] if alert["evidence"] else ""
            row = (
                _minute(alert["raised"]),
                alert["title"],
                f"{alert['messages']:,}",
                f"{alert['copies']:,}",
                text,
            )
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table


def _minute(time: str | None) -> str:
    return f"{time[:16].replace('T', ' ')} UTC" if time else "–"


def _message(event: dict[str, Any]) -> Text:
    return Text(f"{event['probability']:.2f}  {printable(event['text'])}", style="dim", no_wrap=True, overflow="ellipsis")
