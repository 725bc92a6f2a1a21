"""The encoder, and how it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bongsu.recipe.corpus import Script, Source
from bongsu.recipe.section import GATED, Activation, Fraction, Positive, Probability, Schedule, Section


class Model(Section):
    """The encoder. `classic` is the study's, `modern` is ModernBERT's layer."""

    preset: Literal["classic", "modern"] = "modern"
    """The layer: `classic` is pre-norm with sinusoidal positions, `modern` is ModernBERT's with rotary positions and no
    biases."""
    d_model: Positive = 256
    """Width of a token's vector; a multiple of `n_heads`."""
    n_layers: Positive = 4
    """Layers of the encoder."""
    n_heads: Positive = 4
    """Attention heads of a layer."""
    d_ff: Positive | None = None
    """Width of the feed-forward layer; by default 4 x d_model, or two thirds of that when gated (Shazeer 2020)."""
    activation: Activation | None = None
    """By default relu (classic) or geglu (modern)."""
    dropout: Probability = 0.0
    """Dropout inside the encoder, as a probability."""
    max_length: Positive = 512
    """The most positions a sequence may have."""

    @property
    def resolved_activation(self) -> Activation:
        return self.activation or ("relu" if self.preset == "classic" else "geglu")

    @property
    def resolved_d_ff(self) -> int:
        if self.d_ff is not None:
            return self.d_ff
        if self.resolved_activation in GATED:
            return -(-8 * self.d_model // 3 // 32) * 32
        return 4 * self.d_model

    @model_validator(mode="after")
    def _sizes_fit(self) -> Model:
        if self.d_model % self.n_heads:
            near = [n for n in range(1, self.d_model + 1) if self.d_model % n == 0]
            best = min(near, key=lambda n: abs(n - self.n_heads))
            raise ValueError(f"n_heads: {self.n_heads} does not divide d_model {self.d_model}; the nearest that does is {best}")
        if self.preset == "modern" and (self.d_model // self.n_heads) % 2:
            raise ValueError(
                f"n_heads: rotary positions need an even head size, d_model / n_heads is {self.d_model // self.n_heads}"
            )
        if self.preset == "classic" and self.d_model % 2:
            raise ValueError(f"d_model: sinusoidal positions need an even size, not {self.d_model}")
        return self


class Optimization(Section):
    """What the training loop needs to know, whatever it trains."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon`: for the matrices of the layers the update is made orthogonal (Jordan 2024); AdamW for all else."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay of matrices; embeddings, norms and biases have none."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """AdamW's decays of the first and second moment of the gradient."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-6
    """AdamW's term that keeps it from dividing by zero."""
    momentum: Probability = 0.95
    """Muon's."""
    schedule: Schedule = "wsd"
    """The course of the learning rate after the warm-up; `wsd` stays at the peak and then falls (warm-up, stable, decay)."""
    warmup: Fraction = 0.05
    """Share of the steps in which the learning rate rises from 0."""
    decay: Fraction = 0.3
    """`wsd`: share of the steps, at the end, in which the learning rate falls to `final`."""
    final: Fraction = 0.0
    """The last learning rate, as a share of `learning_rate` (exponential: at least 1e-4)."""
    cycles: Positive = 3
    """`cosine_restarts`: how many times the learning rate starts anew."""
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of the gradient."""
    accumulate: Positive = 1
    """Batches whose gradients are added up before a step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """The type computed in. `auto`: bfloat16 where the processor computes with it, else float32."""
    device: str = "auto"
    """`auto`, or a device of PyTorch such as "cpu", "cuda", "cuda:1" or "mps". `auto` is CUDA, then MPS, then the CPU."""
    loader_workers: Annotated[int, Field(ge=0)] | None = None
    """Processes that prepare batches; 0 is a thread of the training process. By default 0 on a CPU, up to 4 for a GPU."""
    log_every: Positive = 20
    """Steps from one line of metrics.jsonl to the next."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """Minutes from one checkpoint to the next."""
    keep: Positive = 2
    """How many of the latest checkpoints to keep beside the best."""
    spike: Annotated[float, Field(gt=1.0)] | None = None
    """A step whose loss is more than this many times the mean of the last ones is left out, as one whose loss is no number."""
    max_skipped: Positive = 10
    """After this many steps left out in a row, training has diverged."""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """`rollback` goes back to the last checkpoint with half the learning rate, three times at most."""


class Pretrain(Optimization):
    """Masked-language modelling (Devlin et al. 2019; masks drawn anew every epoch as in Liu et al. 2019)."""

    start: str | None = None
    """Go on with this encoder on the text of [corpus], with its tokenizer, in place of a new one: a model folder, a run's
    folder or "bongsu:beacon". [tokenizer] and [model] are not read then."""
    batch_sentences: Positive | None = None
    """Sentences of a batch."""
    batch_tokens: Positive | None = None
    """One of the two; by default 128 sentences."""
    row_length: Annotated[int, Field(ge=8)] = 128
    """Sentences are packed into rows of this many tokens; longer sentences are cut."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the corpus; parts of one, such as 0.5, are allowed."""
    steps: Positive | None = None
    """One of the two; by default 3 epochs."""
    mask_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.15
    """Share of the tokens that are hidden and to be predicted."""
    mask_rate_start: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """The rate training begins with; it changes evenly to `mask_rate`, at which validation is always measured."""
    masking: Literal["dynamic", "static"] = "dynamic"
    """Masks drawn anew every epoch (`dynamic`), or once (`static`)."""
    whole_words: bool = False
    """Masking of all tokens of a word at a time (Cui et al. 2021)."""
    average: Fraction = 0.0
    """Measure and keep the mean of the weights over this last share of the steps (Izmailov et al. 2018)."""
    teacher: str | None = None
    """"hf:FOLDER", an encoder of `transformers`: the mean of a sentence's vectors, through a linear layer, learns to be like
    the teacher's sentence vector (Reimers and Gurevych 2020), while masked tokens are predicted as ever."""
    teacher_scripts: list[Script] = []
    """Teach sentences written mostly in these scripts, which the teacher can read; empty teaches all."""
    teacher_weight: Annotated[float, Field(gt=0)] = 10.0
    """Weight of 1 - cosine beside the loss of a masked token."""
    compile: Literal["auto", "on", "off"] = "auto"
    """`torch.compile`. `auto`: for a GPU, unless the run is short; on a CPU it gains next to nothing."""
    evaluations: Positive = 10
    """How many times to measure on the validation split."""
    validation_sentences: Positive = 4000
    """The most sentences of the validation split that are measured on."""
    spike: Annotated[float, Field(gt=1.0)] | None = 2.0

    @property
    def highest_mask_rate(self) -> float:
        return max(self.mask_rate, self.mask_rate_start or 0.0)

    @model_validator(mode="after")
    def _one_of_each(self) -> Pretrain:
        if self.batch_sentences and self.batch_tokens:
            raise ValueError("batch_tokens: give batch_sentences or batch_tokens, not both")
        if self.epochs and self.steps:
            raise ValueError("steps: give epochs or steps, not both")
        return self


class Adapt(Pretrain):
    """Going on with pre-training on the task's own texts: those of [task]'s files and of [predict]'s, without labels."""

    sources: list[Source] = []
    """More texts like them."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Peak learning rate; lower than that of pre-training, so that less is forgotten."""
    warmup: Fraction = 0.1
