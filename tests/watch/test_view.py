from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from watching import made_stream, run

from bongsu.watch.messages import Arrival
from bongsu.watch.store import Store
from bongsu.watch.view import View


class Made:
    """The made stream, up to the middle of its events."""

    name, garbage, live = "made", 3, True

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
