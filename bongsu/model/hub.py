"""Encoders of `transformers` behind the interface of `Encoder`, so that the same head stands on them.

BERT, MiniLM, RoBERTa, XLM-R, DistilBERT, MPNet, ELECTRA, DeBERTa, ModernBERT: any model that `transformers` itself knows, whose
layers are a list. Weights are read from safetensors alone, and no code that comes with a model is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor, nn

from bongsu.errors import WorkspaceError, need
from bongsu.files import read_json
from bongsu.recipe import HUB

_KEPT_BY_LAYER = ("layer_types",)  # lists of the configuration with an entry a layer


@dataclass(frozen=True)
class HubConfig:
    """What a classifier must know of an encoder of `transformers`, and the configuration that it is built from again."""

    values: dict[str, Any]
    """Its `config.json`."""
    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    max_length: int
    pad_id: int

    def to_dict(self) -> dict[str, Any]:
        return {"transformers": self.values}


class HubEncoder(nn.Module):
    """A model of `transformers`, without its pooler."""

    def __init__(self, model: nn.Module) -> None:
        """Raises WorkspaceError when the model is not an encoder of BERT's kind."""
        super().__init__()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # type: ignore[assignment]
        self.model = model
        self.config = _read(model)
        lists = [name for name, part in model.named_modules() if isinstance(part, nn.ModuleList)]
        self._place = next((name for name in lists if len(model.get_submodule(name)) == self.config.n_layers), "")  # type: ignore[arg-type]
        self._has_types = getattr(model.config, "type_vocab_size", 0) > 1
        if not self._place:
            raise WorkspaceError(f"{self.config.values['model_type']}: its layers are no list of their own, as BERT's are.")

    @classmethod
    def open(cls, folder: Path) -> HubEncoder:
        """Return the encoder in a folder that `save_pretrained` wrote, in float32, in evaluation mode.

        Raises:
            WorkspaceError: when it is none, or would need code or pickles that came with it.
            MissingExtraError: without `transformers`.
        """
        check_folder(folder)
        transformers = _library()
        try:
            with _quiet():
                model, found = transformers.AutoModel.from_pretrained(
                    folder,
                    attn_implementation="eager",  # see `attention.plain_attention`
                    local_files_only=True,
                    output_loading_info=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                )
        except Exception as error:  # the library raises errors of many kinds
            raise WorkspaceError(f"{folder}: transformers cannot open it ({error}).") from None
        missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
        if missing:
            raise WorkspaceError(f"{folder}: {missing[0]} is missing among the weights ({len(missing)} are).")
        return cls(model.float()).eval()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> HubEncoder:
        """Build from the values of `HubConfig.to_dict`: an encoder on the CPU, with weights of no meaning."""
        transformers = _library()
        rest = {key: value for key, value in values["transformers"].items() if key != "model_type"}
        # Not on the meta device: what the model computes for itself, such as positions, is not among the weights.
        with _quiet(), torch.device("cpu"), torch.random.fork_rng(devices=[]):
            config = transformers.AutoConfig.for_model(values["transformers"]["model_type"], **rest)
            return cls(transformers.AutoModel.from_config(config, attn_implementation="eager"))

    @property
    def layers(self) -> nn.ModuleList:
        found = self.model.get_submodule(self._place)
        assert isinstance(found, nn.ModuleList)
        return found

    @property
    def embeddings(self) -> nn.Module:
        return self.model.get_submodule("embeddings")

    def forward(self, input_ids: Tensor, segment_ids: Tensor, text_ids: Tensor | None = None) -> Tensor:
        """Return vectors of tokens in context.

        Args:
            input_ids: [B, L] int64, one row a text or a pair.
            segment_ids: [B, L] int64, 0 for padding.
            text_ids: [B, L] int64, 1 for the tokens of a pair's second text; models without token types ignore it.

        Returns:
            [B, L, d_model].
        """
        types = {"token_type_ids": text_ids} if text_ids is not None and self._has_types else {}
        return self.model(  # type: ignore[no-any-return]
            input_ids=input_ids, attention_mask=(segment_ids != 0).long(), **types
        ).last_hidden_state

    def forward_layers(self, input_ids: Tensor, segment_ids: Tensor) -> list[Tensor]:
        """Return the output of every layer, first to last, each [B, L, d_model]."""
        found = self.model(input_ids=input_ids, attention_mask=(segment_ids != 0).long(), output_hidden_states=True)
        return [*found.hidden_states[1:-1], found.last_hidden_state]

    def modules_top_down(self) -> list[nn.Module]:
        """Return what stands above the layers, then each layer from the last to the first, then the embeddings."""
        above = nn.ModuleList(self._above(self.model))
        return [above, *reversed(self.layers), self.embeddings]

    def keep_layers(self, n: int) -> None:
        """Remove all but the first n layers."""
        parent, _, name = self._place.rpartition(".")
        setattr(self.model.get_submodule(parent), name, self.layers[:n])
        config: Any = self.model.config
        config.num_hidden_layers = n
        for key in _KEPT_BY_LAYER:
            if getattr(config, key, None) is not None:
                setattr(config, key, getattr(config, key)[:n])
        self.config = replace(_read(self.model), n_layers=n)

    def set_dropout(self, share: float) -> None:
        """Set the dropout inside the encoder, whatever it was trained with."""
        for part in self.model.modules():
            if isinstance(part, nn.Dropout):
                part.p = share
            for name, value in vars(part).items():
                if "dropout" in name and isinstance(value, float):
                    setattr(part, name, share)

    def _above(self, part: nn.Module) -> Iterator[nn.Module]:
        """Yield the largest parts that hold neither layers nor embeddings."""
        apart = (self.layers, self.embeddings)
        for child in part.children():
            if child in apart:
                continue
            if any(module in apart for module in child.modules()):
                yield from self._above(child)
            else:
                yield child


