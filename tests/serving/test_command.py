"""`bongsu serve`, as a user meets it."""

from __future__ import annotations

import json
import signal
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
    code = "import sys, bongsu.serving.server, bongsu.inference.onnx; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_watch_ends_in_peace_when_told_to(bundle: Path, tmp_path: Path, sentences: list[str]) -> None:
    stream = tmp_path / "stream.jsonl"
    stream.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences[:100]))
    words = ["watch", str(bundle), str(stream), "--follow", "--messages"]
    command = [sys.executable, "-c", "from bongsu.cli import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["type"] == "message"
        watch.send_signal(signal.SIGTERM)
        shown = watch.communicate(timeout=600)[1]
    assert watch.returncode == 0
    assert "100 messages, " in shown
    assert "Traceback" not in shown
