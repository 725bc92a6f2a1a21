from __future__ import annotations

import io
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

from rich.console import Console
from watching import made_stream, run

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

        def hear(event: dict[str, Any]) -> None:
            view.hear(event)
            if event["type"] == "alert":
                running.append(shown(view))

        run([Made()], Store(None), [], listener=hear, replayed=True)
        text = shown(view)
    assert "UTC" in text
    assert "garbage 3" in text
    assert "lag" not in text  # time is the replay's
    assert "explosion: boston" in running[0]
    assert any("flood: manila" in text for text in running)
    assert "explosion" not in text  # a stream that ends closes all
    assert "Oslo" in console.file.getvalue()  # type: ignore[attr-defined]


def shown(view: View) -> str:
    """What the view draws now. Not on its own console, which would add what it drew last."""
    console = Console(file=io.StringIO(), width=110, height=30)
    console.print(view.draw())
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


HOSTILE = "fire\x1b]52;c;aGk=\x07 \x9b2J \u202egnidaer\u2028next\nline \udcff"


def test_strangers_text_moves_nothing_on_the_terminal() -> None:
    shown = printable(HOSTILE)
    assert "\n" not in shown
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in shown)
    assert r"\x1b]52;c;aGk=\x07" in shown
    assert printable("가족👨‍👩‍👧 é") == "가족👨‍👩‍👧 é"
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=30)
    with View(console) as view:
        view.hear({"type": "message", "probability": 0.9, "text": HOSTILE})
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
