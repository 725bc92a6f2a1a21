"""Checkpoints: `step-00001000/{model.safetensors, optimizer.safetensors, state.json}`, written atomically.

`state.json` has the SHA-256 of the other two and of its own content, so that a damaged checkpoint is detected and the one
before it used.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bongsu.errors import WorkspaceError
from bongsu.files import atomic_folder, file_hash, read_json, write_json
from bongsu.progress import warn
from bongsu.training.guard import Guard

_NAME = re.compile(r"step-(\d{8})")


@dataclass
class State:
    """The state of training apart from tensors."""

    step: int = 0
    best: float | None = None
    best_step: int | None = None
    since_best: int = 0
    finished: bool = False
    seconds: float = 0.0
    last: dict[str, float] = field(default_factory=dict)
    guard: Guard = field(default_factory=Guard)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> State:
        """Build a state from the values of `dataclasses.asdict`."""
        return cls(**{**values, "guard": Guard(**values.get("guard", {}))})


class DamagedError(WorkspaceError):
    """A checkpoint whose files are not those that were written."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of everything a checkpoint holds, taken while training continues."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    state: State

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> Snapshot:
        """Copy weights and optimizer state to the host's memory."""
        tensors = (_parameters(model), _optimizer_tensors(model, optimizer))
        weights, moments = (
            {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in part.items()} for part in tensors
        )
        return cls(weights, moments, copy.deepcopy(state))


class Writer:
    """Writes checkpoints in the background, one at a time, so that training pauses only for a copy.

    An error, such as a full disk, is raised by the next call; existing checkpoints stay as they are.
    """

    def __init__(self, folder: Path, keep: int, active: bool = True) -> None:
        """Write only where `active`."""
        self.folder, self.keep, self.active = folder, keep, active
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self.wait()

    def save(self, state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Start writing a checkpoint, after the previous one is written; then delete old ones."""
        self.wait()
        if self.active:
            snapshot = Snapshot.of(model, optimizer, state)
            self._writing = self._pool.submit(self._write, snapshot, state.best_step)

    def wait(self) -> None:
        """Wait until nothing is being written.

        Raises:
            WorkspaceError: when the last checkpoint could not be written.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def check(self) -> None:
        """Raise what `wait` would raise, without waiting."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def _write(self, snapshot: Snapshot, best: int | None) -> None:
        save_checkpoint(self.folder, snapshot)
        prune(self.folder, self.keep, best)


def save_checkpoint(folder: Path, snapshot: Snapshot) -> Path:
    """Write a checkpoint and return its folder."""
    step = snapshot.state.step
    target = folder / f"step-{step:08d}"
    with atomic_folder(target) as temporary:
        save_file(snapshot.weights, temporary / "model.safetensors")
        save_file(snapshot.moments, temporary / "optimizer.safetensors")
        hashes = {name: file_hash(temporary / name) for name in ("model.safetensors", "optimizer.safetensors")}
        state = {"state": asdict(snapshot.state), "step": step}
        write_json(temporary / "state.json", {**state, "sha256": {**hashes, "state": _state_hash(state)}})
    return target


def load_checkpoint(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> State:
    """Load a checkpoint into `model` (and `optimizer`) and return its state.

    Raises:
        DamagedError: when a file is missing or damaged.
        WorkspaceError: when the checkpoint belongs to another model.
    """
    try:
        values = read_json(checkpoint / "state.json")
    except WorkspaceError as error:
        raise DamagedError(str(error)) from None
    try:
        for name, expected in values.pop("sha256").items():
            found = _state_hash(values) if name == "state" else file_hash(checkpoint / name)
            if found != expected:
                raise DamagedError(f"{checkpoint}: {name} is damaged (SHA-256 differs from the one written with it).")
        weights = load_file(checkpoint / "model.safetensors")
        own = _parameters(model)
        if {name: tensor.shape for name, tensor in own.items()} != {name: tensor.shape for name, tensor in weights.items()}:
            raise WorkspaceError(
                f"{checkpoint}: holds another model than the recipe's. Move the folder {checkpoint.parent} away, or use --out."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(weights[name])
        if optimizer is not None:
            _restore_optimizer(model, optimizer, load_file(checkpoint / "optimizer.safetensors"))
        return State.from_dict(values["state"])
    except (OSError, SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{checkpoint}: damaged ({error!r}).") from None


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the latest first."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, reverse=True)


def resume_latest(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> State | None:
    """Load the latest valid checkpoint and return its state, or None; damaged ones are reported and moved aside.

    Raises:
        WorkspaceError: when the latest checkpoint belongs to another model.
    """
    for unfinished in folder.glob(".step-*.tmp"):  # left by a process that was killed while it saved
        shutil.rmtree(unfinished, ignore_errors=True)
    for checkpoint in checkpoints(folder):
        try:
            return load_checkpoint(checkpoint, model, optimizer)
        except DamagedError as error:
            warn(f"{error} It was moved to damaged-{checkpoint.name}; resuming from the checkpoint before it.")
            aside = checkpoint.with_name(f"damaged-{checkpoint.name}")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(checkpoint, aside)
    return None


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Delete all but the latest `keep` checkpoints and the one of step `best`."""
    for checkpoint in checkpoints(folder)[keep:]:
        if checkpoint.name != f"step-{best or 0:08d}":
            shutil.rmtree(checkpoint, ignore_errors=True)


def _state_hash(state: Mapping[str, object]) -> str:
    return hashlib.sha256(orjson.dumps(state, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)).hexdigest()


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and persistent buffer once; tied ones under their first name."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}:{key}"] = value.detach()
    return tensors


def _restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition(":")
        parameter = parameters[name]
        # AdamW keeps its step count in float32 with the moments, on the CPU unless fused on a GPU.
        optimizer.state[parameter][key] = (
            tensor if key == "step" and parameter.device.type == "cpu" else tensor.to(parameter.device)
        )
