"""A whole run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from bongsu.recipe.corpus import Corpus, Tokenizer
from bongsu.recipe.finetuning import HUB, Ensemble, Evaluate, Finetune, Predict, Validation
from bongsu.recipe.pretraining import Adapt, Model, Pretrain
from bongsu.recipe.section import Section, Tree
from bongsu.recipe.task import Task

NAMED = {"task:train": "where", "task:test": "test_where", "predict:input": ""}
"""What the path of a source may be in place of a file: the file that another section names, with the key of its conditions."""


class Recipe(Section):
    """A whole run. Sections that are left out are stages that are not run."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run, and of its folder under runs/: letters, digits, dots, underscores and hyphens."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of everything random: masks, splits, first weights, batches."""
    corpus: Corpus | None = None
    """The text for pre-training."""
    tokenizer: Tokenizer = Tokenizer()
    """What text is cut into."""
    model: Model = Model()
    """The shape of the encoder."""
    pretrain: Pretrain | None = None
    """How the encoder is pre-trained; without it `finetune.encoder` names one."""
    adapt: Adapt | None = None
    """Going on with pre-training on the task's own texts."""
    task: Task | None = None
    """What is to be answered, and the file with the labels."""
    finetune: Finetune = Finetune()
    """How encoder and head are trained for [task]."""
    validation: Validation = Validation()
    """Which rows the model is measured on."""
    ensemble: Ensemble = Ensemble()
    """What decides with the encoder."""
    evaluate: Evaluate = Evaluate()
    """What the report shows."""
    predict: Predict | None = None
    """A file to answer at the end of the run."""

    @model_validator(mode="before")
    @classmethod
    def _named_once(cls, values: Any) -> Any:
        """Put the file that another section names in the place of "task:train" and the like, with its column of texts."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for section, key in (("corpus", "sources"), ("corpus", "validation_sources"), ("adapt", "sources")):
            part = values.get(section)
            if isinstance(part, dict) and isinstance(part.get(key), list):
                sources = [_resolved(values, each, f"{section}.{key}.{number}") for number, each in enumerate(part[key])]
                values[section] = {**values[section], key: sources}
        return values

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        if self.pretrain and not self.corpus:
            raise ValueError("corpus.sources: pre-training needs text; name at least one source")
        if self.pretrain and not self.pretrain.start and self.pretrain.row_length > self.model.max_length:
            raise ValueError(
                f"pretrain.row_length: rows of {self.pretrain.row_length} tokens need model.max_length of at least as many "
                f"(it is {self.model.max_length})"
            )
        if self.task:
            self._task_can_be_learned(self.task)
        else:
            for section, what in (("adapt", "whose texts it learns from"), ("predict", "whose answers it gives")):
                if getattr(self, section):
                    raise ValueError(f"{section}: needs a [task] section, {what}")
        if self.adapt and self.pretrain and not self.pretrain.start and self.adapt.row_length > self.model.max_length:
            raise ValueError(f"adapt.row_length: rows of {self.adapt.row_length} tokens need model.max_length of as many")
        return self

    def _task_can_be_learned(self, task: Task) -> None:
        finetune, validation = self.finetune, self.validation
        if not validation.development and (finetune.patience is not None or not validation.folds):
            raise ValueError('validation.development: 0 means no early stopping: set finetune.patience = "none", and use folds')
        if finetune.encoder is None:
            if not self.pretrain:
                raise ValueError("finetune.encoder: name a model folder, or add a [pretrain] section")
            if self.pretrain.start:  # what its encoder can hold is known when it is opened
                return
            if task.max_length > self.model.max_length:
                raise ValueError(
                    f"task.max_length: {task.max_length} tokens are longer than model.max_length {self.model.max_length}"
                )
            left = self.model.n_layers - finetune.remove_last
            if left < 1:
                raise ValueError(f"finetune.remove_last: would leave no layer of {self.model.n_layers}")
            if finetune.unfreeze_last > left:
                raise ValueError(f"finetune.unfreeze_last: the encoder has {left} layers")
        elif self.adapt and finetune.encoder.startswith(HUB):
            raise ValueError("finetune.encoder: only an encoder that Bongsu pre-trained can be adapted")


def _resolved(values: Tree, source: Any, where: str) -> Any:
    """Return a source whose path, where it was one of `NAMED`, is that of the file.

    Raises:
        ValueError: when the file is not named, or its kind of task has no column with one text a row.
    """
    if not isinstance(source, dict) or source.get("path") not in NAMED:
        return source
    section, key = source["path"].split(":")
    task, part = values.get("task"), values.get(section)
    if not isinstance(task, dict) or not isinstance(part, dict) or not isinstance(part.get(key), str):
        raise ValueError(f"{where}.path: {source['path']!r} stands for the file of {section}.{key}, which is not given")
    kind = task.get("kind", "classification")
    if kind not in ("classification", "multilabel", "regression"):
        raise ValueError(f"{where}.path: {source['path']!r} is for kinds of task with one text a row, not {kind}; name a file")
    conditions = NAMED[source["path"]]
    inherited = {"text": task.get("text", "text"), **({"where": task[conditions]} if conditions in task else {})}
    return {**inherited, **source, "path": part[key]}
