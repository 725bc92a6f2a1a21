"""Joins the items of many clients into batches, in the order they came, with a bound on how many wait and how long.

Why here and not in a library: the queue must be bounded by *time* as well as by number, one failing item must not fail its
neighbours, and an item must be answered by the model it was accepted for, even while another is swapped in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from bongsu.serving.limits import Limits
from bongsu.serving.refusals import Refusal

In = TypeVar("In")
Out = TypeVar("Out")
Call = Callable[[list[Any]], Sequence[Any]]
Execute = Callable[[Call, list[Any]], Awaitable[Sequence[Any]]]


@dataclass(slots=True)
class _Item:
    call: Call
    value: Any
    cost: int
    since: float
    answer: asyncio.Future[Any]


class Batcher:
    """A bounded queue and `limits.sessions` workers that take batches from it.

    Items wait together only when they are to be given to the same call. The cost of an item is counted in messages: 1 for a
    prediction, more for an explanation, which predicts many.
    """

    def __init__(
        self,
        limits: Limits,
        execute: Execute | None = None,
        observe: Callable[[int, float], None] = lambda cost, waited: None,
    ) -> None:
        """Args:
        limits: sizes and times.
        execute: runs a call on a batch; by default in a thread for each worker.
        observe: told the cost of each batch and how many seconds its first item waited.
        """
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.sessions, thread_name_prefix="batch") if execute is None else None
        self._execute = execute or self._in_thread
        self._observe = observe
        self._queue: deque[_Item] = deque()
        self._cost = 0
        self._arrived = asyncio.Condition()
        self._closing = False
        self._computing = 0
        self._workers: list[asyncio.Task[None]] = []
        self._seconds_per_cost: float | None = None

    @property
    def waiting(self) -> int:
        """Messages in the queue."""
        return self._cost

    @property
    def expected_wait(self) -> float:
        """Seconds until what is in the queue has been taken, by the rate of the last batches."""
        return self._cost * (self._seconds_per_cost or 0.0) / self._limits.sessions

    async def start(self) -> None:
        """Starts the workers."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._limits.sessions)]

    async def close(self) -> None:
        """Answers everything that waits, then ends the workers."""
        async with self._arrived:
            self._closing = True
            self._arrived.notify_all()
        await asyncio.gather(*self._workers)
        if self._threads is not None:
            self._threads.shutdown()

    async def submit(self, call: Callable[[list[In]], Sequence[Out]], values: Sequence[In], costs: Sequence[int]) -> list[Out]:
        """Gives each value to `call`, in batches shared with others, and returns the answers in order.

        Raises:
            Refusal: 429 when the queue is full, 503 when no answer came in time.
        """
        cost = sum(costs)
        full = self._cost + cost > self._limits.queue_items or self.expected_wait > self._limits.queue_seconds
        if self._queue and full:  # an empty queue takes any request, so that none is refused for ever
            raise Refusal(429, "The server is busy; try again in a moment.", self.expected_wait)
        loop = asyncio.get_running_loop()
        now = loop.time()
        items = [_Item(call, value, each, now, loop.create_future()) for value, each in zip(values, costs, strict=True)]
        self._queue.extend(items)
        self._cost += cost
        async with self._arrived:
            self._arrived.notify_all()
        try:
            async with asyncio.timeout(self._limits.seconds):
                return list(await asyncio.gather(*(item.answer for item in items)))
        except TimeoutError:
            raise Refusal(503, f"No answer within {self._limits.seconds:g} seconds.", self.expected_wait) from None
        finally:
            for item in items:
                item.answer.cancel()  # those nobody will read are not computed

    async def _work(self) -> None:
        while True:
            async with self._arrived:
                await self._arrived.wait_for(lambda: self._queue or self._closing)
            if self._closing and not self._queue:
                return
            await self._company()
            batch = self._take()
            if batch:
                self._computing += 1
                await self._answer(batch)
                self._computing -= 1

    async def _company(self) -> None:
        """Waits a moment for more items, unless a batch is full, the first has waited long enough, or nobody else is here:
        while no batch is computed there is no load that company could be expected of."""
        loop = asyncio.get_running_loop()
        until = self._queue[0].since + self._limits.batch_seconds
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
        """The next items that go to the same call, up to the size of a batch (at least one)."""
        batch: list[_Item] = []
        size = 0
        while self._queue:
            item = self._queue[0]
            alive = not item.answer.done()
            if alive and batch and (item.call != batch[0].call or size + item.cost > self._limits.batch_items):
                break
            self._queue.popleft()
            self._cost -= item.cost
            if alive:
                batch.append(item)
                size += item.cost
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
                batch[0].answer.set_exception(error)
            return
        taken = (loop.time() - started) / cost
        self._seconds_per_cost = taken if self._seconds_per_cost is None else 0.8 * self._seconds_per_cost + 0.2 * taken
        for item, answer in zip(batch, answers, strict=True):
            if not item.answer.done():
                item.answer.set_result(answer)

    async def _in_thread(self, call: Call, values: list[Any]) -> Sequence[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, values)
