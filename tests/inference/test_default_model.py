"""Which model answers when none is named, and how `predict` shows what it says."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from command_line import call
from test_without_torch import WITHOUT, bongsu

import bongsu.cli.common as common
import bongsu.cli.predicting as predicting
import bongsu.models as models
from bongsu import load
from bongsu.cli.common import ready_bundle, split_model
from bongsu.errors import BongsuError, WorkspaceError
from bongsu.export.bundle import export_packaged, masked_lm_folder
from bongsu.inference.bundle import MASKED_LM, MODEL, open_bundle, write_manifest
from bongsu.inference.onnx import BundlePredictor
from bongsu.recipe import Classification, parse_recipe
from bongsu.tasks.classification import ClassificationTask, Prediction
from bongsu.tasks.task import Schema
from bongsu.watch.alarm import Alarm

THREE = ClassificationTask(Classification(train="x", names={"0": "other"}), Schema(["0", "fire", "flood"]))


@pytest.fixture(scope="session")
def root(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with a small random detector as `bongsu:beacon`: its int8 engine alone, as the one that ships."""
    root = tmp_path_factory.mktemp("models")
    detector = root / "beacon" / "detector"
    shutil.copytree(bundle, detector)
    for name in (MODEL, MASKED_LM, "manifest.json"):
        (detector / name).unlink()
    write_manifest(detector, "onnx")
    return root


