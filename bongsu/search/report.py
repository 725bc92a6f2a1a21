"""The output of a search: `report.html`, one self-contained page; `results.md`, a table; `best.toml`, a recipe."""

from __future__ import annotations

import time
from pathlib import Path

from markupsafe import Markup

from bongsu import progress
from bongsu.files import write_text
from bongsu.recipe import show_recipe, write_recipe
from bongsu.reporting.charts import PANELS
from bongsu.reporting.page import environment
from bongsu.search import charts
from bongsu.search.feasibility import check_feasibility, count_fitting
from bongsu.search.ledger import REFUSED, Ledger, Record
from bongsu.search.pairing import Difference, difference_to_best, difference_to_best_by_rows, effects
from bongsu.search.results import Result, Spread, counts, importances, results
from bongsu.search.space import describe, label
from bongsu.search.study import Plan, Study, Trial
from bongsu.search.trial import curves

BEST = "best.toml"
BY_ROWS = "finetune.accuracy"
"""The objective whose points are compared row by row."""
_SHOWN = 20
_CONCLUDED = 5
"""Points that the console shows."""
_PROBLEMS = ("diverged", "out of memory", "infeasible", "invalid", "failed", "stopped")


def write_report(ledger: Ledger, seconds: float) -> Path:
    """Write the three files from the ledger, and return the page.

    Args:
        seconds: the time the search took from its start to its end, in this session.
    """
    study, records = ledger.plan.study, ledger.records()
    found = results(ledger, records)
    to_best = [against(found[0], result, ledger) for result in found]
    surveyed = check_feasibility(ledger.plan, ledger.device)
    page: dict[str, object] = {
        "study": study,
        "created": time.strftime("%Y-%m-%d %H:%M"),
        "total": _total(ledger.plan, records),
        "counts": counts(records),
        "seconds": seconds,
        "fits": {f"{size:g} GB": count for size, count in count_fitting(surveyed).items()},
        "points": len(surveyed),
        "available_gb": ledger.available_bytes / 1e9,
        "device": ledger.device,
        "problems": [(name, record) for name, record in records.items() if record.status in _PROBLEMS],
        "shown_metrics": [metric for metric in ledger.plan.metrics if any(metric in result.metrics for result in found)],
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
        logged = {key for _, runs in logs for run in runs for record in run for key in record}
        panels = [panel for panel in PANELS if panel in ("loss", "accuracy", study.metric) and logged & set(PANELS[panel][1:])]
        page |= {
            "best": best,
            "to_best": to_best,
            "equal": sum(each is not None and each.half is not None and not each.significant for each in to_best[1:]),
            "by_rows": study.objective == BY_ROWS,
            "recipe": show_recipe(recipe),
            "command": f"bongsu run {ledger.out / BEST}",
            "importance": importance,
            "effects": effects(found, study) if len(study.space) > 1 else {},
            "comparison": Markup(charts.comparison(found, study)),
            "parallel": Markup(charts.parallel_coordinates(found, study)) if len(found) > 1 else "",
            "importance_chart": Markup(charts.importance_bars(importance)) if importance else "",
            "curves": [Markup(charts.learning_curves(logs, panel)) for panel in panels],
        }
    templates = environment(Path(__file__).parent)
    templates.filters.update(label=label, spread=spread_text, difference=difference_text)
    write_text(ledger.out / "report.html", templates.get_template("search.html").render(page))
    write_text(ledger.out / "results.md", markdown(study, found, records, to_best))
    return ledger.out / "report.html"


def _total(plan: Plan, records: dict[str, Record]) -> int:
    """Return how many trials there will be. TPE draws others in place of those that cannot run."""
    if plan.study.search.searcher != "tpe":
        return len(plan.trials())
    refused = sum(record.status in REFUSED for record in records.values())
    return plan.study.search.trials * plan.study.seeds + refused


def against(best: Result, other: Result, ledger: Ledger) -> Difference | None:
    """Return how a point differs from the best in the metric that decides."""
    return (
        difference_to_best_by_rows(best, other, ledger)
        if ledger.plan.study.objective == BY_ROWS
        else difference_to_best(best, other)
    )


def markdown(study: Study, found: list[Result], records: dict[str, Record], to_best: list[Difference | None]) -> str:
    """Return the points as a table, the best first, and how many trials ended in each way."""
    shown = list(dict.fromkeys([study.metric, *(metric for result in found for metric in result.metrics)]))
    settings = [name.rpartition(".")[2] for name in study.space]
    heads = [*settings, *(metric.replace("_", " ") for metric in shown), "against the best", "seeds", "time"]
    rows = [
        [
            *(label(result.point[name]) for name in study.space),
            *(spread_text(result.metrics.get(metric)) for metric in shown),
            difference_text(gap) if result is not found[0] else "",
            f"{result.metrics[study.metric].count}{'' if result.complete else ' (not all complete)'}",
            progress.duration(result.seconds),
        ]
        for result, gap in zip(found, to_best, strict=True)
    ]
    lines = [f"# {study.name}", "", *([study.question, ""] if study.question else []), *_table(heads, rows)]
    for name, values in (effects(found, study) if len(study.space) > 1 else {}).items():
        heads = [name.rpartition(".")[2], f"{study.metric.replace('_', ' ')} over points", "against the first", "pairs"]
        rows = [
            [value, spread_text(effect.over_points), difference_text(pairs), str(pairs.count) if pairs else ""]
            for value, effect in values.items()
            for pairs in [effect.against_first]
        ]
        lines += ["", *_table(heads, rows)]
    ended = ", ".join(f"{row.trials:,} {status} ({progress.duration(row.seconds)})" for status, row in counts(records).items())
    return "\n".join([*lines, "", f"Trials: {ended or 'none'}.", ""])


def conclusion(ledger: Ledger, records: dict[str, Record]) -> list[str]:
    """Return the best points by their settings, a line each."""
    study = ledger.plan.study
    found = results(ledger, records)
    direction = "lower" if study.mode == "min" else "higher"
    lines = []
    for result in found[:_CONCLUDED]:
        gap = difference_text(against(found[0], result, ledger)) if result is not found[0] else ""
        value = f"{study.metric.replace('_', ' ')} {spread_text(result.metrics.get(study.metric))}"
        lines.append(f"{describe(result.point)}: {value}" + (f", {gap} against the best" if gap else ""))
    if lines:
        lines[0] = f"best ({direction} is better): {lines[0]}"
    if len(found) > _CONCLUDED:
        lines.append(f"and {len(found) - _CONCLUDED:,} more points")
    return lines


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table in Markdown, line by line."""
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in [heads, ["---"] * len(heads), *rows]]


def spread_text(spread: Spread | None) -> str:
    """Format as 0.812 ± 0.004."""
    if spread is None:
        return "–"
    return f"{spread.mean:.4f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.4f}")


def difference_text(difference: Difference | None) -> str:
    """Format as -0.0021 ± 0.0040, the mean difference with half the width of its 95 % interval."""
    if difference is None:
        return ""
    return f"{difference.mean:+.4f}" + ("" if difference.half is None else f" ± {difference.half:.4f}")
