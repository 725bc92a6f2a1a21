"""Whole searches of tiny recipes on Ray, on made data that ships: what ends how, what is kept, what is gone on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from bongsu.errors import BongsuError, TrainingError, WorkspaceError
from bongsu.files import read_json
from bongsu.recipe import load_recipe
from bongsu.search import trial as trial_module
from bongsu.search.ledger import Ledger
from bongsu.search.report import write_report
from bongsu.search.searchers import configuration
from bongsu.search.study import load_study
from bongsu.search.trial import run_trial
from bongsu.search.tuning import _run, search

pytestmark = pytest.mark.slow

RECIPE: dict[str, Any] = {
    "corpus": {"validation": 0.1, "sources": [{"path": "bongsu:demo.csv"}]},
    "tokenizer": {"vocab_size": 500},
    "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "max_length": 64},
    "pretrain": {"steps": 12, "row_length": 32, "batch_sentences": 8, "log_every": 4, "evaluations": 3,
                 "validation_sentences": 20, "precision": "float32"},
}  # fmt: skip


def ledger(folder: Path, space: dict[str, Any], **study: Any) -> Ledger:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(tomli_w.dumps(RECIPE))
    tree = {"name": "s", "recipe": str(folder / "recipe.toml"), "objective": "pretrain.loss", "space": space, **study}
    (folder / "study.toml").write_text(tomli_w.dumps(tree))
    return Ledger(load_study(folder / "study.toml"), folder / "out", 4e9, "cpu")


ARMS = {
    "fine": {},
    "diverging": {"pretrain": {"learning_rate": 1e30}},
    "too large": {"model": {"d_model": 32768}},
    "impossible": {"model": {"n_heads": 3}},
}


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_each_trial_ends_as_it_should_and_the_page_tells(tmp_path: Path) -> None:
    book = ledger(tmp_path, {"shape": {"arms": ARMS}}, seeds=2)
    search(book)
    records = list(book.records().values())
    ended = {name: {record.status for record in records if record.point["shape"] == name} for name in ARMS}
    assert ended == {"fine": {"finished"}, "diverging": {"diverged"}, "too large": {"infeasible"}, "impossible": {"invalid"}}
    assert len(records) == 8
    reasons = {record.point["shape"]: record.reason for record in records}
    assert "GB, and has 4.0 GB" in reasons["too large"]
    assert "does not divide" in reasons["impossible"]
    assert reasons["diverging"].startswith("Step ")
    assert not list((tmp_path / "out" / "shared").rglob("step-*"))  # of those that finished; the others have none

    assert len(list((tmp_path / "out" / "shared").glob("corpus-*"))) == 1  # four trials ran, the corpus was made once
    shown = [read_json(folder / "samples.json") for folder in sorted((tmp_path / "out" / "shared").glob("pretrain-*"))
             if (folder / "samples.json").is_file()]  # fmt: skip
    hidden = [[(token["text"], token["target"]) for row in sample for token in row["tokens"]] for sample in shown]
    assert len(hidden) == 2  # of the two seeds: measured on the same tokens
    assert hidden[0] == hidden[1]
    page = write_report(book, 1.0).read_text()
    for told in ("diverged", "does not divide", "GB, and has 4.0 GB", "prefers-color-scheme"):
        assert told in page
    assert "http" not in page.replace("http://www.w3.org", "")
    best = load_recipe(tmp_path / "out" / "best.toml")
    assert best == book.plan.to_keep(next(record.trial for record in records if record.status == "finished"))
    assert "| fine | " in (tmp_path / "out" / "results.md").read_text()


KILLED = """
import os, signal, sys
from pathlib import Path
from bongsu.cli import main
from bongsu.search.tuning import _Watch
complete, seen = _Watch.on_trial_complete, []
def deadly(self, *arguments, **info):
    complete(self, *arguments, **info)
    seen.append(1)
    if len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