@pytest.fixture
def shipped(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(models, "ROOT", root)
    return root / "beacon" / "detector"


def on_a_terminal(patch: pytest.MonkeyPatch) -> None:
    for module in (common, predicting):
        patch.setattr(module, "of_terminal", lambda: True)


# Which model


@pytest.mark.parametrize(
    ("words", "model", "rest"),
    [
        ([], "bongsu:beacon", []),
        (["a fire"], "bongsu:beacon", ["a fire"]),
        (["fire"], "bongsu:beacon", ["fire"]),
        (["bongsu:beacon", "fire"], "bongsu:beacon", ["fire"]),
        (["bongsu: smoke over the ridge"], "bongsu:beacon", ["bongsu: smoke over the ridge"]),
        (["folder", "a fire"], "folder", ["a fire"]),
        (["runs/none", "a fire"], "runs/none", ["a fire"]),
        (["weights.pt", "a fire"], "weights.pt", ["a fire"]),
        (["data/none.csv"], "bongsu:beacon", ["data/none.csv"]),
        (["there.csv"], "bongsu:beacon", ["there.csv"]),
        (["fire and/or flood"], "bongsu:beacon", ["fire and/or flood"]),
        (["https://t.co/x"], "bongsu:beacon", ["https://t.co/x"]),
        (["wss://host/subscribe", "-"], "bongsu:beacon", ["wss://host/subscribe", "-"]),
        (["a" * 5000], "bongsu:beacon", ["a" * 5000]),
        (["a\0b"], "bongsu:beacon", ["a\0b"]),
    ],
)
def test_a_model_is_told_from_a_message(
    words: list[str], model: str, rest: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.csv").write_text("text\na\n", encoding="utf-8")
    assert split_model(words) == (model, rest)


def test_the_detector_that_ships_is_the_default(shipped: Path) -> None:
    assert ready_bundle("bongsu:beacon") == shipped
    texts = ["bada gufe 바다 🔥", "rimo kota"]
    assert load().predict(texts) == load("bongsu:beacon").predict(texts) == load(shipped).predict(texts)
    with pytest.raises(WorkspaceError, match=r"no detector of this name ships with Bongsu; there is bongsu:beacon\."):
        load("bongsu:none")


def test_a_changed_file_is_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(root, tmp_path / "models")
    monkeypatch.setattr(models, "ROOT", tmp_path / "models")
    config = tmp_path / "models" / "beacon" / "detector" / "bundle.json"
    config.write_text(config.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="its content has changed"):
        load()


def test_an_engine_that_is_not_there_is_refused(shipped: Path) -> None:
    assert BundlePredictor.load(shipped).engine == "int8"
    with pytest.raises(WorkspaceError, match="holds the int8 engine alone"):
        BundlePredictor.load(shipped, "float32")


@pytest.mark.slow
def test_it_answers_where_only_the_core_is_installed(root: Path, tmp_path: Path) -> None:
    before = f"{WITHOUT}\nimport pathlib, bongsu.models\nbongsu.models.ROOT = pathlib.Path({str(root)!r})"
    said = bongsu("predict", "bada gufe", before=before)
    assert said.returncode == 0, said.stderr
    answer = orjson.loads(said.stdout)
    assert answer["probability_other"] + answer["probability_disaster"] == pytest.approx(1.0, abs=1e-5)
    file = tmp_path / "messages.csv"
    file.write_text("id,tweet\n7,bada gufe\n9,rimo\n", encoding="utf-8")
    rows = bongsu("predict", str(file), before=before)
    assert rows.returncode == 0, rows.stderr
    assert [orjson.loads(line)["id"] for line in rows.stdout.splitlines()] == ["7", "9"]
    assert orjson.loads(rows.stdout.splitlines()[0])["probability"] == pytest.approx(answer["probability"], abs=1e-6)
    embedded = bongsu("embed", "--input", str(file), "--query", "bada gufe", before=before)
    assert embedded.stdout.splitlines()[0].startswith("1.000  7"), embedded.stderr
    assert bongsu("info", before=before).stdout.startswith("bongsu:beacon")


def test_other_exports_of_what_ships(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_packaged("bongsu:beacon", "onnx", tmp_path / "onnx")
    assert open_bundle(tmp_path / "onnx").version == open_bundle(shipped).version
    monkeypatch.undo()
    export_packaged("bongsu:beacon", "hf", tmp_path / "hf")
    assert open_bundle(tmp_path / "hf").kind == "hf"
    recipe = parse_recipe({"task": {"train": "bongsu:demo.csv"}, "finetune": {"encoder": "bongsu:beacon"}})
    assert masked_lm_folder(tmp_path, recipe) == models.packaged("bongsu:beacon", "encoder")


# What can be typed


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["a", "fire"], 'bongsu predict "a fire"'),
        (["and/or"], 'If it is a message: bongsu predict bongsu:beacon "and/or"'),
        (["none.csv"], "none.csv: no such file"),
        (["there.csv", "a fire"], "is a file: give it alone"),
        (["nothere", "--input", "there.csv"], "the folder of a model comes first"),
        (["a fire", "--text", "tweet"], "--text: is for a file"),
        (["there.csv", "--text", "said"], "no column 'said'; the columns are number, what. Name it with --text."),
        (["there.csv", "--text", "what", "--id", "key"], "no column 'key'; the columns are number, what. Name it with --id."),
        (["there.csv"], "no column 'text'; the columns are number, what. Name it with --text."),
        (["a fire", "--json", "--format", "csv"], "--json: not with --format csv"),
    ],
)
def test_what_cannot_be_answered_says_what_to_type(
    words: list[str], advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("number,what\n1,bada gufe\n", encoding="utf-8")
    assert call(monkeypatch, "predict", *words) == 1
    assert advice in " ".join(capfd.readouterr().err.split())


@pytest.mark.usefixtures("shipped")
def test_columns_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("number,Tweet\n5,bada gufe\n6,rimo kota\n", encoding="utf-8")
    assert call(monkeypatch, "predict", "a.csv") == 0
    guessed = capfd.readouterr()
    assert "texts are read from column 'Tweet'" in guessed.err
    assert guessed.err.count("no column 'keyword', which the model was trained with: read without it") == 1
    assert call(monkeypatch, "predict", "a.csv", "--text", "Tweet", "--id", "number") == 0
    named = [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["id"] for row in named] == ["5", "6"]
    assert [row["probability"] for row in named] == [orjson.loads(line)["probability"] for line in guessed.out.splitlines()]


# What is shown


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Prediction("other", 0.129, "0", {"other": 0.871, "disaster": 0.129}), "disaster 0.129, other 0.871 → other"),
        (
            Prediction("flood", 0.5, "flood", {"other": 0.2, "fire": 0.3, "flood": 0.5}),
            "flood 0.500, fire 0.300, other 0.200 → flood",
        ),
    ],
)
def test_every_class_is_named_with_its_probability(answer: Prediction, words: str) -> None:
    assert predicting.described(THREE, answer) == words


