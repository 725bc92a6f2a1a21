"""Encoders of preset `modern` as stock ModernBERT folders of `transformers`, and back. Weights are safetensors, always.

ModernBERT puts a layer between the encoder and the output matrix (dense, activation, norm), where ours has nothing. Given the
final norm's weight w, dense = diag(1 / w), no activation and a norm with weight w leave a vector as it is: 1 / w undoes the
weight, and a LayerNorm of a vector that is normalised already is the identity, but for eps, which w · √(1 + eps) makes up for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from bongsu.errors import WorkspaceError
from bongsu.files import atomic_folder, read_json, write_bytes, write_json
from bongsu.inference.bundle import is_bundle, open_bundle, refuse_pickles
from bongsu.model.encoder import EncoderConfig
from bongsu.model.io import CONFIG, WEIGHTS, save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.recipe import Activation
from bongsu.tokens.bpe import TOKENIZER, load_tokenizer, save_tokenizer
from bongsu.tokens.special import MASK_ID, PAD_ID

_ACTIVATIONS: dict[str, Activation] = {"gelu": "geglu", "silu": "swiglu"}
_FULL = "full_attention"
_PREFIX = "model."
_EMBEDDING = "embeddings.tok_embeddings.weight"


def write_modernbert(model: MaskedLanguageModel, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` as `ModernBertForMaskedLM.save_pretrained` would.

    Raises:
        WorkspaceError: when the encoder has parts that ModernBERT has no place for.
    """
    config = model.encoder.config
    if config.preset != "modern":
        raise WorkspaceError(
            f"This encoder is of preset {config.preset!r} (biases, sinusoidal positions), and transformers has no model "
            'of that shape. Train with model.preset = "modern", or export the detector with --to onnx.'
        )
    if not config.gated:
        raise WorkspaceError(
            f"This encoder's feed-forward layers use {config.activation!r} without a gate, and ModernBERT's are gated. Train "
            'with model.activation = "geglu" or "swiglu", or export the detector with --to onnx.'
        )
    write_json(folder / CONFIG, _to_config(config))
    tensors = {f"{_PREFIX}{name}": tensor for name, tensor in model.encoder.state_dict().items()}
    tensors |= _neutral_head(model.encoder.final_norm.weight, config.norm_eps)
    tensors["decoder.bias"] = model.output_bias
    plain = {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}
    write_bytes(folder / WEIGHTS, safetensors.torch.save(plain, metadata={"format": "pt"}))


