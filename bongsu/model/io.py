"""Model folders: `config.json` and `model.safetensors`. No pickle, so opening a model runs no code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, TypeVar, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bongsu.errors import WorkspaceError
from bongsu.files import check_hashes, read_json, record_hashes, write_bytes, write_json
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import head_config
from bongsu.model.hub import HubEncoder, is_hub_folder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.model.task_model import TaskModel

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

Kind = Literal["masked_lm", "task"]
ModelType = TypeVar("ModelType", bound=nn.Module)


class ModelConfig(TypedDict):
    """A model folder's `config.json`."""

    kind: Kind
    encoder: dict[str, Any]
    """What `EncoderConfig` or `HubConfig` are built from."""
    head: NotRequired[dict[str, Any]]
    """Of a fine-tuned model: what `head_config` reads."""
    pairs: NotRequired[bool]
    """Of a fine-tuned model: whether rows have two texts."""
    extra: dict[str, Any]
    """Whatever was saved with the model."""


def save_encoder(
    folder: Path, model: MaskedLanguageModel, extra: Mapping[str, object] | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write a masked language model; the embedding, which is the output matrix too, is stored once.

    Args:
        extra: anything JSON can hold, given back by `read_config(folder)["extra"]`.
        dtype: of the weights as stored, such as `torch.float16`; they are opened in float32 again.
    """
    _save(folder, model, {"kind": "masked_lm", "encoder": model.encoder.config.to_dict(), "extra": extra or {}}, dtype)


def save_task_model(folder: Path, model: TaskModel, extra: Mapping[str, object]) -> None:
    """Write a fine-tuned model; `extra` is given back by `load_task_model`."""
    head = {"kind": model.head.config.kind, **model.head.config.to_dict()}
    parts = {"encoder": model.encoder.config.to_dict(), "head": head, "pairs": model.pairs}
    _save(folder, model, {"kind": "task", **parts, "extra": extra})


def load_masked_lm(folder: Path) -> MaskedLanguageModel:
    """Return the masked language model saved in `folder`, on the CPU, in float32, in evaluation mode.

    Raises:
        WorkspaceError: when the folder holds no such model, or a damaged one.
    """
    config = read_config(folder, "masked_lm")
    return _load(folder, lambda: MaskedLanguageModel(EncoderConfig.from_dict(config["encoder"])))


def load_encoder(folder: Path) -> Encoder | HubEncoder:
    """Return the encoder in a folder of ours, without its output layer, or in one of `transformers`; see `load_masked_lm`."""
    return HubEncoder.open(folder) if is_hub_folder(folder) else load_masked_lm(folder).encoder


def load_task_model(folder: Path) -> tuple[TaskModel, dict[str, Any]]:
    """Return the fine-tuned model saved in `folder`, as `load_masked_lm` does, and the `extra` saved with it."""
    config = read_config(folder, "task")

    def build() -> TaskModel:
        values = config["encoder"]
        hub = "transformers" in values
        encoder = HubEncoder.from_dict(values) if hub else Encoder(EncoderConfig.from_dict(values))
        return TaskModel(encoder, head_config(config["head"]), config["pairs"])

    return _load(folder, build), config["extra"]


def find_encoder(path: Path) -> Path | None:
    """Return the model folder of the encoder in a run's folder, in the folder of a stage, or in `path` itself."""
    candidates = (path / "pretrain" / "model", path / "model", path)
    return next((folder for folder in candidates if (folder / CONFIG).is_file()), None)


def read_encoder_config(folder: Path) -> EncoderConfig:
    """Return the configuration of the pre-trained encoder in a folder of ours; raises as `read_config` does."""
    return EncoderConfig.from_dict(read_config(folder, "masked_lm")["encoder"])


def read_config(folder: Path, kind: Kind | None = None) -> ModelConfig:
    """Read a model folder's `config.json`.

    Raises:
        WorkspaceError: when the folder holds no model, or one of another kind.
    """
    path = folder / CONFIG
    if not (folder / WEIGHTS).exists() and (pickles := sorted(name for glob in PICKLES for name in folder.glob(glob))):
        raise WorkspaceError(
            f"{pickles[0]}: weights in pickle form are not opened, since that may run code of whoever made them. "
            f"Convert them to {WEIGHTS} with safetensors, or save the model again with Bongsu."
        )
    if not path.exists():
        raise WorkspaceError(f"{folder}: no model here ({CONFIG} is missing). Name the folder a run wrote its model to.")
    config = read_json(path)
    found = config.get("kind") if isinstance(config, dict) else None
    if isinstance(config, dict) and "model_type" in config:
        raise WorkspaceError(f'{folder}: a model of transformers; to fine-tune it write finetune.encoder = "hf:{folder}".')
    if found not in ("masked_lm", "task"):
        raise WorkspaceError(f"{path}: not a model of Bongsu (`kind` is {found!r}). Name a folder that Bongsu wrote.")
    if kind is not None and found != kind:
        advice = "fine-tune it first" if kind == "task" else "name the pre-trained model's folder"
        raise WorkspaceError(f"{folder}: holds a model of kind {found}, and one of kind {kind} is needed; {advice}.")
    check_hashes(folder, CONFIG)
    return cast(ModelConfig, config)


def _save(folder: Path, model: nn.Module, config: Mapping[str, object], dtype: torch.dtype = torch.float32) -> None:
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(folder / WEIGHTS, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG, config)
    record_hashes(folder, WEIGHTS, CONFIG)


def _load(folder: Path, build: Callable[[], ModelType]) -> ModelType:
    try:
        with torch.device("meta"), _Uninitialized():  # no memory for weights that are about to be replaced
            model = build()
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise WorkspaceError(
            f"{folder / CONFIG}: does not describe a model ({type(error).__name__}: {error}). "
            "The file was changed; save the model again."
        ) from None
    tensors = _read_tensors(folder / WEIGHTS)
    _check(folder / WEIGHTS, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, tensors)
    check_hashes(folder, WEIGHTS)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return model.requires_grad_(True).eval()


class _Uninitialized(TorchFunctionMode):
    """Skips the initialization of weights, which for tensors without memory would import half of torch's compiler."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return options["tensor"] if "tensor" in options else arguments[0]
        return function(*arguments, **options)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: no such file. The model was not saved whole; run the stage again.") from None
    except SafetensorError as error:
        raise WorkspaceError(f"{path}: damaged ({error}). Run the stage that wrote it again.") from None


def _check(path: Path, expected: dict[str, tuple[int, ...]], tensors: dict[str, Tensor]) -> None:
    """Check that there is every tensor of the model, no other, each of its shape."""
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} belongs to no part of the model" for name in sorted(tensors) if name not in expected]
    problems += [
        f"{name} has shape {list(tensors[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise WorkspaceError(
            f"{path}: does not fit {CONFIG} beside it: {'; '.join(problems[:8])}{more}. "
            "The two files are of different models; copy both again from where they were made."
        )
