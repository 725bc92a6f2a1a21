"""A whole run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bongsu.recipe.corpus import Corpus, Tokenizer
from bongsu.recipe.finetuning import HUB, Evaluate, Finetune, Intermediate, Predict
from bongsu.recipe.pretraining import Adapt, Model, Pretrain
from bongsu.recipe.section import Section


class Recipe(Section):
    """A whole run. Sections that are left out are stages that are not run."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    corpus: Corpus | None = None
    tokenizer: Tokenizer = Tokenizer()
    model: Model = Model()
    pretrain: Pretrain | None = None
    adapt: Adapt | None = None
    intermediate: Intermediate | None = None
    finetune: Finetune | None = None
    evaluate: Evaluate = Evaluate()
    predict: Predict | None = None

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        if self.pretrain and not self.corpus:
            raise ValueError("corpus.sources: pre-training needs text; name at least one source")
        if self.pretrain and self.pretrain.row_length > self.model.max_length:
            raise ValueError(
                f"pretrain.row_length: rows of {self.pretrain.row_length} tokens need model.max_length of at least as many "
                f"(it is {self.model.max_length})"
            )
        if self.finetune:
            if not self.finetune.encoder and not self.pretrain:
                raise ValueError("finetune.encoder: name a model folder, or add a [pretrain] section")
            if not self.finetune.encoder and self.finetune.max_length > self.model.max_length:
                raise ValueError(
                    f"finetune.max_length: {self.finetune.max_length} tokens are longer than model.max_length "
                    f"{self.model.max_length}"
                )
            if not self.finetune.encoder and self.finetune.remove_last >= self.model.n_layers:
                raise ValueError(f"finetune.remove_last: would leave no layer of {self.model.n_layers}")
            if not self.finetune.encoder and self.finetune.unfreeze_last > self.model.n_layers - self.finetune.remove_last:
                raise ValueError(
                    f"finetune.unfreeze_last: the encoder has {self.model.n_layers - self.finetune.remove_last} layers"
                )
        if self.adapt and not self.finetune:
            raise ValueError("adapt.sources: adapting needs a [finetune] section, whose texts it learns from")
        if self.intermediate and self.finetune and self.finetune.encoder and self.finetune.encoder.startswith(HUB):
            raise ValueError("intermediate.sources: only encoders that Bongsu pre-trained can be trained on; leave it out")
        if self.intermediate and not self.finetune:
            raise ValueError("intermediate.sources: training on other labels needs a [finetune] section to prepare for")
        if (self.adapt or self.intermediate) and self.finetune and (self.finetune.encoder or "").startswith(HUB):
            raise ValueError("finetune.encoder: only an encoder that Bongsu pre-trained can be adapted or trained in between")
        if self.adapt and self.pretrain and self.adapt.row_length > self.model.max_length:
            raise ValueError(f"adapt.row_length: rows of {self.adapt.row_length} tokens need model.max_length of as many")
        if self.predict and not self.finetune:
            raise ValueError("predict.input: predicting needs a [finetune] section")
        return self
