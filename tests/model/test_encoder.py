"""The encoder against `transformers`, against torch's own layers, and against itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import pack, shake, small
from torch import nn
from transformers import ModernBertConfig, ModernBertModel

from bongsu import recipe
from bongsu.errors import DataError
from bongsu.model.attention import attention_mask, fused_attention, plain_attention
from bongsu.model.encoder import Encoder, EncoderConfig, sinusoids
from bongsu.model.masked_lm import MaskedLanguageModel

PRESETS = ["classic", "modern"]
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def modernbert(config: EncoderConfig) -> ModernBertModel:
    hidden_activation = {"geglu": "gelu", "swiglu": "silu"}[config.activation]
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    model: ModernBertModel = ModernBertModel(
        ModernBertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            intermediate_size=config.d_ff,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            hidden_activation=hidden_activation,
            max_position_embeddings=config.max_length,
            norm_eps=config.norm_eps,
            pad_token_id=config.pad_id,
            layer_types=["full_attention"] * config.n_layers,
            rope_parameters={"full_attention": dict(rope), "sliding_attention": dict(rope)},
            bos_token_id=None,
            eos_token_id=None,
            cls_token_id=None,
            sep_token_id=None,
            attn_implementation="eager",  # type: ignore[call-arg]
        )
    )
    model.eval()
    return model


@pytest.mark.parametrize("activation", ["geglu", "swiglu"])
def test_modern_is_transformers_modernbert(activation: str) -> None:
    config = small(activation=activation, rope_theta=160.0)
    ours, theirs = Encoder(config).eval(), modernbert(config)
    shake(ours)
    theirs.load_state_dict(ours.state_dict(), strict=True)  # the very names
    ids = torch.randint(1, 50, (3, 11))
    ids[1, 7:] = 0
    ids[2, 2:] = 0
    real = ids != 0
    with torch.no_grad():
        reference = theirs(ids, attention_mask=real.long(), output_hidden_states=True)
        layers = ours.forward_layers(ids)
        torch.testing.assert_close(ours(ids)[real], reference.last_hidden_state[real], **CLOSE)
    torch.testing.assert_close(layers[-1][real], reference.last_hidden_state[real], **CLOSE)
    for layer, expected in zip(layers[:-1], reference.hidden_states[1:], strict=False):
        torch.testing.assert_close(layer[real], expected[real], **CLOSE)


def test_packed_modern_is_transformers_one_by_one() -> None:
    config = small()
    ours, theirs = Encoder(config).eval(), modernbert(config)
    shake(ours)
    theirs.load_state_dict(ours.state_dict())
    sentences = [[5, 6, 7, 8], [9], [10, 11, 12, 13, 14, 5]]
    ids, segments, positions = pack(sentences, 14)
    with torch.no_grad():
        packed = ours(ids, segments, positions)[0]
        alone = torch.cat([theirs(torch.tensor([sentence])).last_hidden_state[0] for sentence in sentences])
    torch.testing.assert_close(packed[: len(alone)], alone, **CLOSE)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_classic_is_torch_encoder_layers(activation: str) -> None:
    config = small("classic", activation=activation)
    ours = Encoder(config).eval()
    shake(ours)
    layer = nn.TransformerEncoderLayer(16, 4, 24, 0.0, activation, batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(16), enable_nested_tensor=False)
    names = {
        "attn_norm": "norm1",
        "attn.Wqkv.weight": "self_attn.in_proj_weight",
        "attn.Wqkv.bias": "self_attn.in_proj_bias",
        "attn.Wo": "self_attn.out_proj",
        "mlp_norm": "norm2",
        "mlp.Wi": "linear1",
        "mlp.Wo": "linear2",
        "final_norm": "norm",
    }
    weights = {}
    for name, tensor in ours.state_dict().items():
        for mine, torchs in names.items():
            name = name.replace(mine, torchs)
        weights[name] = tensor
    embedding = weights.pop("embeddings.tok_embeddings.weight")
    theirs.load_state_dict(weights, strict=True)

    ids = torch.randint(1, 50, (3, 9))
    ids[1, 5:] = 0
    real = ids != 0
    place = torch.arange(9.0)[:, None] / 10000 ** (torch.arange(0, 16, 2) / 16)
    waves = torch.zeros(9, 16)
    waves[:, 0::2], waves[:, 1::2] = place.sin(), place.cos()
    with torch.no_grad():
        theirs.train()  # no dropout in it; in evaluation mode torch takes a fused path of its own
        expected = theirs(embedding[ids] * 4.0 + waves, src_key_padding_mask=~real)
        torch.testing.assert_close(ours(ids)[real], expected[real], **CLOSE)


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoids(8, 6)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert table[5, 2].item() == pytest.approx(torch.sin(torch.tensor(5 / 10000 ** (2 / 6))).item())


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4), spare=st.integers(0, 5), heads=st.sampled_from([1, 2, 4]))
def test_packed_sentences_do_not_see_each_other(preset: str, lengths: list[int], spare: int, heads: int) -> None:
    encoder = Encoder(small(preset, n_heads=heads, n_layers=2)).eval()
    sentences = [torch.randint(1, 50, (length,)).tolist() for length in lengths]
    ids, segments, positions = pack(sentences, sum(lengths) + spare)
    with torch.no_grad():
        packed = encoder(ids, segments, positions)[0]
        alone = torch.cat([encoder(torch.tensor([sentence]))[0] for sentence in sentences])
    torch.testing.assert_close(packed[: len(alone)], alone, **CLOSE)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("activation", ["relu", "gelu", "swish", "geglu", "swiglu"])
def test_reading_some_positions_is_reading_all_then_choosing(preset: str, activation: str) -> None:
    encoder = Encoder(small(preset, activation=activation))
    shake(encoder)
    ids, read = torch.randint(0, 50, (4, 8)), torch.tensor([0, 3, 3, 17, 31])
    weight = torch.randn(5, 16)

    def gradients(hidden: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad((hidden * weight).sum(), list(encoder.parameters())))

    chosen, full = encoder(ids, query_positions=read), encoder(ids).flatten(0, 1)[read]
    torch.testing.assert_close(chosen, full, **CLOSE)
    for one, other in zip(gradients(chosen), gradients(full), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("bfloat16", [False, True])
def test_rows_of_nothing_but_padding_stay_finite(preset: str, bfloat16: bool) -> None:
    model = MaskedLanguageModel(small(preset))
    ids = torch.randint(1, 50, (3, 8))
    ids[1] = 0
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = model(ids)
    assert logits.dtype == (torch.bfloat16 if bfloat16 else torch.float32)
    logits.float().logsumexp(-1).sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("preset", PRESETS)
def test_bfloat16_is_near_float32(preset: str) -> None:
    encoder = Encoder(small(preset)).eval()
    ids = torch.randint(1, 50, (4, 12))
    with torch.no_grad():
        exact = encoder(ids)
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(ids)
    assert (rough - exact).norm() < 0.02 * exact.norm()


def test_both_ways_of_attention_agree() -> None:
    q, k, v = torch.randn(3, 2, 4, 6, 8)
    mask = attention_mask(torch.tensor([[1, 1, 2, 2, 0, 0], [0, 0, 0, 0, 0, 0]]), torch.float32)
    torch.testing.assert_close(plain_attention(q, k, v, mask, 0.0), fused_attention(q, k, v, mask, 0.0), **CLOSE)


def test_dropout_of_attention_weights_is_right_on_average() -> None:
    q, k, v = (x.expand(4000, -1, -1, -1) for x in torch.randn(3, 1, 2, 5, 8))
    mask = torch.zeros(1, 1, 5, 5)
    exact, rough = plain_attention(q, k, v, mask, 0.0), plain_attention(q, k, v, mask, 0.2)
    assert (rough - exact).std() > 0.05
    torch.testing.assert_close(rough.mean(0), exact[0], rtol=0, atol=0.05)


def test_mask_is_block_diagonal() -> None:
    mask = attention_mask(torch.tensor([[1, 1, 2, 0]]), torch.float32)
    assert (mask == 0).int().tolist() == [[[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]]


@pytest.mark.parametrize("preset", PRESETS)
def test_dropout_works_in_training_only(preset: str) -> None:
    encoder, ids = Encoder(small(preset, dropout=0.3)), torch.randint(1, 50, (2, 6))
    assert not torch.equal(encoder(ids), encoder(ids))
    encoder.eval()
    assert torch.equal(encoder(ids), encoder(ids))


def test_too_long_rows_are_refused_in_words() -> None:
    with pytest.raises(DataError, match=r"40 tokens.*for 32"):
        Encoder(small())(torch.ones(1, 40, dtype=torch.long))


def test_config_from_recipe_and_back() -> None:
    config = EncoderConfig.from_recipe(recipe.Model(d_model=64, n_heads=4), vocab_size=300)
    assert (config.d_ff, config.activation, config.gated) == (192, "geglu", True)
    assert EncoderConfig.from_dict(config.to_dict()) == config


def test_a_narrow_residual_stream_changes_rounding_alone() -> None:
    config = EncoderConfig(50, "modern", 32, 3, 4, 48, "geglu", 0.0, 16)
    encoder = Encoder(config).eval()
    ids = torch.randint(3, 50, (4, 12), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = encoder(ids)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            wide = encoder(ids)
            encoder.narrow_residual = True
            narrow = encoder(ids)
        assert torch.equal(encoder(ids), exact)  # without autocast there is no narrower type
    assert not torch.equal(narrow, wide)
    assert (narrow - exact).abs().max() < 0.1