def is_hub_folder(folder: Path) -> bool:
    """Return whether the folder holds a model of `transformers`."""
    path = folder / "config.json"
    return path.is_file() and "model_type" in read_json(path)


def hub_folder(name: str) -> Path:
    """Return the folder that "hf:FOLDER" names.

    Raises:
        WorkspaceError: when `HubEncoder.open` cannot open it.
    """
    folder = Path(name.removeprefix(HUB))
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder that `HubEncoder.open` cannot open, before anything is loaded.

    Raises:
        WorkspaceError: saying what is missing and how to get it.
    """
    if not (folder / "config.json").is_file() or not is_hub_folder(folder):
        hint = "no such folder" if not folder.exists() else "no model of transformers (config.json does not say its model_type)"
        raise WorkspaceError(f"{folder}: {hint}. Name a folder that save_pretrained wrote.")
    again = f"AutoModel.from_pretrained(...).save_pretrained({str(folder)!r})"
    if not any(folder.glob("*.safetensors")):
        raise WorkspaceError(
            f"{folder}: no weights in safetensors. Weights in pickle form (.bin, .pt) are not opened, since that may run code "
            f"of whoever made them; where you trust them, write them anew: {again}"
        )
    if not (folder / "tokenizer.json").is_file():
        tokenizer = again.replace("AutoModel", "AutoTokenizer")
        raise WorkspaceError(f"{folder}: tokenizer.json is missing. Write it with {tokenizer}")


def weight_files(folder: Path) -> list[Path]:
    """Return the files that a model in a folder, ours or of `transformers`, depends on."""
    return [folder / "config.json", *sorted(folder.glob("*.safetensors"))]


def _read(model: nn.Module) -> HubConfig:
    config: Any = model.config
    kind = config.model_type
    decodes = getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False)
    if decodes or config.pad_token_id is None or not hasattr(model, "embeddings"):
        raise WorkspaceError(f"{kind}: not an encoder of BERT's kind, in which every token sees the whole text.")
    positions = getattr(getattr(model.embeddings, "position_embeddings", None), "padding_idx", None)
    return HubConfig(
        values=orjson.loads(config.to_json_string(use_diff=False)),
        vocab_size=config.vocab_size,
        d_model=config.hidden_size,
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        d_ff=getattr(config, "intermediate_size", None) or getattr(config, "hidden_dim", None) or 4 * config.hidden_size,
        # RoBERTa and its kin count positions from the number after that of padding.
        max_length=config.max_position_embeddings - (0 if positions is None else positions + 1),
        pad_id=config.pad_token_id,
    )


def _library() -> Any:
    """Return `transformers`, which takes seconds to import."""
    need("transformers", "hub")
    return import_module("transformers")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's bars and remarks on weights that an encoder has no use for from the terminal."""
    logging = _library().logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
