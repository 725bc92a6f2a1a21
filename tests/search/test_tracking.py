"""Curves handed on to TensorBoard and MLflow, read back by their own readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import tomli_w

from bongsu.search.ledger import Ledger, Record
from bongsu.search.study import Trial, load_study
from bongsu.search.tracking import TrialCurves
from bongsu.training.tracking import MLflow, RunCurves, TensorBoard, Tracker

LOSSES = {10: 5.5, 20: 4.25, 30: 3.125}
VALIDATION = {20: 4.5, 30: 3.5}


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    study = {
        "name": "tracked",
        "recipe": "recipes/demo.toml",
        "objective": "pretrain.loss",
        "space": {"pretrain.learning_rate": [1e-3, 1e-2]},
    }
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study))
    return Ledger(load_study(tmp_path / "study.toml"), tmp_path / "out", 4e9, "cpu")


def grow(book: Ledger, trial: Trial, until: int) -> None:
    """Writes a trial's log as training does, as far as step `until`."""
    lines: list[dict[str, float]] = []
    for step in (step for step in LOSSES if step <= until):
        lines.append({"step": step, "loss": LOSSES[step]})
        if step in VALIDATION:
            lines.append({"step": step, "validation_loss": VALIDATION[step]})
    folder = book.folder(trial.name) / "pretrain" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def tell(tracker: TrialCurves, book: Ledger, trial: Trial, until: int) -> None:
    grow(book, trial, until)
    tracker.update(trial.name, trial)


def to_tensorboard(book: Ledger) -> TrialCurves:
    return TrialCurves(book, [TensorBoard(book.out / "tensorboard")])


def ended(trial: Trial) -> Record:
    return Record(point=trial.point, seed=trial.seed, status="finished")


def test_tensorboard_has_each_point_once_though_the_search_was_stopped(book: Ledger) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    first, second = book.plan.trials()
    tracker = to_tensorboard(book)
    tell(tracker, book, first, 20)
    tell(tracker, book, second, 10)
    tracker = to_tensorboard(book)  # the search goes on, from the checkpoint before
    tell(tracker, book, first, 10)
    tell(tracker, book, first, 30)
    tracker.end(first.name, ended(first))
    for trial, steps in ((first, LOSSES), (second, [10])):
        events = accumulator.EventAccumulator(str(book.out / "tensorboard" / trial.name)).Reload()
        assert {event.step: event.value for event in events.Scalars("loss")} == {step: LOSSES[step] for step in steps}
        assert len(events.Scalars("loss")) == len(steps)
    events = accumulator.EventAccumulator(str(book.out / "tensorboard" / first.name)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("validation_loss")] == list(VALIDATION.items())


def test_mlflow_goes_on_with_its_runs(book: Ledger, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    first, second = book.plan.trials()
    server = MLflow(uri, "tracked", book.out)
    tracker = TrialCurves(book, [server])
    tell(tracker, book, first, 20)
    tell(tracker, book, second, 10)
    tracker.end(second.name, None)
    server = MLflow(uri, "tracked", book.out)
    tracker = TrialCurves(book, [server])
    tell(tracker, book, first, 20)
    tell(tracker, book, first, 30)
    tracker.end(first.name, ended(first))
    client: Any = server._client
    runs = {run.info.run_name: run for run in client.search_runs([server._experiment])}
    assert {name: run.info.status for name, run in runs.items()} == {first.name: "FINISHED", second.name: "KILLED"}
    history = client.get_metric_history(runs[first.name].info.run_id, "loss")
    assert sorted((metric.step, metric.value) for metric in history) == list(LOSSES.items())
    assert runs[first.name].data.params == {"pretrain.learning_rate": "0.001", "seed": "1"}


def test_a_run_hands_on_the_curves_of_its_stages(tmp_path: Path) -> None:
    seen: dict[str, list[float]] = {}
    ends: list[tuple[str, str]] = []

    class Listening:
        def update(self, curve: str, lines: list[dict[str, float]], settings: dict[str, object]) -> None:
            seen[curve] = [line["step"] for line in lines]

        def end(self, curve: str, status: str, words: str = "") -> None:
            ends.append((curve, status))

    def write(stage: str, steps: int) -> None:
        folder = tmp_path / stage / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.jsonl").write_bytes(b"".join(orjson.dumps({"step": n}) + b"\n" for n in range(steps)))

    tracker: Tracker = Listening()
    curves = RunCurves(tmp_path, [tracker], {"seed": 1})
    write("pretrain", 1)
    curves.update()
    assert seen == {"pretrain": [0]}
    write("finetune/folds/fold-0", 2)
    write("finetune/.refit.tmp", 3)
    curves.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert seen == {"pretrain": [0], "finetune/folds/fold-0": [0, 1], "finetune/refit": [0, 1, 2]}
    assert sorted(ends) == [("finetune/folds/fold-0", "KILLED"), ("finetune/refit", "KILLED"), ("pretrain", "KILLED")]
