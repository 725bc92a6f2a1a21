"""An encoder and a head: the model that fine-tuning trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bongsu.errors import RecipeError
from bongsu.model.encoder import Encoder
from bongsu.model.heads import HeadConfig, PairConfig, build_head
from bongsu.model.hub import HubEncoder


class TaskModel(nn.Module):
    """An encoder, ours or one of `transformers`, under the head of a task."""

    def __init__(self, encoder: Encoder | HubEncoder, config: HeadConfig, pairs: bool = False) -> None:
        """Put a fresh head on an encoder.

        Args:
            pairs: rows have two texts. Under a comparison an encoder of ours reads each by itself (a bi-encoder, Reimers and
                Gurevych 2019). Else a token sees both, and a learned vector is added to those of the second.
        """
        super().__init__()
        self.encoder = encoder
        self.head = build_head(encoder.config.d_model, config)
        self.pairs = pairs
        self.apart = pairs and isinstance(config, PairConfig) and isinstance(encoder, Encoder)
        if pairs and not self.apart and isinstance(encoder, Encoder):  # those of `transformers` have one of their own
            self.second_text = nn.Parameter(torch.zeros(encoder.config.d_model))
        self.frozen: list[str] = []  # names of the modules that `freeze` took out of training

    def forward(self, input_ids: Tensor, text_ids: Tensor | None = None) -> Tensor:
        """Return the head's outputs.

        Args:
            input_ids: [B, L] int64, one row a text or a pair of texts, padded at the end.
            text_ids: [B, L] int64, with `pairs`: 1 for the tokens of a row's second text, 0 elsewhere.

        Returns:
            [B, n_outputs] of a head for whole texts or pairs, [B, L, n_outputs] of one for tokens.
        """
        hidden, valid = self.hidden(input_ids, text_ids)
        return self.head(hidden, valid, text_ids)  # type: ignore[no-any-return]

    def hidden(self, input_ids: Tensor, text_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the encoder's vectors [B, L, d_model] and which of them are of tokens [B, L] bool.

        Two texts that are read apart are two sentences of a packed row, as in pre-training.
        """
        valid = input_ids != self.encoder.config.pad_id
        if isinstance(self.encoder, HubEncoder):
            return self.encoder(input_ids, valid.long(), text_ids), valid
        if self.apart and text_ids is not None:
            first = (valid & (text_ids == 0)).sum(dim=1, keepdim=True)  # [B, 1], the length of the first text
            positions = (torch.arange(input_ids.shape[1], device=input_ids.device) - first * text_ids).clamp(min=0)
            return self.encoder(input_ids, valid.long() * (1 + text_ids), positions), valid
        added = text_ids[..., None] * self.second_text if self.pairs and text_ids is not None else None
        return self.encoder(input_ids, valid.long(), added=added), valid

    def remove_last(self, n: int) -> None:
        """Remove the encoder's last n layers; the final norm stays. Call it before `freeze`.

        Raises:
            RecipeError: when no layer would be left.
        """
        left = self.encoder.config.n_layers - n
        if left < 1:
            raise RecipeError(f"finetune.remove_last: {n} would leave no layer of {left + n}; give at most {left + n - 1}.")
        self.encoder.keep_layers(left)

    def freeze(self, unfreeze_last: int = 0) -> None:
        """Train the head alone, or with it the encoder's last n layers and final norm.

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

    def train(self, mode: bool = True) -> TaskModel:
        """Set training or evaluation mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self
