"""Processes that train one model together: each takes its share of every batch, and gradients are averaged as they come out
of the backward pass (DDP, Li et al. 2020).

`torchrun` or Ray Train starts the processes and tells each its number; the loop sees them as a `Processes`, which for a run
of one process does nothing. What a run does is agreed on, so that all take the same steps: sums decide whether a step is
good, any process may ask for an end, and what the leader reads from the disk or measures is told to the others.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bongsu.errors import TrainingError
from bongsu.training.log import Outcome

T = TypeVar("T")
Loss = Callable[[Any], Outcome]

# What the libraries say to a process when another one is gone.
_GONE = ("connection closed", "connection reset", "connection refused", "broken pipe", "timeout", "timed out", "nccl")


class Learner(Protocol):
    """What is asked of a task here."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def loss(self, batch: Any) -> Outcome:
        """The loss of a batch."""


class Processes:
    """A run of one process."""

    rank = 0
    count = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that writes, measures and tells."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """The device of this process, among those of its machine."""
        return device

    def replicate(self, task: Learner) -> Loss:
        """The loss of a task whose backward pass leaves the mean of all processes' gradients."""
        return task.loss

    def no_sync(self) -> AbstractContextManager[object]:
        """For a batch whose gradients are added to those of a later one before they are averaged."""
        return nullcontext()

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over the processes."""
        return list(values)

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag, whether it is set in any process."""
        return list(flags)

    def broadcast(self, work: Callable[[], T]) -> T:
        """Has the leader do `work`, and tells what came of it to all."""
        return work()


SINGLE_PROCESS = Processes()


class Group(Processes):
    """Several processes, joined by `torch.distributed`."""

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self._replica: DistributedDataParallel | None = None

    def device(self, device: torch.device) -> torch.device:
        if device.type != "cuda" or device.index is not None:
            return device
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device

    def replicate(self, task: Learner) -> Loss:
        with warnings.catch_warnings():  # newer versions of torch have another name for `broadcast_buffers`
            warnings.simplefilter("ignore", FutureWarning)
            self._replica = DistributedDataParallel(_Loss(task), broadcast_buffers=False, gradient_as_bucket_view=True)
        return self._replica

    def no_sync(self) -> AbstractContextManager[object]:
        assert self._replica is not None
        return self._replica.no_sync()

    def total(self, values: Sequence[float]) -> list[float]:
        # On the CPU: these are numbers already, and no kernel of the device has to be waited for.
        summed = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(summed)
        return summed.tolist()

    def any(self, *flags: bool) -> list[bool]:
        return [count > 0 for count in self.total([float(flag) for flag in flags])]

    def broadcast(self, work: Callable[[], T]) -> T:
        told: list[Any] = [work() if self.is_main_process else None]
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        return told[0]  # type: ignore[no-any-return]


class _Loss(nn.Module):
    """A task's loss as a module, which is what DDP takes."""

    def __init__(self, task: Learner) -> None:
        super().__init__()
        self.model = task.model
        self._loss = task.loss

    def forward(self, batch: Any) -> Outcome:
        return self._loss(batch)


def number_of_processes() -> int:
    """How many processes `torchrun` or Ray Train has started for this run; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes of the run, once all have met; they stay together until `leave`.

    Raises:
        TrainingError: when another process is gone.
    """
    if number_of_processes() == 1:
        yield SINGLE_PROCESS
        return
    try:
        if not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        yield Group()
    except (RuntimeError, dist.DistError) as error:
        if not any(sign in str(error).lower() for sign in _GONE):
            raise
        raise TrainingError(
            "Another process of this run is gone, and says why in its own message. The same command goes on from the last "
            "checkpoint."
        ) from error


def leave() -> None:
    """Parts from the other processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
