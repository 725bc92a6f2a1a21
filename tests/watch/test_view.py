from __future__ import annotations

import io
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from watching import made_stream, run

from bongsu.live_events import Event, MessageEvent
from bongsu.printable import printable
from bongsu.watch.messages import Arrival
from bongsu.watch.sources.base import Tally
from bongsu.watch.store import Store
from bongsu.watch.view import View


class Made:
    """The made stream, up to the middle of its events."""

    name, tally, live = "made", Tally(read=300, garbage=3), True

    async def arrivals(self, cursor):  # type: ignore[no-untyped-def]
        for message in made_stream(3)[:-100]:
            yield Arrival(message)


def test_the_view_shows_what_goes_on() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=30)
    with View(console) as view:
        assert "waiting" in shown(view)
        running = []

        def hear(event: Event) -> None:
            view.hear(event)
            if event["type"] == "alert":
                running.append(shown(view))

        run([Made()], Store(None), [], listener=hear, replayed=True)
        text = shown(view)
    assert "UTC" in text
    assert "unreadable 3" in text
    assert "lag" not in text  # time is the replay's
    assert re.search("explosion +boston", running[0])
    assert any(re.search("flood +manila", text) for text in running)
    assert "explosion" not in text.partition("latest messages")[0]  # it has ended
    assert "ALERT  explosion: boston" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "Oslo" in console.file.getvalue()  # type: ignore[attr-defined]


def shown(view: View) -> str:
    """What the view draws now. Not on its own console, which would add what it drew last."""
    console = Console(file=io.StringIO(), width=110, height=30)
    console.print(view.draw())
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


HOSTILE = "fire\x1b]52;c;aGk=\x07 \x9b2J \u202egnidaer\u2028next\nline \udcff"


def message_of(identity: str, text: str) -> MessageEvent:
    return {
        "type": "message", "id": identity, "source": "s", "author": "a", "text": text, "time": None, "url": "",
        "probability": 0.9, "threshold": 0.5,
    }  # fmt: skip


def test_strangers_text_moves_nothing_on_the_terminal() -> None:
    shown = printable(HOSTILE)
    assert "\n" not in shown
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in shown)
    assert r"\x1b]52;c;aGk=\x07" in shown
    assert printable("가족👨‍👩‍👧 é") == "가족👨‍👩‍👧 é"
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=30)
    with View(console) as view:
        view.hear(message_of("1", HOSTILE))
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "gnidaer" in drawn
    for bad in ("\x1b]52", "\x9b", "\u202e", "\u2028"):
        assert bad not in drawn


def test_with_a_view_standard_output_still_reaches_its_file(tmp_path: Path) -> None:
    """As at a terminal: the view is drawn on standard error, and standard output goes to a file."""
    code = (
        "import sys; from rich.console import Console; from bongsu.watch.view import View\n"
        "with View(Console(file=sys.stderr, force_terminal=True)):\n"
        "    for number in range(42): print(number, flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(number) for number in range(42)]


def drawn(width: int, height: int, encoding: str = "utf-8") -> list[str]:
    """The lines of a view with more than it can hold."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    console = Console(file=file, force_terminal=True, width=width, height=height, no_color=True)
    view = View(console)
    raised = "2026-01-01T10:05:00Z"
    for number in range(40):
        alert: Any = {
            "type": "alert",
            "id": str(number),
            "state": "updated",
            "hazard": "landslide",
            "places": ["해운대구", "Busan"] * 9,
            "first_message": "2026-01-01T10:00:00Z",
            "raised": raised,
            "latest_message": "2026-01-01T10:09:00Z",
            "closed": None,
            "messages": 1_234 + number,
            "evidence": [{"text": "산불 fire " * 30}],
        }
        view.hear(alert)
        view.hear(message_of(str(number), f"{number} 글 " * 80))
    losses = {"dropped": 7, "late": 1, "misdated": 0, "garbage": 3}
    running = [{"id": "39", "messages": 77_777}]
    numbers = {"rate": 3.0, "lag": 1.0, "share": 0.5, "received": 9, "queue": 0}
    status: Any = {"type": "status", "time": raised, **numbers, **losses, "running": running}
    view.hear(status)
    with console.capture() as captured:
        console.print(view.draw())
    return captured.get().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [30, 59, 60, 80, 109, 110, 200])
@pytest.mark.parametrize("height", [8, 24, 50])
def test_the_view_never_wraps_nor_outgrows_the_terminal(width: int, height: int) -> None:
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in drawn(width, height)]
    assert len(lines) < height
    assert all(cell_len(line) <= width for line in lines)
    assert "77,777" in "\n".join(lines)
    assert "dropped 7" in lines[0]
    if height == 50:
        assert sum(" 글 " in line for line in lines) > 5
    counts = [(line, found.end()) for line in lines if (found := re.search(r"\d\d?,\d{3}(?=  )", line))]
    ends = {cell_len(line[:end]) for line, end in counts}
    assert len(ends) == 1  # fixed columns


def test_the_view_without_unicode_or_colour() -> None:
    text = "\n".join(drawn(80, 24, "ascii"))
    assert text.isascii()
    assert "\\u" not in text
    assert "?" in text
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", text)


def test_what_is_taken_back_leaves_the_view() -> None:
    view = View(Console(file=io.StringIO(), width=80, height=24))
    view.hear(message_of("1", "gone"))
    view.hear({**message_of("1", "here"), "source": "t"})
    view.hear({"type": "deletion", "id": "", "author": "a", "source": "s"})
    assert "gone" not in shown(view)
    assert "here" in shown(view)
