"""`bongsu serve`, as a user meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bongsu.cli import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothere"], "no such folder"),
        (["nothere", "--engine", "fast"], "one of auto, float32, int8"),
        (["nothere", "--api-key-file", "nothere"], "the API key cannot be read"),
        (["nothere", "--api-key-file", "empty"], "it is empty"),
    ],
)
def test_errors_have_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("\nkey on the second line")
    monkeypatch.setattr(sys, "argv", ["bongsu", "serve", *words])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capfd.readouterr().err
    assert end.value.code == 1
    assert message in " ".join(shown.split())
    assert "Traceback" not in shown


def test_serving_needs_no_torch() -> None:
    code = "import sys, bongsu.serving.server, bongsu.serving.predictor; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
