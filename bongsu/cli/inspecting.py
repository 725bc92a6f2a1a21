"""The verbs that look at what is there: one run or bundle, or several runs next to each other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bongsu import progress
from bongsu.cli.common import app, need, show
from bongsu.errors import BongsuError, WorkspaceError
from bongsu.models import DEFAULT, packaged
from bongsu.printable import printable

if TYPE_CHECKING:
    from bongsu.inference.predictor import ModelDetails
    from bongsu.pipeline.comparing import Difference

Facts = list[list[object]]


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A run's folder, a bundle of `bongsu export`, or bongsu:beacon")] = DEFAULT,
) -> None:
    """Show a run or a bundle: its stages, data, model and metrics, and what to do next."""
    from bongsu.inference.bundle import is_bundle

    path = packaged(model, "detector") or Path(model)
    if is_bundle(path):
        _show_bundle(path, model)
        if encoder := packaged(model, "encoder"):
            show("\nIts encoder", ["", ""], [*_model_facts(encoder), ["to train on", f'finetune.encoder = "{model}"']])
    elif (path / "recipe.toml").is_file():
        _show_run(path)
    else:
        hint = "neither a run's folder (recipe.toml) nor a bundle (manifest.json)" if path.exists() else "no such folder"
        raise WorkspaceError(f"{path}: {hint}.")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more runs' folders; others are compared with the first")],
) -> None:
    """Show the metrics of runs side by side; for rows that both measured, with the interval of the difference."""
    if len(runs) < 2:
        raise BongsuError("Name two runs or more: bongsu compare runs/first runs/second")
    need("torch", "train")
    from bongsu.pipeline.comparing import difference, differing_settings, load_compared

    loaded = [load_compared(run) for run in runs]
    headings = ["", *(str(run) for run in runs)]
    parts = dict.fromkeys(part for run in loaded for part in run.parts)
    for part in parts:
        titles = {metric.name: metric.title for run in loaded if run.task for metric in run.task.metrics}
        there = [run.parts[part].metrics if part in run.parts else {} for run in loaded]
        rows: Facts = [[title, *(metrics.get(name, "–") for metrics in there)] for name, title in titles.items()]
        rows.append(["rows", *(len(run.parts[part].keys) if part in run.parts else "–" for run in loaded)])
        show(part.capitalize(), headings, rows)
        for run in loaded[1:]:
            print(f"{run.path} against {runs[0]}: {_words(difference(loaded[0], run, part))}")
        print()
    if any(run.pretraining for run in loaded):
        names = dict.fromkeys(name for run in loaded for name in run.pretraining)
        metrics: Facts = [[name, *(run.pretraining.get(name, "–") for run in loaded)] for name in names]
        show("Pre-training, held-out text", headings, metrics)
        print()
    settings = differing_settings(loaded)
    show("Settings that differ", headings, [[key, *map(printable, values)] for key, values in settings.items()])


def _words(found: Difference | None) -> str:
    """Return a difference in one sentence."""
    if found is None:
        return "no row was measured by both in the same kind of task, so only the metrics above can be compared."
    low, high = found.found.interval
    where = f"the same {found.rows:,} rows" if found.all_rows else f"the {found.rows:,} rows that both measured"
    verdict = {True: "better", False: "worse", None: "no significant difference"}[found.better]
    return (
        f"{verdict}. {found.metric} {found.found.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} "
        f"(paired, on {where})."
    )


def _show_run(path: Path) -> None:
    from bongsu.files import read_json, redacted
    from bongsu.recipe import load_recipe
    from bongsu.workspace import DONE

    recipe = load_recipe(path / "recipe.toml")
    facts: Facts = [["run", recipe.name], ["seed", str(recipe.seed)]]
    if recipe.task:
        facts += [["task", recipe.task.kind], ["trained on", redacted(recipe.task.train)]]
        facts += [["tested on", redacted(recipe.task.test or "–")]]
    facts += _model_facts(path / "finetune" / "model") or _model_facts(path / "pretrain" / "model")
    show(str(path), ["", ""], facts)
    done = sorted(path.glob("*/" + DONE)) + sorted(path.glob("finetune/*/" + DONE))
    done.sort(key=lambda file: file.stat().st_mtime)
    times: Facts = [[str(file.parent.relative_to(path)), progress.duration(read_json(file)["seconds"])] for file in done]
    begun = [file.parent for file in [*path.glob("*/started.json"), *path.glob("finetune/*/started.json")]]
    for folder in begun:
        if not (folder / DONE).is_file():
            stage = folder.with_name(folder.name.removeprefix(".").removesuffix(".tmp"))  # its name once it is whole
            times.append([str(stage.relative_to(path)), "begun"])
    show("\nStages", ["", "time"], times)
    summary = path / "evaluation" / "summary.json"
    if summary.is_file():
        print("\n".join(["", *map(printable, read_json(summary)["sentences"])]))
    after = [f"bongsu run {path}/recipe.toml --out {path}    # what is not done yet"]
    if (path / "finetune" / "model" / "config.json").is_file():
        after = [f'bongsu predict {path} "a message"', f"bongsu serve {path}"]
    if (path / "evaluation" / "report.html").is_file():
        after.append(f"open {path}/evaluation/report.html")
    print("\n".join(["", *after]))


def _show_bundle(path: Path, name: str) -> None:
    from bongsu.inference.bundle import CONFIG, open_bundle
    from bongsu.inference.predictor import ModelDetails

    bundle = open_bundle(path)
    facts: Facts = [["bundle", bundle.kind], ["version", bundle.version], ["files", "as they were written (SHA-256)"]]
    if bundle.has(CONFIG):
        config = bundle.config()
        facts += [["run", config["name"]], *_details(ModelDetails.from_dict(config["model"]))]
        if int8 := config.get("int8"):
            points = float(int8["points"])
            change = f"{abs(points):.2f} points {'lost' if points > 0 else 'gained'}"
            facts.append(["int8", f"{change} on {int8['rows']:,} rows"])
    models = [file for file in sorted(path.iterdir()) if file.suffix in (".onnx", ".safetensors")]
    facts += [[file.name, f"{file.stat().st_size / 1e6:,.1f} MB"] for file in models]
    show(name, ["", ""], facts)
    if bundle.kind == "onnx":
        named = "" if name == DEFAULT else f" {name}"
        print(f'\nbongsu predict{named} "a message"\nbongsu serve{named}')


def _model_facts(folder: Path) -> Facts:
    """Return what a model folder says of its model; nothing when there is none."""
    from safetensors import safe_open

    from bongsu.files import read_json
    from bongsu.inference.predictor import ModelDetails

    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        return []
    config = read_json(folder / "config.json")
    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        parameters = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    facts: Facts = [["parameters", f"{parameters:,}"]]
    encoder = config["encoder"]
    if "n_layers" in encoder:
        facts.append(["encoder", f"{encoder['n_layers']} layers of {encoder['d_model']}, {encoder['vocab_size']:,} tokens"])
    return facts + (_details(ModelDetails.from_dict(config["extra"])) if config["kind"] == "task" else [])


def _details(details: ModelDetails) -> Facts:
    from bongsu.tasks.registry import build_task

    task = build_task(details.task, details.schema)
    labels = getattr(task, "names", details.schema.labels)
    facts: Facts = [["reads", ", ".join([*task.text_columns, *task.context_columns]) or "text"]]
    if labels:
        more = f" and {len(labels) - 20:,} more" if len(labels) > 20 else ""
        facts.append(["answers", printable(", ".join(labels[:20]) + more)])
    if details.calibration.thresholds:
        facts.append(["threshold", ", ".join(f"{value:.3g}" for value in details.calibration.thresholds[:20])])
    return facts