@pytest.mark.usefixtures("shipped")
def test_a_terminal_shows_a_table_and_a_pipe_json(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    text = "bada [red] gufe\x1b[2J"
    assert call(monkeypatch, "predict", text, "--explain") == 0
    row = orjson.loads(capfd.readouterr().out)
    assert [word["word"] for word in row["explanation"]] == ["bada", "[red]", "gufe[2J"]  # as it is read
    on_a_terminal(monkeypatch)
    assert call(monkeypatch, "predict", text) == 0
    shown = capfd.readouterr().out
    assert f"disaster {row['probability']:.3f}, other {row['probability_other']:.3f} → {row['label']}" in shown
    assert "bada [red] gufe\\x1b[2J" in shown
    assert call(monkeypatch, "predict", text, "--json") == 0
    assert orjson.loads(capfd.readouterr().out)["label"] == row["label"]


@pytest.mark.usefixtures("shipped")
def test_a_long_file_is_counted_on_a_terminal_and_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch)
    file, out = tmp_path / "a.txt", tmp_path / "out.csv"
    file.write_text("\n".join(f"bada {number}" for number in range(60)), encoding="utf-8")
    assert call(monkeypatch, "predict", str(file)) == 0
    shown = capfd.readouterr().out
    assert "60 rows: " in shown
    assert "bada 49 " in shown
    assert "bada 50" not in shown
    assert "--output answers.csv" in shown
    assert call(monkeypatch, "predict", str(file), "--output", str(out)) == 0
    assert len(out.read_text(encoding="utf-8").splitlines()) == 61


# Which class raises an alarm


def detector(task: ClassificationTask, table: list[list[float]], threshold: float = 0.5) -> Any:
    return SimpleNamespace(task=task, threshold=threshold, probabilities=lambda texts: np.array(table, dtype=np.float32))


def test_a_watch_of_several_classes() -> None:
    table = [[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]
    alarm = Alarm(detector(THREE, table), ["fire", "flood"])
    assert alarm.threshold == 0.5
    np.testing.assert_allclose(alarm.probabilities(["a", "b"]), [0.8, 0.4], atol=1e-6)
    for classes, message in (([], "Name a class.* other, fire, flood"), (["fir"], "the classes are other, fire, flood")):
        with pytest.raises(BongsuError, match=message):
            Alarm(detector(THREE, table), classes)
    with pytest.raises(BongsuError, match="every message would pass"):
        Alarm(detector(THREE, table), ["fire", "flood", "other"])


def test_a_watch_of_two_classes_takes_the_detectors_threshold() -> None:
    task = ClassificationTask(Classification(train="x", names={"0": "other", "1": "disaster"}), Schema(["0", "1"]))
    table = [[0.7, 0.3]]
    for classes, threshold, probability in (([], 0.4, 0.3), (["disaster"], 0.4, 0.3), (["other"], 0.6, 0.7)):
        alarm = Alarm(detector(task, table, 0.4), classes)
        assert alarm.threshold == pytest.approx(threshold)
        np.testing.assert_allclose(alarm.probabilities(["a"]), [probability], atol=1e-6)


@pytest.mark.slow
def test_a_watch_without_a_model_uses_the_one_that_ships(root: Path, tmp_path: Path) -> None:
    threshold = load(root / "beacon" / "detector").threshold
    lines = [{"text": f"bada gufe {number}"} for number in range(4)]
    file = tmp_path / "messages.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    prelude = f"import pathlib, bongsu.models\nbongsu.models.ROOT = pathlib.Path({str(root)!r})"
    done = bongsu("watch", str(file), "--messages", before=prelude)
    assert done.returncode == 0, done.stderr
    expected = load(root / "beacon" / "detector").predict([line["text"] for line in lines])
    passed = [orjson.loads(line)["text"] for line in done.stdout.splitlines()]
    assert passed == [line["text"] for line, each in zip(lines, expected, strict=True) if each.probability >= threshold]
    missing = bongsu("watch", "nothere", before=prelude)
    assert missing.returncode == 1
    assert "nothere: no such file, and no folder of a model" in missing.stderr
