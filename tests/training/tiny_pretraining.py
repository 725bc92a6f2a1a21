"""A real pre-training, as small as can be; also what processes to be killed, or that train together, do."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import signal
import socket
import threading
import traceback
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch

from bongsu.model.io import load_masked_lm
from bongsu.pretraining.masked_lm import MaskedLanguageModelling, pretrain
from bongsu.recipe import Recipe
from bongsu.tokens.batches import Batches
from bongsu.training import checkpoints
from bongsu.training.checkpoints import State
from bongsu.training.distributed import joined, leave
from bongsu.training.log import Log


def recipe(**changes: Any) -> Recipe:
    """12 steps of 24 sentences, with a checkpoint after each; changes go to the settings of pre-training."""
    settings = {"batch_sentences": 24, "row_length": 32, "steps": 12, "log_every": 1, "evaluations": 3, "keep": 100,
                "validation_sentences": 40, "precision": "float32", "device": "cpu", "checkpoint_minutes": 1e-9,
                "learning_rate": 3e-3}  # fmt: skip
    model = {"d_model": 16, "n_layers": 2, "n_heads": 2, "max_length": 64}
    corpus = {"sources": [{"path": "made"}]}  # there must be one, and it is not read
    return Recipe.model_validate(
        {"name": "tiny", "seed": 3, "corpus": corpus, "model": model, "pretrain": {**settings, **changes}}
    )


def run(data: Path, folder: Path, settings: Recipe) -> State:
    """Pre-trains on the shards in `data/tokens`."""
    folder.mkdir(exist_ok=True)
    with joined(torch.device("cpu")) as processes:
        return pretrain(settings, data / "tokenizer", data / "tokens", folder, processes=processes)


def together(processes: Any, count: int, data: Path, folder: Path, settings: Recipe, task: Any = None) -> list[int]:
    """Pre-trains in `count` processes, as `torchrun` starts them; their exit codes. `task` is called in each beforehand."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = [
        processes.Process(target=_member, args=(rank, count, port, data, folder, settings, task)) for rank in range(count)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(600)
        child.kill()
    return [child.exitcode for child in children]


def _member(rank: int, count: int, port: int, data: Path, folder: Path, settings: Recipe, task: Any) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="localhost", MASTER_PORT=str(port))
    os.fsync = lambda fd: None
    words = folder.with_name(f"{folder.name}.said-{rank}")
    try:
        if task is not None:
            task(rank)
        run(data, folder, settings)
        leave()
        words.write_text("done")
    except BaseException as error:
        words.write_text(f"{type(error).__name__}: {error}")
        traceback.print_exc()
        os._exit(1)  # as one does who is in no state to take leave


def said(folder: Path, count: int) -> list[str]:
    """The last words of each process."""
    return [folder.with_name(f"{folder.name}.said-{rank}").read_text() for rank in range(count)]


def weights(folder: Path) -> list[torch.Tensor]:
    return list(load_masked_lm(folder / "model").parameters())


def killed(data: Path, folder: Path, settings: Recipe, event: int) -> None:
    """Pre-trains until the moment numbered `event`, at which the process is killed; to the end for 0.

    Moments are those at which something has just been done, or is half done: a batch made, a step taken, a line written
    to the log, a file of a checkpoint written or written in part, a hash taken, a folder renamed or deleted.
    """
    os.fsync = lambda fd: None  # a kill is no power cut
    counted, lock = itertools.count(1), threading.Lock()

    def moment() -> None:
        with lock:
            if next(counted) == event:
                os.kill(os.getpid(), signal.SIGKILL)

    def followed(owner: Any, name: str) -> None:
        before = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            outcome = before(*arguments, **named)
            moment()
            return outcome

        setattr(owner, name, call)

    def in_two_parts(tensors: Any, path: Path) -> None:
        save_file(tensors, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        moment()
        path.write_bytes(whole)

    save_file, checkpoints.save_file = checkpoints.save_file, in_two_parts  # type: ignore[attr-defined,assignment]
    for owner, name in ((Batches, "batch"), (MaskedLanguageModelling, "after_step"), (Log, "write"), (checkpoints, "file_hash"),
                        (os, "replace"), (shutil, "rmtree")):  # fmt: skip
        followed(owner, name)
    with redirect_stderr(io.StringIO()):
        run(data, folder, settings)
