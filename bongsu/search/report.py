"""What a search leaves: `report.html`, one self-contained page; `results.md`, a table; `best.toml`, ready to run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bongsu import progress
from bongsu.files import write_text
from bongsu.recipe import show_recipe, write_recipe
from bongsu.reporting.page import environment
from bongsu.search import figures
from bongsu.search.feasibility import Verdict, how_many_fit, verdicts
from bongsu.search.ledger import FIGURES, REFUSED, Ledger, Record
from bongsu.search.pairing import Difference, behind, behind_by_rows, effects
from bongsu.search.space import describe, label
from bongsu.search.study import Plan, Study, Trial
from bongsu.search.studying import Result, Spread, counts, importances, results
from bongsu.search.trial import curves

BEST = "best.toml"
BY_ROWS = "finetune.accuracy"
"""The objective whose points are compared row by row."""
_SHOWN = 20
_CONCLUDED = 5
"""Points that the console shows."""
_PROBLEMS = ("diverged", "out of memory", "infeasible", "invalid", "failed", "stopped")


def write_report(ledger: Ledger, seconds: float) -> Path:
    """Writes the three files from what the ledger has, and returns the page.

    Args:
        seconds: the time the search took from its start to its end, in this session.
    """
    study, records = ledger.plan.study, ledger.records()
    found = results(ledger, records)
    behind_best = [against(found[0], result, ledger) for result in found]
    surveyed = survey(ledger.plan, ledger.device)
    page: dict[str, Any] = {
        "study": study,
        "created": time.strftime("%Y-%m-%d %H:%M"),
        "total": _total(ledger.plan, records),
        "counts": counts(records),
        "seconds": seconds,
        "fits": {f"{size:g} GB": count for size, count in how_many_fit(surveyed).items()},
        "points": len(surveyed),
        "room_gb": ledger.room_bytes / 1e9,
        "device": ledger.device,
        "problems": [(name, record) for name, record in records.items() if record.status in _PROBLEMS],
        "shown_figures": [figure for figure in FIGURES if any(figure in result.figures for result in found)],
        "results": found[:_SHOWN],
        "left_out": max(0, len(found) - _SHOWN),
        "settings": {name: name.rpartition(".")[2] for name in study.space},
    }
    if found:
        best = found[0]
        recipe = ledger.plan.to_keep(Trial(best.point, records[best.names[0]].seed))
        write_recipe(ledger.out / BEST, recipe, f"# The best of {study.name} by {study.objective}.\n")
        importance = importances(found, study)
        logs = [(describe(result.point), curves(ledger.folder(name), study.stage)) for result in found for name in result.names]
        panels = ["loss", "accuracy", *([study.figure] if study.figure not in ("loss", "accuracy", "roc_auc") else [])]
        page |= {
            "best": best,
            "behind": behind_best,
            "level": sum(told is not None and told.half is not None and not told.significant for told in behind_best[1:]),
            "by_rows": study.objective == BY_ROWS,
            "recipe": show_recipe(recipe),
            "command": f"bongsu run {ledger.out / BEST}",
            "importance": importance,
            "effects": effects(found, study) if len(study.space) > 1 else {},
            "comparison": Markup(figures.comparison(found, study)),
            "parallel": Markup(figures.parallel_coordinates(found, study)) if len(found) > 1 else "",
            "importance_figure": Markup(figures.importance_bars(importance)) if importance else "",
            "curves": [Markup(figures.learning_curves(logs, panel)) for panel in panels],
        }
    templates = environment(Path(__file__).parent)
    templates.filters.update(label=label, spread=spread_text, difference=difference_text)
    write_text(ledger.out / "report.html", templates.get_template("search.html").render(page))
    write_text(ledger.out / "results.md", markdown(study, found, records, behind_best))
    return ledger.out / "report.html"


def _total(plan: Plan, records: dict[str, Record]) -> int:
    """How many trials there are to be. A TPE asks for others in the place of those that cannot run."""
    if plan.study.search.searcher != "tpe":
        return len(plan.trials())
    refused = sum(record.status in REFUSED for record in records.values())
    return plan.study.search.trials * plan.study.seeds + refused


def against(best: Result, other: Result, ledger: Ledger) -> Difference | None:
    """How a point differs from the best in the figure that decides."""
    return behind_by_rows(best, other, ledger) if ledger.plan.study.objective == BY_ROWS else behind(best, other)


def markdown(study: Study, found: list[Result], records: dict[str, Record], behind_best: list[Difference | None]) -> str:
    """The points as a table, the best first, and how many trials ended how."""
    shown = [figure for figure in FIGURES if any(figure in result.figures for result in found)]
    shown.sort(key=lambda figure: figure != study.figure)
    settings = [name.rpartition(".")[2] for name in study.space]
    heads = [*settings, *(figure.replace("_", " ") for figure in shown), "against the best", "seeds", "time"]
    rows = [
        [
            *(label(result.point[name]) for name in study.space),
            *(spread_text(result.figures.get(figure)) for figure in shown),
            difference_text(told) if result is not found[0] else "",
            f"{result.figures[study.figure].count}{'' if result.whole else ' (not all to the end)'}",
            progress.duration(result.seconds),
        ]
        for result, told in zip(found, behind_best, strict=True)
    ]
    lines = [f"# {study.name}", "", *([study.question, ""] if study.question else []), *_table(heads, rows)]
    for name, values in (effects(found, study) if len(study.space) > 1 else {}).items():
        heads = [name.rpartition(".")[2], f"{study.figure.replace('_', ' ')} over points", "against the first", "pairs"]
        rows = [
            [value, spread_text(effect.over_points), difference_text(pairs), str(pairs.count) if pairs else ""]
            for value, effect in values.items()
            for pairs in [effect.against_first]
        ]
        lines += ["", *_table(heads, rows)]
    ended = ", ".join(
        f"{row['trials']:,} {status} ({progress.duration(row['seconds'])})" for status, row in counts(records).items()
    )
    return "\n".join([*lines, "", f"Trials: {ended or 'none'}.", ""])


def conclusion(ledger: Ledger, records: dict[str, Record]) -> list[str]:
    """Return the outcome in a few lines: the best points by their settings, and how many trials ended how."""
    study = ledger.plan.study
    found = results(ledger, records)
    direction = "lower" if study.mode == "min" else "higher"
    lines = []
    for result in found[:_CONCLUDED]:
        told = difference_text(against(found[0], result, ledger)) if result is not found[0] else ""
        value = f"{study.figure.replace('_', ' ')} {spread_text(result.figures.get(study.figure))}"
        lines.append(f"{describe(result.point)}: {value}" + (f", {told} against the best" if told else ""))
    if lines:
        lines[0] = f"best ({direction} is better): {lines[0]}"
    if len(found) > _CONCLUDED:
        lines.append(f"and {len(found) - _CONCLUDED:,} more points")
    return lines


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown, line by line."""
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in [heads, ["---"] * len(heads), *rows]]


def spread_text(spread: Spread | None) -> str:
    """0.812 ± 0.004"""
    if spread is None:
        return "–"
    return f"{spread.mean:.4f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.4f}")


def difference_text(difference: Difference | None) -> str:
    """-0.0021 ± 0.0040: a mean difference with half the width of its 95 % interval."""
    if difference is None:
        return ""
    return f"{difference.mean:+.4f}" + ("" if difference.half is None else f" ± {difference.half:.4f}")


def survey(plan: Plan, device: str) -> list[Verdict]:
    """What can be told of the space before anything runs: a verdict on each of its points."""
    return verdicts(plan, {trial.name: trial for trial in (Trial(point, 0) for point in plan.survey())}.values(), device)
