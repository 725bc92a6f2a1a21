"""What stands on an encoder: the output layer of masked-language modelling, and the sentence CNN."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bongsu import recipe
from bongsu.errors import RecipeError
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.hub import HubEncoder


class MaskedLanguageModel(nn.Module):
    """An encoder and an output layer whose matrix is the embedding (Press & Wolf 2017), with nothing between them."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None = None,
        positions: Tensor | None = None,
        read: Tensor | None = None,
    ) -> Tensor:
        """Logits over the vocabulary, [M, vocab_size], or [B, L, vocab_size] without `read`; see `Encoder.forward`."""
        hidden = self.encoder(input_ids, segment_ids, positions, read)
        return F.linear(hidden, self.encoder.embeddings.tok_embeddings.weight, self.output_bias)


@dataclass(frozen=True)
class CNNConfig:
    """The shape of a sentence CNN; `max_norm` None sets no bound."""

    n_classes: int
    kernel_sizes: tuple[int, ...] = (2, 3, 4)
    filters: int = 100
    dropout: float = 0.5
    max_norm: float | None = 3.0
    pooling: tuple[str, ...] = ()
    """What is read beside the convolutions: "mean", "attention"."""
    layers: int = 1
    """How many of the encoder's last layers are mixed."""

    @classmethod
    def from_recipe(cls, finetune: recipe.Finetune, n_classes: int) -> CNNConfig:
        return cls(
            n_classes=n_classes,
            kernel_sizes=tuple(finetune.kernel_sizes),
            filters=finetune.filters,
            dropout=finetune.head_dropout,
            max_norm=finetune.max_norm,
            pooling=tuple(finetune.pooling),
            layers=finetune.layers,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CNNConfig:
        """The opposite of `to_dict`. Raises TypeError when a key is missing or unknown."""
        config = cls(**values)
        return replace(config, kernel_sizes=tuple(config.kernel_sizes), pooling=tuple(config.pooling))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class SentenceCNN(nn.Module):
    """Convolutions of several widths over a text, the maximum of each over time, and a linear layer (Kim 2014).

    A text is the run of tokens at the start of its row. One shorter than the widest kernel is continued with zeros up to
    that width. Nothing else of the padding enters a convolution or a maximum, so the logits of a text do not depend on
    the batch it is in. With `pooling`, the mean of the vectors and their sum weighted by a learned query stand beside.
    """

    def __init__(self, d_model: int, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        self.convolutions = nn.ModuleList(nn.Conv1d(d_model, config.filters, k) for k in config.kernel_sizes)
        self.drop = nn.Dropout(config.dropout)
        if "attention" in config.pooling:
            self.query = nn.Linear(d_model, 1, bias=False)
        self.linear = nn.Linear(config.filters * len(config.kernel_sizes) + d_model * len(config.pooling), config.n_classes)

    def forward(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """hidden [B, L, d_model] and valid [B, L] bool (False at padding) -> logits [B, n_classes]."""
        return self.classify(self.features(hidden, valid))

    def classify(self, features: Tensor) -> Tensor:
        """features [B, F] -> logits [B, n_classes]."""
        return self.linear(self.drop(features))  # type: ignore[no-any-return]

    def features(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """What is known of each text, [B, F]; arguments as of `forward`."""
        hidden = hidden.masked_fill(~valid[..., None], 0)
        features = [self.convolve(hidden, valid)]
        for pooling in self.config.pooling:
            score = self.query(hidden)[..., 0] if pooling == "attention" else torch.zeros_like(valid, dtype=hidden.dtype)
            weights = score.masked_fill(~valid, torch.finfo(score.dtype).min).softmax(dim=-1)  # [B, L]; alike for the mean
            features.append((weights[..., None] * hidden).sum(dim=1))  # [B, d_model]
        return torch.cat(features, dim=1)

    def convolve(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """The maximum of each filter over a text, [B, K · filters] for K kernels; hidden is 0 at padding."""
        widest = max(self.config.kernel_sizes)
        x = hidden.transpose(1, 2)  # [B, d_model, L]
        x = F.pad(x, (0, max(0, widest - x.shape[-1])))  # [B, d_model, T], T = max(L, widest)
        lengths = valid.sum(dim=1, keepdim=True).clamp(min=widest)  # [B, 1]
        maxima = []
        for k, convolution in zip(self.config.kernel_sizes, self.convolutions, strict=True):
            y = convolution(x)  # [B, filters, T - k + 1]: one column for each place the kernel starts at
            starts = torch.arange(y.shape[-1], device=y.device)
            beyond = starts > lengths - k  # [B, T - k + 1]: kernels that end outside the text
            y = y.masked_fill(beyond[:, None], -torch.inf)
            maxima.append(F.relu(y.amax(dim=-1)))  # [B, filters]; ReLU after the maximum is the same and less work
        return torch.cat(maxima, dim=1)

    @torch.no_grad()
    def apply_max_norm(self) -> None:
        """Scales each class's weights down to an L2 norm of at most `max_norm` (Kim 2014, 3.1); for after each step."""
        if self.config.max_norm is not None:
            self.linear.weight.copy_(torch.renorm(self.linear.weight, p=2, dim=0, maxnorm=self.config.max_norm))


class Classifier(nn.Module):
    """An encoder, ours or one of `transformers`, and a sentence CNN."""

    def __init__(self, encoder: Encoder | HubEncoder, config: CNNConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = SentenceCNN(encoder.config.d_model, config)
        if config.layers > encoder.config.n_layers:
            raise RecipeError(f"finetune.layers: {config.layers} asked for, the encoder has {encoder.config.n_layers}.")
        if config.layers > 1:
            self.mixture = nn.Parameter(torch.zeros(config.layers))
        self.frozen: list[str] = []  # names of the modules that `freeze` took out of training

    def forward(self, input_ids: Tensor, segment_ids: Tensor | None = None) -> Tensor:
        """Token ids [B, L], one text a row, padded at the end -> logits [B, n_classes]."""
        return self.head.classify(self.features(input_ids, segment_ids))

    def features(self, input_ids: Tensor, segment_ids: Tensor | None = None) -> Tensor:
        """What the last linear layer reads, [B, F]; arguments as of `forward`."""
        if segment_ids is None:
            segment_ids = (input_ids != self.encoder.config.pad_id).long()
        return self.head.features(self._hidden(input_ids, segment_ids), segment_ids != 0)

    def _hidden(self, input_ids: Tensor, segment_ids: Tensor) -> Tensor:
        """The last layer's vectors [B, L, d_model], or a learned mixture of the last layers'."""
        if self.head.config.layers == 1:
            return self.encoder(input_ids, segment_ids)  # type: ignore[no-any-return]
        outputs = self.encoder.forward_layers(input_ids, segment_ids)[-self.head.config.layers :]
        weights = self.mixture.softmax(dim=0)
        return torch.stack([weight * output for weight, output in zip(weights, outputs, strict=True)]).sum(dim=0)

    @torch.no_grad()
    def divide_logits(self, temperature: float) -> None:
        """Divides the logits by a temperature, inside the last layer, so that probabilities are as sure as they ought to be."""
        self.head.linear.weight.div_(temperature)
        self.head.linear.bias.div_(temperature)

    def unfreeze_from(self, layer: int) -> None:
        """Layers from `layer` on are trained, with the embeddings for 0; those before are not. The head always is."""
        for index, part in enumerate(self.encoder.layers):
            part.requires_grad_(index >= layer)
        self.encoder.embeddings.requires_grad_(layer <= 0)

    def remove_last(self, n: int) -> None:
        """Takes the encoder's last n layers away (the final norm stays); for before `freeze`.

        Raises:
            RecipeError: when no layer would be left.
        """
        left = self.encoder.config.n_layers - n
        if left < 1:
            raise RecipeError(f"finetune.remove_last: {n} would leave no layer of {left + n}; give at most {left + n - 1}.")
        self.encoder.keep_layers(left)

    def freeze(self, unfreeze_last: int = 0) -> None:
        """Trains the head alone, or with it the encoder's last n layers and final norm.

        The frozen part has no dropout, and autograd records nothing there, since nothing in it requires a gradient.

        Raises:
            RecipeError: when the encoder has fewer layers.
        """
        n_layers = self.encoder.config.n_layers
        if unfreeze_last > n_layers:
            raise RecipeError(f"finetune.unfreeze_last: {unfreeze_last} layers asked for, the encoder has {n_layers}.")
        layers = [f"encoder.layers.{index}" for index in range(n_layers - unfreeze_last)]
        self.frozen = ["encoder.embeddings", *layers] if unfreeze_last else ["encoder"]
        self.requires_grad_(True)
        for name in self.frozen:
            self.get_submodule(name).requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Classifier:
        """Training or evaluation mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self
