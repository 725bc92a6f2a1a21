"""Work on pieces by several processes of this machine, or by a Ray cluster, with results in the order of the pieces.

The results are the same either way. Ray retries the pieces of a process that dies; on one machine that is an error, since it
mostly means that memory ran out.
"""

from __future__ import annotations

import math
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bongsu.cluster import connected
from bongsu.errors import WorkspaceError

Item = TypeVar("Item")
Piece = TypeVar("Piece")
Result = TypeVar("Result")

_SERIAL = 3  # so few pieces are done sooner than processes start
_IDLE_SECONDS = 60
_ONE_THREAD = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # in each process, as there is one a core
_RAY_BLOCK_BYTES = 16 * 2**20


class Workers(Protocol):
    """A pool of workers."""

    def run(
        self, items: Iterable[Item], cut: Callable[[Item], Iterator[Piece]], work: Callable[[Piece], Result]
    ) -> Iterator[Result]:
        """Yield the result of `work` for every piece that `cut` yields of every item, in order, in bounded memory."""


def whole(item: Item) -> Iterator[Item]:
    """Yield an item in one piece, as a `cut`."""
    yield item


@contextmanager
def workers(ray: str | None = None) -> Iterator[Workers]:
    """Open a pool with a process for each core, or on the Ray cluster at an address ("local" starts one on this machine).

    Raises:
        WorkspaceError: when there is no cluster at the address.
    """
    with _ray(ray) if ray else _processes() as found:
        yield found


@contextmanager
def _processes() -> Iterator[Workers]:
    with ExitStack() as stack:
        yield _Processes(cores(), stack)


def cores() -> int:
    """Return how many cores this process may use: by its affinity and by the quotas of its control groups, at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def cpu_quota(groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the cores' worth of time that Linux' control groups (version 1 or 2) leave this process, or None for no limit.

    The least of its group's and of those above it counts. A container sees its own group at the root of the mount.

    Args:
        groups: where the process's groups are listed, a line each: number, controllers, path.
        mount: where the groups are mounted.
    """
    quotas = []
    for line in _text(groups).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = [mount / controllers, mount / "cpu"] if controllers else [mount]
        for root in roots:
            folder = root / path.lstrip("/")
            for place in (folder, *folder.parents):
                if not place.is_relative_to(root):
                    break
                quotas.append(_quota_v1(place) if controllers else _quota_v2(place))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_v2(group: Path) -> float | None:
    quota, period = [*_text(group / "cpu.max").split(), "", ""][:2]
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _quota_v1(group: Path) -> float | None:
    quota, period = (_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None  # -1: no limit


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


class _Processes:
    """loky's processes, which need neither `if __name__ == "__main__"` in a script nor fork, which is unsafe with threads."""

    def __init__(self, count: int, stack: ExitStack) -> None:
        self._count, self._stack = count, stack
        self._pool: Any = None

    def run(
        self, items: Iterable[Item], cut: Callable[[Item], Iterator[Piece]], work: Callable[[Piece], Result]
    ) -> Iterator[Result]:
        pieces = (piece for item in items for piece in cut(item))
        first = list(islice(pieces, _SERIAL + 1))
        if self._count == 1 or len(first) <= _SERIAL:
            yield from map(work, chain(first, pieces))
            return
        pool = self._started()
        waiting: deque[Any] = deque()
        try:
            for piece in chain(first, pieces):
                waiting.append(pool.submit(work, piece))
                if len(waiting) > self._count + 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except _broken() as error:
            raise WorkspaceError(
                f"A worker process has ended ({str(error).splitlines()[0]}). It may have been short "
                "of memory: close other programs and run the same command again."
            ) from None

    def _started(self) -> Any:
        if self._pool is None:
            from loky import ProcessPoolExecutor

            self._pool = ProcessPoolExecutor(max_workers=self._count, timeout=_IDLE_SECONDS, env=_ONE_THREAD)
            self._stack.callback(self._pool.shutdown, wait=True, kill_workers=True)
        return self._pool


def _broken() -> type[Exception]:
    """Return the error that a pool raises when a process has died."""
    from loky.process_executor import BrokenProcessPool

    found: type[Exception] = BrokenProcessPool
    return found


@contextmanager
def _ray(address: str) -> Iterator[Workers]:
    with connected(address):
        yield _Ray()


class _Ray:
    """Ray Data: items are cut where they are read, and pieces of a process that dies are retried."""

    def run(
        self, items: Iterable[Item], cut: Callable[[Item], Iterator[Piece]], work: Callable[[Piece], Result]
    ) -> Iterator[Result]:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.target_max_block_size = _RAY_BLOCK_BYTES
        context.enable_progress_bars = False
        rows = [{"item": pickle.dumps(item)} for item in items]
        if not rows:
            return
        read = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
            lambda row: ({"piece": pickle.dumps(piece)} for piece in cut(pickle.loads(row["item"])))
        )
        for row in read.map(lambda row: {"result": pickle.dumps(work(pickle.loads(row["piece"])))}).iter_rows():
            yield pickle.loads(row["result"])
