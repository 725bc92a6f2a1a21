"""The terminal view: state, running alerts in fixed columns, and as many of the latest messages as there is room for."""

from __future__ import annotations

import sys
from collections import deque
from datetime import datetime
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bongsu.live_events import AlertEvent, Event, MessageEvent, StatusEvent, takes_back
from bongsu.printable import printable
from bongsu.progress import duration, short
from bongsu.watch.stream import LOSSES

_MESSAGES = 100
_HEADINGS = 4
"""Lines that are neither an alert nor a message: the state, headings, and the last line, which stays free."""
_NARROW, _WIDE = 60, 110
"""Columns below which places and last messages are left out, and from which evidence is shown."""


class View:
    """Listens to a watch and draws it; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._unicode = console.encoding.lower().startswith("utf")
        self._status: StatusEvent | None = None
        self._alerts: dict[str, AlertEvent] = {}
        self._messages: deque[MessageEvent] = deque(maxlen=_MESSAGES)
        # Redirected, standard output would never reach a file. On a terminal its lines are printed above the view.
        self._live = Live(
            console=console,
            refresh_per_second=4,
            get_renderable=self.draw,
            redirect_stdout=sys.stdout.isatty(),
            vertical_overflow="crop",
        )

    def __enter__(self) -> View:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def hear(self, event: Event) -> None:
        """Take in what the watch publishes; that an alert opens or ends is also printed above the view, where it stays."""
        match event["type"]:
            case "status":
                self._status = event
                for now in event["running"]:
                    if now["id"] in self._alerts:
                        self._alerts[now["id"]] = {**self._alerts[now["id"]], **now}
            case "message":
                self._messages.append(event)
            case "deletion":
                kept = [one for one in self._messages if not takes_back(event, one)]
                self._messages = deque(kept, _MESSAGES)
            case "alert":
                if event["state"] == "closed":
                    self._alerts.pop(event["id"], None)
                else:
                    self._alerts[event["id"]] = event
                if event["state"] != "updated":
                    self._console.print(self._cut(self._change(event)))

    def draw(self) -> Group:
        """Return what is shown now, never higher than the terminal."""
        width, height = self._console.size
        room = max(2, height - _HEADINGS - 1)
        alerts = list(self._alerts.values())[-max(1, room // 2) :]
        messages = list(self._messages)[-max(1, room - max(1, len(alerts))) :]
        shown: list[Text | Table] = [self._line(), Text("running alerts", style="bold")]
        shown.append(self._table(alerts, width) if alerts else Text("none", style="dim"))
        if messages:
            shown += [Text("latest messages", style="bold"), *map(self._message, messages)]
        return Group(*shown)

    def _line(self) -> Text:
        status = self._status
        if status is None:
            return Text("waiting for messages", style="dim")
        losses = [f"{word} {status[name]:,}" for name, word in LOSSES.items() if status[name]]
        parts = [_time(status["time"], zone=True) or "-", *losses, f"{short(status['rate'])} messages/s"]
        if status["lag"] is not None:
            parts.append(f"lag {duration(status['lag'])}")
        parts += [f"alarms {status['share']:.1%}", f"{status['received']:,} received, queue {status['queue']:,}"]
        separator = "  ·  " if self._unicode else "  |  "
        return self._cut(separator.join(parts))

    def _table(self, alerts: list[AlertEvent], width: int) -> Table:
        narrow, wide = width < _NARROW, width >= _WIDE
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True, show_edge=False)
        overflow: Literal["ellipsis", "crop"] = "ellipsis" if self._unicode else "crop"
        table.add_column("event", width=11, no_wrap=True, overflow=overflow)
        if not narrow:
            table.add_column("place", ratio=1, min_width=8, no_wrap=True, overflow=overflow)
        table.add_column("messages", width=8, justify="right", no_wrap=True)
        for heading in ("since",) if narrow else ("since", "last"):
            table.add_column(heading, width=5 if narrow else 11, no_wrap=True)
        if wide:
            table.add_column("evidence", ratio=2, no_wrap=True, overflow=overflow)
        for alert in alerts:
            since, last = _time(alert["first_message"] or alert["raised"]), _time(alert["latest_message"])
            evidence = alert["evidence"][0]["text"] if alert["evidence"] else ""
            cells = [alert["hazard"], *([] if narrow else [", ".join(alert["places"])]), f"{alert['messages']:,}"]
            cells += [since[-5:]] if narrow else [since, last]
            table.add_row(*(Text(self._safe(cell)) for cell in [*cells, *([evidence] if wide else [])]))
        return table

    def _change(self, alert: AlertEvent) -> str:
        word = "ALERT" if alert["state"] == "opened" else "ended"
        return f"{_time(alert['closed'] or alert['raised'])}  {word}  {alert['title']}  ({alert['messages']:,} messages)"

    def _message(self, event: MessageEvent) -> Text:
        return self._cut(f"{event['probability']:.2f}  {event['text']}", style="dim")

    def _cut(self, text: str, style: str = "") -> Text:
        """Return one line, which is cut at the terminal's edge: a line that wraps would tear the view."""
        return Text(self._safe(text), style=style, no_wrap=True, overflow="ellipsis" if self._unicode else "crop")

    def _safe(self, text: str) -> str:
        """Return the text without control characters, and with a question mark for what the terminal cannot show."""
        shown = printable(text)
        return shown if self._unicode else shown.encode(self._console.encoding, "replace").decode(self._console.encoding)


def _time(time: str | None, zone: bool = False) -> str:
    """Return a moment in the machine's time zone, without the day when it is today."""
    if not time:
        return ""
    moment = datetime.fromisoformat(time).astimezone()
    today = moment.date() == datetime.now().date()
    return moment.strftime(("%H:%M" if today else "%m-%d %H:%M") + (" %Z" if zone else ""))
