"""The kinds there are."""

from __future__ import annotations

from typing import Any

from bongsu.recipe import Labelled
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.task import Schema, Task

AnyTask = Task[Any, Any, Any]
KINDS: dict[str, type[AnyTask]] = {kind.kind: kind for kind in (ClassificationTask,)}


def build_task(settings: Labelled, schema: Schema | None = None) -> AnyTask:
    """Return the task of a recipe's [task] section."""
    return KINDS[settings.kind](settings, schema)
