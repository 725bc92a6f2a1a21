"""Running a recipe from its first stage to its last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bongsu import progress
from bongsu.errors import RecipeError
from bongsu.files import write_text
from bongsu.pipeline.stages import FOLDERS, Listener, stages
from bongsu.recipe import Recipe, dump_recipe
from bongsu.workspace import Workspace


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
    """Runs the stages of a recipe in order, passing over those that are done.

    Args:
        out: the run's folder; by default `runs/NAME`.
        until: the verb of the last stage to run, such as "encode"; by default all.
        store: a folder that runs share: a stage that several of them have in common is done once.
        listener: told each evaluation of a training stage.
        ray: the address of a Ray cluster that prepares and encodes the corpus ("local" starts one on this machine); all its
            machines must see the run's folder and the sources.

    Raises:
        BongsuError: when the recipe or its input cannot be used; what is done stays done.
    """
    workspace = Workspace(out or Path("runs") / recipe.name, store)
    with workspace.locked():
        chain = stages(recipe, workspace, listener, ray)
        names = [stage.name for stage in chain]
        if until is not None:
            if FOLDERS[until] not in names:
                raise RecipeError(f"{until}: this recipe has no such stage; it has {', '.join(names)}")
            chain = chain[: names.index(FOLDERS[until]) + 1]
        write_text(workspace.path / "recipe.toml", dump_recipe(recipe))
        for stage in chain:
            if workspace.run(stage):
                progress.note(f"[green]✓[/green] {stage.name} ({workspace.seconds(stage.name) or 0:.1f} s)")
            else:
                progress.note(f"[dim]✓ {stage.name} (unchanged)[/dim]")
    return Run(workspace.path)
