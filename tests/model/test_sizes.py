"""Closed forms against the real modules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import small
from torch.utils.flop_counter import FlopCounterMode

from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.sizes import flops_per_token, parameter_count


@settings(max_examples=25)
@given(
    preset=st.sampled_from(["classic", "modern"]),
    activation=st.sampled_from(["relu", "gelu", "swish", "geglu", "swiglu"]),
    n_layers=st.integers(1, 4),
    d_ff=st.integers(1, 40),
    vocab_size=st.integers(10, 90),
)
def test_parameters_are_counted_right(preset: str, activation: str, n_layers: int, d_ff: int, vocab_size: int) -> None:
    config = small(preset, activation=activation, n_layers=n_layers, d_ff=d_ff, vocab_size=vocab_size)
    assert parameter_count(config) == sum(parameter.numel() for parameter in MaskedLanguageModel(config).parameters())


@pytest.mark.parametrize("preset", ["classic", "modern"])
@pytest.mark.parametrize("activation", ["relu", "geglu"])
@pytest.mark.parametrize("read", [None, 6])
def test_work_is_counted_right(preset: str, activation: str, read: int | None) -> None:
    config = small(preset, activation=activation)
    model, ids = MaskedLanguageModel(config), torch.randint(1, 50, (2, 12))
    with FlopCounterMode(display=False) as counter:
        model(ids, query_positions=None if read is None else torch.arange(read))
    share = 1.0 if read is None else read / ids.numel()
    assert counter.get_total_flops() == pytest.approx(ids.numel() * flops_per_token(config, 12, share))
