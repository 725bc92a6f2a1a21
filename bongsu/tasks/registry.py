"""The kinds there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bongsu.recipe import Labelled
from bongsu.tasks.answering import AnsweringTask
from bongsu.tasks.classification import ClassificationTask
from bongsu.tasks.multilabel import MultilabelTask
from bongsu.tasks.pair import pair_task
from bongsu.tasks.regression import RegressionTask
from bongsu.tasks.tagging import TaggingTask
from bongsu.tasks.task import Metric, Schema, Task

AnyTask = Task[Any, Any, Any]
METRICS: dict[str, Metric] = {
    metric.name: metric
    for kind in (TaggingTask, AnsweringTask, RegressionTask, MultilabelTask, ClassificationTask)
    for metric in kind.metrics
}
"""Every metric by name; one that several kinds have has the same direction in all of them."""
KINDS: dict[str, Callable[[Any, Schema | None], AnyTask]] = {
    "classification": ClassificationTask,
    "multilabel": MultilabelTask,
    "regression": RegressionTask,
    "pair": pair_task,
    "tagging": TaggingTask,
    "answering": AnsweringTask,
}


def build_task(settings: Labelled, schema: Schema | None = None) -> AnyTask:
    """Return the task of a recipe's [task] section."""
    return KINDS[settings.kind](settings, schema)
