"""Data-parallel training: each process takes its share of every batch, and gradients are averaged in the backward pass
(DDP, Li et al. 2020).

`torchrun` or Ray Train starts the processes and assigns ranks; the loop sees them as a `Processes`, which does nothing for a
single process. All processes take the same steps: sums decide whether a step is good, any process may request a stop, and what
the main process reads from the disk or measures is broadcast.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bongsu.errors import TrainingError
from bongsu.training.log import Outcome
from bongsu.training.trainable import Trainable

T = TypeVar("T")
Loss = Callable[[Any], Outcome]

# Error messages of the libraries when another process is gone.
_GONE = ("connection closed", "connection reset", "connection refused", "broken pipe", "timeout", "timed out", "nccl")


class Processes:
    """A run of one process."""

    rank = 0
    count = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that writes, measures and prints."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """Return the device of this process, among those of its machine."""
        return device

    def replicate(self, trainable: Trainable) -> Loss:
        """Return the loss function; its backward pass averages the gradients of all processes."""
        return trainable.loss

    def no_sync(self) -> AbstractContextManager[object]:
        """Return a context in which gradients accumulate without being averaged over the processes."""
        return nullcontext()

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over the processes."""
        return list(values)

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether any process has set it."""
        return list(flags)

    def broadcast(self, work: Callable[[], T]) -> T:
        """Call `work` in the main process and return its result in every process."""
        return work()


SINGLE_PROCESS = Processes()


class Group(Processes):
    """Several processes, connected by `torch.distributed`."""

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self._replica: DistributedDataParallel | None = None

    def device(self, device: torch.device) -> torch.device:
        if device.type != "cuda" or device.index is not None:
            return device
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device

    def replicate(self, trainable: Trainable) -> Loss:
        with warnings.catch_warnings():  # newer versions of torch have another name for `broadcast_buffers`
            warnings.simplefilter("ignore", FutureWarning)
            self._replica = DistributedDataParallel(_Loss(trainable), broadcast_buffers=False, gradient_as_bucket_view=True)
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
        result: list[Any] = [work() if self.is_main_process else None]
        dist.broadcast_object_list(result, src=0, device=torch.device("cpu"))
        return result[0]  # type: ignore[no-any-return]


class _Loss(nn.Module):
    """A loss as a module, which is what DDP wraps."""

    def __init__(self, trainable: Trainable) -> None:
        super().__init__()
        self.model = trainable.model
        self._loss = trainable.loss

    def forward(self, batch: Any) -> Outcome:
        return self._loss(batch)


def number_of_processes() -> int:
    """Return how many processes `torchrun` or Ray Train has started for this run; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes of the run; the process group lasts until `leave`.

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
            "Another process of this run is gone; its own message says why. The same command resumes from the last checkpoint."
        ) from error


def leave() -> None:
    """Leave the process group."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
