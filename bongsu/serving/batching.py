"""Joins the items of many clients into batches, with bounds on how many wait and for how long.

A client who sends one message neither waits for another's hundreds nor is refused because of them: a small request goes before
a larger one, until that has let pass 16 times its own cost. Requests of one size are taken in the order of arrival.

Why here and not in a library: the queue must be bounded by *time* as well as by number, one failing item must not fail its
neighbours, and an item must be answered by the model it was accepted for, even while another is swapped in.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bongsu.errors import LibraryPanicError
from bongsu.serving.api_errors import ApiError
from bongsu.serving.limits import Limits

logger = logging.getLogger("bongsu.serving")

In = TypeVar("In")
Out = TypeVar("Out")
Call = Callable[[list[Any]], Sequence[Any]]
_LETS_PASS = 16
"""A request lets so many times its own cost of smaller ones pass."""
Execute = Callable[[Call, list[Any]], Awaitable[Sequence[Any]]]


@dataclass(slots=True)
class _Item:
    call: Call
    value: Any
    cost: int
    since: float
    answer: asyncio.Future[Any]


@dataclass(slots=True, order=True)
class _Request:
    """The items of a request that wait."""

    rank: int
    """The smallest is next: what had been taken when it came, and the cost that it lets pass."""
    number: int
    items: deque[_Item] = field(compare=False)
    cost: int = field(compare=False)


class Batcher:
    """A bounded queue and `limits.sessions` workers that take batches from it.

    Items share a batch only when they are for the same call. The cost of an item is counted in short messages: 1 for the
    prediction of one, more for a long message, and more for an explanation, which takes many predictions.
    """

    def __init__(
        self,
        limits: Limits,
        execute: Execute | None = None,
        observe: Callable[[int, float], None] = lambda cost, waited: None,
    ) -> None:
        """
        Args:
            limits: sizes and times.
            execute: runs a call on a batch; by default in one thread for each worker.
            observe: called with the cost of each batch and the seconds its first item waited.
        """
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.sessions, thread_name_prefix="batch") if execute is None else None
        self._execute = execute or self._in_thread
        self._observe = observe
        self._queue: list[_Request] = []
        """A heap: that which is next comes first."""
        self._taken, self._number = 0, 0
        self._cost = 0
        self._arrived = asyncio.Condition()
        self._closing = False
        self._computing: dict[int, float] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._seconds_per_cost: float | None = None
        self.failed = False
        """Whether the last batch could not be computed."""

    @property
    def waiting(self) -> int:
        """The cost of what is in the queue."""
        return self._cost

    def _before(self, cost: int) -> int:
        """Return the cost of what would be taken before a request of this cost that came now."""
        return sum(request.cost for request in self._queue if request.rank <= self._taken + _LETS_PASS * cost)

    def _seconds(self, cost: int) -> float:
        """Return how long so much takes, by the rate of the last batches."""
        return cost * (self._seconds_per_cost or 0.0) / self._limits.sessions

    @property
    def working(self) -> bool:
        """Whether a worker is free, or will be: not all have computed one batch for longer than a request may take."""
        now = asyncio.get_running_loop().time()
        stuck = sum(now - since > self._limits.seconds for since in self._computing.values())
        return sum(not worker.done() for worker in self._workers) > stuck

    async def start(self) -> None:
        """Start the workers."""
        self._workers = [asyncio.create_task(self._keep_working(number)) for number in range(self._limits.sessions)]

    async def close(self) -> None:
        """Answer everything that waits, then end the workers."""
        async with self._arrived:
            self._closing = True
            self._arrived.notify_all()
        await asyncio.gather(*self._workers)
        if self._threads is not None:
            self._threads.shutdown()

    async def submit(
        self, call: Callable[[list[In]], Sequence[Out]], values: Sequence[In], costs: Sequence[int]
    ) -> list[Out | BaseException]:
        """Give each value to `call`, in batches shared with others.

        Returns:
            The answers in order; in place of an answer that could not be computed, the error.

        Raises:
            ApiError: 429 when the queue is full, 503 when no answer came in time.
        """
        cost = sum(costs)
        before = self._before(cost)
        wait = self._seconds(before)
        full = before + cost > self._limits.queue_items or wait > self._limits.queue_seconds
        if self._queue and full:  # an empty queue takes any request, so that none is refused for ever
            raise ApiError(429, "The server is busy; try again in a moment.", wait)
        loop = asyncio.get_running_loop()
        now = loop.time()
        items = [_Item(call, value, each, now, loop.create_future()) for value, each in zip(values, costs, strict=True)]
        self._number += 1
        heapq.heappush(self._queue, _Request(self._taken + _LETS_PASS * cost, self._number, deque(items), cost))
        self._cost += cost
        async with self._arrived:
            self._arrived.notify_all()
        try:
            async with asyncio.timeout(self._limits.seconds):
                answers: list[Out | BaseException] = await asyncio.gather(
                    *(item.answer for item in items), return_exceptions=True
                )
                return answers
        except TimeoutError:
            wait = self._seconds(self._before(cost))
            raise ApiError(503, f"No answer within {self._limits.seconds:g} seconds.", wait) from None
        finally:
            for item in items:
                item.answer.cancel()  # those nobody will read are not computed

    async def _keep_working(self, number: int) -> None:
        """Work until the batcher closes; where the work itself fails, begin anew."""
        while True:
            try:
                return await self._work(number)
            except Exception:
                logger.exception("a worker of the queue failed and was replaced")

    async def _work(self, number: int) -> None:
        while True:
            async with self._arrived:
                await self._arrived.wait_for(lambda: self._queue or self._closing)
            if self._closing and not self._queue:
                return
            await self._wait_for_batch()
            batch = self._take()
            if batch:
                self._computing[number] = asyncio.get_running_loop().time()
                try:
                    await self._answer(batch)
                finally:
                    del self._computing[number]
                    for item in batch:
                        if not item.answer.done():
                            item.answer.set_exception(RuntimeError("the worker failed before it answered"))

    async def _wait_for_batch(self) -> None:
        """Wait a moment for more items, unless a batch is full, the first item has waited long enough, or no batch is being
        computed: then there is no load, and more items are not to be expected."""
        loop = asyncio.get_running_loop()
        until = self._queue[0].items[0].since + self._limits.batch_seconds
        while (
            self._queue
            and self._computing
            and self._cost < self._limits.batch_items
            and not self._closing
            and loop.time() < until
        ):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until), self._arrived:
                    await self._arrived.wait()

    def _take(self) -> list[_Item]:
        """Return the next items for the same call, up to the size of a batch (at least one)."""
        batch: list[_Item] = []
        size = 0
        while self._queue:
            request = self._queue[0]
            item = request.items[0]
            alive = not item.answer.done()
            if alive and batch and (item.call != batch[0].call or size + item.cost > self._limits.batch_items):
                break
            request.items.popleft()
            request.cost -= item.cost
            self._cost -= item.cost
            self._taken += item.cost
            if alive:
                batch.append(item)
                size += item.cost
            if not request.items:
                heapq.heappop(self._queue)
        return batch

    async def _answer(self, batch: list[_Item]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        cost = sum(item.cost for item in batch)
        self._observe(cost, started - batch[0].since)
        try:
            answers = await self._execute(batch[0].call, [item.value for item in batch])
        except Exception as error:
            if len(batch) > 1:  # one bad item must not fail the others
                for item in batch:
                    await self._answer([item])
            elif not batch[0].answer.done():
                self.failed = True
                batch[0].answer.set_exception(error)
            return
        self.failed = False
        taken = (loop.time() - started) / cost
        self._seconds_per_cost = taken if self._seconds_per_cost is None else 0.8 * self._seconds_per_cost + 0.2 * taken
        for item, answer in zip(batch, answers, strict=True):
            if not item.answer.done():
                item.answer.set_result(answer)

    async def _in_thread(self, call: Call, values: list[Any]) -> Sequence[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _computed, call, values)


def _computed(call: Call, values: list[Any]) -> Sequence[Any]:
    """Return what `call` gives. Nothing it raises may end the worker that waits for it.

    Raises:
        LibraryPanicError: in place of what is no `Exception`, such as a panic of a library written in Rust.
    """
    try:
        return call(values)
    except Exception:
        raise
    except BaseException as error:
        raise LibraryPanicError(f"The model cannot read this message ({error}).") from None
