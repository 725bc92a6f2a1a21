"""Prefetching of batches, in order, by worker processes or a thread."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from bongsu.errors import BongsuError, TrainingError
from bongsu.parallel import cores

AHEAD = 4
"""Batches kept ready, by each worker when there are several."""


class Source(Protocol):
    """A source of batches."""

    def batch(self, n: int) -> Any:
        """Return batch `n`, a pure function of `n`."""


def resolve_workers(wanted: int | None, device: torch.device) -> int:
    """Return the number of worker processes: as many as wanted, or for a GPU one a free core, four at most.

    On a CPU a thread suffices (0): the loop spends its time in matrix products, without the GIL. A GPU consumes batches faster
    than one core prepares them.
    """
    if wanted is not None:
        return wanted
    shared = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(4, shared - 1)) if device.type == "cuda" else 0


class Prefetch:
    """Batches from `start` up to `end`, prepared ahead by `workers` processes, or by a thread for 0."""

    def __init__(self, source: Source, start: int, end: int, workers: int = 0) -> None:
        self._source, self._end, self._workers = source, end, workers
        self._batches = self._from(start)
        self._waited = 0.0

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()

    def next(self) -> Any:
        """Return the next batch.

        Raises:
            TrainingError: when a worker process was killed.
        """
        start = time.perf_counter()
        try:
            return next(self._batches)
        except StopIteration:
            raise IndexError("no batch is left") from None
        finally:
            self._waited += time.perf_counter() - start

    def take_waited(self) -> float:
        """Return the seconds spent waiting for batches since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    def restart(self, start: int) -> None:
        """Continue with batch `start`."""
        self._batches.close()
        self._batches = self._from(start)

    def _from(self, start: int) -> Generator[Any]:
        numbers = range(start, self._end)
        return _by_processes(self._source, numbers, self._workers) if self._workers else _by_thread(self._source, numbers)


def _by_thread(source: Source, numbers: range) -> Generator[Any]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    ready: deque[Future[Any]] = deque()
    try:
        for number in numbers:
            ready.append(pool.submit(source.batch, number))
            if len(ready) > AHEAD:
                yield ready.popleft().result()
        while ready:
            yield ready.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _by_processes(source: Source, numbers: range, workers: int) -> Generator[Any]:
    # Forked, so that the memory-mapped corpus is not copied to each worker.
    loader = DataLoader(
        _Numbered(source, numbers),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD,
        multiprocessing_context="fork",
        collate_fn=_unchanged,
        worker_init_fn=_ignore_signals,
    )
    try:
        for batch in loader:
            if isinstance(batch, BongsuError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise TrainingError(
            f"A process that prepares batches was killed ({error}); if memory was short, set loader_workers to a smaller "
            "number. The same command resumes from the last checkpoint."
        ) from None


class _Numbered(Dataset[Any]):
    """Batches by their number."""

    def __init__(self, source: Source, numbers: range) -> None:
        self._source, self._numbers = source, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Any:
        try:
            return self._source.batch(self._numbers[index])
        except BongsuError as error:  # raised in the main process, without the worker's traceback in its message
            return error


def _unchanged(batch: Any) -> Any:
    return batch


def _ignore_signals(_: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