def read_modernbert(folder: Path) -> tuple[MaskedLanguageModel, bool]:
    """Return the model that `write_modernbert` wrote, and whether its output is that of the folder too.

    A prediction head that does something has no place here; the hidden states are the same without it, the output is not.

    Raises:
        WorkspaceError: when the folder is no ModernBERT, holds pickles, or has parts that ours has no place for.
    """
    refuse_pickles(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise WorkspaceError(f"{folder / name}: no such file; name a ModernBERT folder with {CONFIG} and {WEIGHTS}.")
    try:
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise WorkspaceError(f"{folder / WEIGHTS}: damaged ({error}). Copy it again.") from None
    theirs = read_json(folder / CONFIG)
    config = _from_config(folder / CONFIG, theirs)
    prefix = _PREFIX if f"{_PREFIX}{_EMBEDDING}" in tensors else ""  # saved by AutoModel: without its output
    own = {name.removeprefix(prefix): tensor.float() for name, tensor in tensors.items() if name.startswith(prefix)}
    with torch.device("meta"):
        model = MaskedLanguageModel(config)
    expected = {name: tensor.shape for name, tensor in model.encoder.state_dict().items()}
    wrong = [name for name, shape in expected.items() if name not in own or own[name].shape != shape]
    if wrong:
        raise WorkspaceError(f"{folder / WEIGHTS}: {wrong[0]} is missing or of another shape than {CONFIG} says.")
    bias = tensors.get("decoder.bias", torch.zeros(config.vocab_size)).float()
    model.load_state_dict({f"encoder.{name}": own[name] for name in expected} | {"output_bias": bias}, assign=True)
    neutral = theirs.get("classifier_activation") == "linear" and all(
        name in tensors and torch.allclose(tensors[name].float(), tensor, rtol=1e-4, atol=1e-6)
        for name, tensor in _neutral_head(own["final_norm.weight"], config.norm_eps).items()
    )
    return model.eval(), neutral


def import_modernbert(folder: Path, out: Path) -> bool:
    """Write a ModernBERT folder as a model folder `out`, for fine-tuning to start from.

    Returns:
        Whether the output layer is that of `folder` too; else the hidden states alone are.

    Raises:
        WorkspaceError: when the folder was changed since Bongsu wrote it, or Bongsu's encoder cannot hold its model, or `out`
            is there already.
    """
    if out.exists():
        raise WorkspaceError(f"{out}: is there already; name a new folder with --out.")
    if is_bundle(folder):
        bundle = open_bundle(folder)
        for name in (CONFIG, WEIGHTS, TOKENIZER):
            bundle.file(name)
    model, whole = read_modernbert(folder)
    tokenizer = load_tokenizer(folder)
    with atomic_folder(out) as made:
        save_encoder(made, model)
        save_tokenizer(tokenizer, made, model.encoder.config.max_length)
    return whole


def _neutral_head(weight: Tensor, eps: float) -> dict[str, Tensor]:
    weight = weight.detach()
    if float(weight.abs().min()) < 1e-4:
        raise WorkspaceError("A weight of the encoder's final norm is nearly zero, which ModernBERT's output cannot undo.")
    return {"head.dense.weight": torch.diag(1 / weight), "head.norm.weight": weight * (1 + eps) ** 0.5}


def _to_config(config: EncoderConfig) -> dict[str, object]:
    hidden_activation = next(name for name, ours in _ACTIVATIONS.items() if ours == config.activation)
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    return {
        "model_type": "modernbert",
        "architectures": ["ModernBertForMaskedLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "hidden_activation": hidden_activation,
        "max_position_embeddings": config.max_length,
        "norm_eps": config.norm_eps,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "decoder_bias": True,
        "classifier_activation": "linear",
        "classifier_pooling": "mean",  # there is no [CLS]
        "tie_word_embeddings": True,
        "pad_token_id": PAD_ID,
        "mask_token_id": MASK_ID,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")),
        "attention_dropout": config.dropout,
        "embedding_dropout": config.dropout,
        "mlp_dropout": config.dropout,
        # Every layer sees the whole text; each version of transformers has its own way to say so.
        "global_attn_every_n_layers": 1,
        "global_rope_theta": config.rope_theta,
        "local_rope_theta": config.rope_theta,
        "layer_types": [_FULL] * config.n_layers,
        "rope_parameters": {_FULL: rope, "sliding_attention": rope},
        "dtype": "float32",
    }


def _from_config(path: Path, theirs: dict[str, Any]) -> EncoderConfig:
    def refuse(reason: str) -> WorkspaceError:
        return WorkspaceError(f"{path}: {reason}, which Bongsu's encoder has no place for.")

    if theirs.get("model_type") != "modernbert":
        raise WorkspaceError(f"{path}: model_type is {theirs.get('model_type')!r}; a ModernBERT folder is needed.")
    layers = theirs.get("layer_types") or []
    if set(layers) - {_FULL} or (not layers and theirs.get("global_attn_every_n_layers", 3) != 1):
        raise refuse("some layers see a window of the text only")
    if found := [name for name in ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias") if theirs.get(name)]:
        raise refuse(f"{found[0]} is set")
    activation = _ACTIVATIONS.get(theirs.get("hidden_activation", "gelu"))
    if activation is None:
        raise refuse(f"hidden_activation is {theirs['hidden_activation']!r}")
    if theirs.get("pad_token_id") != PAD_ID:
        raise refuse(f"pad_token_id is {theirs.get('pad_token_id')!r}")
    rope = (theirs.get("rope_parameters") or {}).get(_FULL, {})
    if rope.get("rope_type", "default") != "default":
        raise refuse(f"rope_type is {rope['rope_type']!r}")
    try:
        return EncoderConfig(
            vocab_size=theirs["vocab_size"],
            preset="modern",
            d_model=theirs["hidden_size"],
            n_layers=theirs["num_hidden_layers"],
            n_heads=theirs["num_attention_heads"],
            d_ff=theirs["intermediate_size"],
            activation=activation,
            dropout=float(theirs.get("mlp_dropout", 0.0)),
            max_length=theirs["max_position_embeddings"],
            norm_eps=float(theirs.get("norm_eps", 1e-5)),
            rope_theta=float(rope.get("rope_theta", theirs.get("global_rope_theta", 160000.0))),
        )
    except KeyError as error:
        raise WorkspaceError(f"{path}: {error.args[0]} is missing; this is no whole ModernBERT configuration.") from None
