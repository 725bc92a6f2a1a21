"""The verb that searches."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bongsu import progress
from bongsu.cli.common import Set, ToMLflow, ToTensorBoard, app, chosen_trackers, need
from bongsu.errors import BongsuError


@app.command()
def tune(
    study: Annotated[Path, typer.Argument(help="A study, such as studies/activation.toml", show_default=False)],
    changes: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="Its folder (default: searches/NAME)", metavar="DIR")] = None,
    ray: Annotated[str | None, typer.Option("--ray", help="A Ray cluster (default: this machine)", metavar="ADDRESS")] = None,
    small: Annotated[bool, typer.Option("--small", help="The study's small size: minutes on two cores")] = False,
    at_once: Annotated[
        int | None, typer.Option("--at-once", help="Trials at a time here (default: as many as fit)", min=1, metavar="N")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Say how many points fit, and end")] = False,
    tensorboard: ToTensorBoard = False,
    mlflow: ToMLflow = None,
) -> None:
    """Search, or compare: run the trials of a study, and write a page about them."""
    need("torch", "train")
    need("ray", "cluster")
    need("optuna", "cluster")
    from bongsu.search.feasibility import available_bytes, check_feasibility, count_fitting
    from bongsu.search.inputs import check_sources
    from bongsu.search.ledger import Ledger
    from bongsu.search.report import conclusion, write_report
    from bongsu.search.study import load_study

    if ray is not None and at_once is not None:
        raise BongsuError("--at-once: is for this machine; of a cluster Ray takes all it has")
    plan = load_study(study, changes, small)
    device = "cuda" if plan.study.resources.gpus else "cpu"
    points = check_feasibility(plan, device)
    valid = sum(point.bytes is not None for point in points)
    seeds = f"{plan.study.seeds} seeds each" if plan.study.seeds > 1 else "one seed each"
    progress.note(f"{plan.study.name}: {len(points):,} points, {valid:,} of them valid recipes; {seeds}")
    fits = [[f"{size:g} GB", count] for size, count in count_fitting(points).items()]
    progress.table("", ["a device of", "points that fit, by estimate"], fits)
    if check:
        return
    folder = out or Path("searches") / (plan.study.name + ("-small" if small else ""))
    ledger = Ledger(plan, folder, available_bytes(plan.study.resources), device)
    check_sources(plan)
    from bongsu.search.tuning import search

    trackers = chosen_trackers(tensorboard, mlflow, plan.study.name, folder)
    hours, start = plan.study.search.hours, time.perf_counter()
    search(ledger, ray, trackers, at_once)
    seconds = time.perf_counter() - start
    page = write_report(ledger, seconds)
    left = len(ledger.begun())
    records = ledger.records()
    for line in conclusion(ledger, records):
        progress.note(progress.escape(line))
    progress.note(f"report: {page}")
    if left:
        progress.note(f"{progress.count(left, 'trial')} not finished. The same command goes on with what is left.")
        if not hours or seconds < 3600 * hours:  # Ctrl-C, and not the end of its time
            raise typer.Exit(130)
    failed = [record for record in records.values() if record.status == "failed"]
    if failed:
        again = "it" if len(failed) == 1 else "them"
        raise BongsuError(
            f"{progress.count(len(failed), 'trial')} failed: {failed[0].reason}\nThe same command tries {again} again."
        )
    if records and not any(record.metrics for record in records.values()):
        raise BongsuError(f"No trial has a result; the first {records[min(records)].status}: {records[min(records)].reason}")