_Watch.on_trial_complete = deadly
main()
"""


@pytest.mark.ray
def test_killed_and_gone_on_with_no_finished_trial_is_lost(ray_cluster: str, tmp_path: Path) -> None:
    book = ledger(tmp_path, {"pretrain.learning_rate": [1e-3, 2e-3]}, seeds=2)
    command = [sys.executable, "-c", KILLED, "tune", str(tmp_path / "study.toml"), "--out", str(book.out), "--ray", ray_cluster]
    killed = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in (book.out / "trials").glob("*.json")}
    stages = {path: path.stat().st_mtime_ns for path in (book.out / "shared").glob("*/stage.json")}
    assert len(before) >= 2
    search(book, at_once=1)
    assert [record.status for record in book.records().values()] == ["finished"] * 4
    for kept, dates in ((before, "trials"), (stages, "shared")):
        assert all(path.stat().st_mtime_ns == date for path, date in kept.items()), dates
    search(book)
    with pytest.raises(WorkspaceError, match="another study"):
        search(Ledger(load_study(tmp_path / "study.toml", ["pretrain.steps=13"]), book.out, 4e9, "cpu"))


def test_a_trial_that_was_stopped_goes_on_from_its_last_evaluation(tmp_path: Path) -> None:
    book = ledger(tmp_path, {"pretrain.learning_rate": [1e-3]})
    (trial,) = book.plan.trials()
    steps: list[float] = []

    def stops(metrics: dict[str, float]) -> None:
        steps.append(metrics["step"])
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(book, trial, stops)
    assert steps == [4, 8]
    assert book.read(trial.name) is None
    record = run_trial(book, trial, lambda metrics: steps.append(metrics["step"]))
    assert steps == [4, 8, 12]
    whole = run_trial(Ledger(book.plan, tmp_path / "whole", 4e9, "cpu"), trial, lambda metrics: None)
    assert record.metrics == whole.metrics


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_parzen_and_halving(tmp_path: Path) -> None:
    space = {"pretrain.learning_rate": {"log_range": [1e-9, 1e-2]}, "model.d_model": {"choice": [16, 32768]}}
    settings = {"searcher": "tpe", "scheduler": "asha", "trials": 5, "grace": 1, "reduction": 2}
    book = ledger(tmp_path, space, search=settings)
    search(book)
    ended = [record for record in book.records().values() if record.status in ("finished", "stopped")]
    assert len(ended) == 5  # what does not fit costs nothing
    assert all(record.point["model.d_model"] == 16 and record.metrics["loss"] > 0 for record in ended)
    search(book)
    assert len([r for r in book.records().values() if r.status in ("finished", "stopped")]) == 5


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory")]
)
def test_what_ran_out_of_memory_is_not_tried_at_that_size_or_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    book = ledger(tmp_path, {"model.d_model": [16, 64, 128]})

    def runs_out(*arguments: Any, **settings: Any) -> None:
        raise error

    monkeypatch.setattr(trial_module, "run", runs_out)
    small, middle, large = book.plan.trials()
    assert run_trial(book, middle, lambda metrics: None).status == "out of memory"
    assert book.refuse(small) is None
    refused = book.refuse(large)
    assert refused is not None
    assert refused.status == "infeasible"
    assert "ran out of memory" in refused.reason
    (book.out / "trials" / f"{large.name}.json").unlink()
    _run(configuration(large), book, os.getcwd())  # suggested before the other ran out
    assert book.read(large.name) == refused


def test_what_a_small_device_refused_may_start_on_a_larger_one(tmp_path: Path) -> None:
    book = ledger(tmp_path, {"model.d_model": [16, 32768], "model.n_heads": [2, 3]})
    for trial in book.plan.trials():
        book.refuse(trial)
    statuses = [record.status for record in book.records().values()]
    assert sorted(statuses) == ["infeasible", "invalid", "invalid"]
    larger = Ledger(book.plan, book.out, 1e15, "cpu")
    larger.judge_again()
    assert [record.status for record in larger.records().values()] == ["invalid", "invalid"]


def test_errors_made_on_purpose_end_a_trial_and_bugs_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = ledger(tmp_path, {"model.d_model": [16, 32, 64]})
    ends = ((TrainingError("nan"), "diverged"), (BongsuError("no file"), "failed"), (KeyError("bug"), None))
    for trial, (error, status) in zip(book.plan.trials(), ends, strict=True):

        def fails(*arguments: Any, error: Exception = error, **settings: Any) -> None:
            raise error

        monkeypatch.setattr(trial_module, "run", fails)
        if status:
            assert run_trial(book, trial, lambda metrics: None).status == status
        else:
            with pytest.raises(KeyError):
                run_trial(book, trial, lambda metrics: None)
            assert book.read(trial.name) is None
