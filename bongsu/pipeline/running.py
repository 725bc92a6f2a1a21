"""Running a recipe from its first stage to its last."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bongsu import progress
from bongsu.errors import RecipeError
from bongsu.pipeline.checking import check_devices, check_files
from bongsu.pipeline.stages import FOLDERS, Listener, stages
from bongsu.recipe import Recipe, write_recipe
from bongsu.workspace import Stage, Workspace, remembered_fingerprints


@dataclass(frozen=True)
class Run:
    """A finished run."""

    path: Path

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.path / "evaluation" / "report.html"


def run(
    recipe: Recipe,
    out: Path | None = None,
    until: str | None = None,
    store: Path | None = None,
    listener: Listener | None = None,
    ray: str | None = None,
) -> Run:
    """Run the stages of a recipe in order, skipping those that are done.

    Where `torchrun` or Ray Train has started several processes, each calls this: all pre-train, and the main process does the
    rest.

    Args:
        out: the run's folder; by default `runs/NAME`.
        until: the verb of the last stage to run, such as "encode"; by default all.
        store: a folder shared by runs: a stage that several of them have is run once.
        listener: called after each evaluation of a training stage.
        ray: the address of a Ray cluster that prepares and encodes the corpus ("local" starts one on this machine); all its
            machines must see the run's folder and the sources.

    Raises:
        BongsuError: when the recipe or its input cannot be used; what is done stays done.
    """
    check_files(recipe)
    workspace = Workspace(out or Path("runs") / recipe.name, store)
    with remembered_fingerprints(workspace.path / ".fingerprints.json"):
        chain = _until(stages(recipe, workspace, listener, ray), until)
    check_devices(recipe, [stage.name for stage in chain if not workspace.is_done(stage)])
    rank = os.environ.get("RANK")  # of this process, where there are several
    if rank is None or int(rank) == 0:
        with workspace.locked():
            _run_stages(recipe, workspace, chain)
    else:
        _follow_stages(workspace, chain)
    if rank is not None:
        from bongsu.training.distributed import leave

        leave()
    return Run(workspace.path)


def _until(chain: list[Stage], verb: str | None) -> list[Stage]:
    """Return the stages up to that of a verb."""
    if verb is None:
        return chain
    names = [stage.name for stage in chain]
    if FOLDERS[verb] not in names:
        raise RecipeError(f"{verb}: this recipe has no such stage; it has {', '.join(names)}")
    return chain[: names.index(FOLDERS[verb]) + 1]


def _run_stages(recipe: Recipe, workspace: Workspace, chain: list[Stage]) -> None:
    write_recipe(workspace.path / "recipe.toml", recipe)
    for stage in chain:
        if workspace.run(stage):
            progress.note(f"[green]✓[/green] {stage.name} ({workspace.seconds(stage.name) or 0:.1f} s)")
        else:
            progress.note(f"[dim]✓ {stage.name} (unchanged)[/dim]")


def _follow_stages(workspace: Workspace, chain: list[Stage]) -> None:
    """Take part in the collective stages, in silence, in processes other than the main one."""
    last = max((index for index, stage in enumerate(chain) if stage.collective), default=-1)
    with progress.silence():
        for stage in chain[: last + 1]:
            workspace.follow(stage)
