from __future__ import annotations

import pytest

from bongsu.progress import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (90061, "1 d 01 h"), (None, "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
