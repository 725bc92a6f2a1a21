"""`bongsu tune` says how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call

from bongsu.search import tuning
from bongsu.search.ledger import Ledger

ROOT = Path(__file__).parents[2]


def test_a_study_that_was_stopped_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stopped(ledger: Ledger, *_: object) -> None:
        ledger.begin(ledger.plan.trials()[0])

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(tuning, "search", stopped)
    assert call(monkeypatch, "tune", "studies/first.toml", "--out", str(tmp_path / "out")) == 130
    assert "1 trial not finished. The same command goes on" in " ".join(capfd.readouterr().err.split())
