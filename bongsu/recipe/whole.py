"""A whole run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bongsu.recipe.corpus import Corpus, Tokenizer
from bongsu.recipe.finetuning import HUB, Ensemble, Evaluate, Finetune, Predict, Validation
from bongsu.recipe.pretraining import Adapt, Model, Pretrain
from bongsu.recipe.section import Section
from bongsu.recipe.task import Task


class Recipe(Section):
    """A whole run. Sections that are left out are stages that are not run."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    corpus: Corpus | None = None
    tokenizer: Tokenizer = Tokenizer()
    model: Model = Model()
    pretrain: Pretrain | None = None
    adapt: Adapt | None = None
    task: Task | None = None
    finetune: Finetune = Finetune()
    validation: Validation = Validation()
    ensemble: Ensemble = Ensemble()
    evaluate: Evaluate = Evaluate()
    predict: Predict | None = None

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
