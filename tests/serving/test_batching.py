"""The queue in virtual time: nothing here depends on how fast the machine is."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from fake_service import run_in_virtual_time
from hypothesis import given
from hypothesis import strategies as st

from bongsu.serving.api_errors import ApiError
from bongsu.serving.batching import Batcher
from bongsu.serving.limits import Limits

SECONDS_A_BATCH, SECONDS_AN_ITEM = 0.01, 0.005


class Slow:
    """An engine with a known speed; also remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    async def execute(self, call: Any, values: list[Any]) -> Sequence[Any]:
        self.batches.append(values)
        await asyncio.sleep(SECONDS_A_BATCH + SECONDS_AN_ITEM * len(values))
        return call(values)  # type: ignore[no-any-return]

    @staticmethod
    def rate(limits: Limits) -> float:
        """Items a second, in full batches."""
        size = limits.batch_items
        return limits.sessions * size / (SECONDS_A_BATCH + SECONDS_AN_ITEM * size)


def double(values: list[int]) -> list[int]:
    return [2 * value for value in values]


def negate(values: list[int]) -> list[int]:
    return [-value for value in values]


def test_three_times_the_load_is_answered_in_bounded_time_or_refused() -> None:
    limits = Limits(batch_items=32, queue_seconds=1.0, queue_items=10_000)

    async def main() -> tuple[list[float], list[ApiError], float]:
        batcher = Batcher(limits, Slow().execute)
        await batcher.start()
        loop = asyncio.get_running_loop()
        draw = random.Random(0)
        waits: list[float] = []
        refused: list[ApiError] = []

        async def client(number: int) -> None:
            started = loop.time()
            try:
                assert await batcher.submit(double, [number], [1]) == [2 * number]
            except ApiError as refusal:
                refused.append(refusal)
            else:
                waits.append(loop.time() - started)

        offered = 3 * Slow.rate(limits)
        clients = []
        for number in range(int(8 * offered)):  # 8 seconds of Poisson arrivals
            clients.append(asyncio.create_task(client(number)))
            await asyncio.sleep(draw.expovariate(offered))
        seconds = loop.time()
        await asyncio.gather(*clients)
        await batcher.close()
        return waits, refused, len(waits) / seconds

    waits, refused, rate = run_in_virtual_time(main())
    batch = SECONDS_A_BATCH + SECONDS_AN_ITEM * limits.batch_items
    p99 = sorted(waits)[int(0.99 * len(waits))]
    assert p99 < limits.queue_seconds + 3 * batch
    assert rate > 0.9 * Slow.rate(limits)  # no work is lost to the refusals
    assert len(refused) > 1.5 * len(waits)
    assert {refusal.status for refusal in refused} == {429}
    assert all(int(refusal.headers["Retry-After"]) >= 1 for refusal in refused)


@pytest.mark.parametrize("attackers", [4, 40])
def test_few_messages_do_not_wait_for_the_many_of_others(attackers: int) -> None:
    """Each of the many requests has 50 items of cost 10, as 50 messages of 10,000 characters have."""

    async def main() -> tuple[list[float], list[str]]:
        batcher = Batcher(Limits(sessions=1), Slow().execute)
        await batcher.start()
        loop = asyncio.get_running_loop()
        many = [asyncio.create_task(batcher.submit(double, list(range(50)), [10] * 50)) for _ in range(attackers)]
        await asyncio.sleep(0.2)
        waits = []
        for number in range(10):
            started = loop.time()
            assert await batcher.submit(double, [number], [1]) == [2 * number]
            waits.append(loop.time() - started)
        outcomes = await asyncio.gather(*many, return_exceptions=True)
        await batcher.close()
        return waits, ["refused" if isinstance(one, ApiError) else "answered" for one in outcomes]

    waits, outcomes = run_in_virtual_time(main())
    assert max(waits) <= 2 * (SECONDS_A_BATCH + 7 * SECONDS_AN_ITEM)  # the batch under way, and their own
    assert "answered" in outcomes
    assert ("refused" in outcomes) == (attackers > 8)  # what may wait is 4,096


def test_a_large_request_is_answered_though_small_ones_keep_coming() -> None:
    async def main() -> tuple[float, float]:
        batcher = Batcher(Limits(sessions=1), Slow().execute)
        await batcher.start()
        loop = asyncio.get_running_loop()
        ended = list[float]()

        async def large() -> None:
            await batcher.submit(double, list(range(200)), [1] * 200)
            ended.append(loop.time())

        task, number = asyncio.create_task(large()), 0
        small = list[asyncio.Task[Any]]()
        while not task.done() and loop.time() < 60:  # half as much again as there is time for
            small.append(asyncio.create_task(batcher.submit(double, [number], [1])))
            await asyncio.sleep(SECONDS_AN_ITEM * 0.66)
            number += 1
        await asyncio.gather(*small, return_exceptions=True)
        await task
        await batcher.close()
        return ended[0], 200 * SECONDS_AN_ITEM

    ended, alone = run_in_virtual_time(main())
    assert alone < ended < 20 * alone


def test_many_clients_share_batches_and_each_gets_its_own() -> None:
    async def main() -> None:
        slow = Slow()
        batcher = Batcher(Limits(batch_items=64), slow.execute)
        await batcher.start()
        answers = await asyncio.gather(*(batcher.submit(double, [number, -number], [1, 1]) for number in range(100)))
        await batcher.close()
        assert answers == [[2 * number, -2 * number] for number in range(100)]
        assert [len(batch) for batch in slow.batches] == [64, 64, 64, 8]

    run_in_virtual_time(main())


def test_a_lone_item_does_not_wait_and_one_among_others_only_for_the_time_set() -> None:
    async def main() -> None:
        batcher = Batcher(Limits(batch_seconds=0.003), Slow().execute)
        await batcher.start()
        clock = asyncio.get_running_loop().time
        lone = asyncio.create_task(batcher.submit(double, [1], [1]))
        await asyncio.sleep(0.001)
        started = clock()
        await batcher.submit(double, [2], [1])
        assert clock() - started == pytest.approx(0.003 + SECONDS_A_BATCH + SECONDS_AN_ITEM)
        await lone
        started = clock()
        await batcher.submit(double, [3], [1])
        assert clock() - started == pytest.approx(SECONDS_A_BATCH + SECONDS_AN_ITEM)
        await batcher.close()

    run_in_virtual_time(main())


def test_one_bad_item_does_not_fail_its_neighbours() -> None:
    def invert(values: list[int]) -> list[float]:
        return [1 / value for value in values]

    async def main() -> None:
        batcher = Batcher(Limits(), Slow().execute)
        await batcher.start()
        answers: list[Any] = await asyncio.gather(
            *(batcher.submit(invert, values, [1] * len(values)) for values in ([1], [0], [2], [4, 0])), return_exceptions=True
        )
        assert answers[0] == [1.0]
        assert answers[2] == [0.5]
        assert isinstance(answers[1][0], ZeroDivisionError)
        assert answers[3][0] == 0.25
        assert isinstance(answers[3][1], ZeroDivisionError)
        await batcher.close()

    run_in_virtual_time(main())


def test_what_takes_too_long_is_given_up_and_not_computed() -> None:
    async def main() -> None:
        slow = Slow()
        limits = Limits(seconds=0.25, batch_items=32, sessions=1, queue_seconds=100)
        batcher = Batcher(limits, slow.execute)
        await batcher.start()
        requests = (batcher.submit(double, [number] * 32, [1] * 32) for number in range(5))
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert answers[0] == [0] * 32
        assert [getattr(answer, "status", 200) for answer in answers] == [200, 503, 503, 503, 503]
        await batcher.close()
        assert len(slow.batches) == 2  # the second was under way when its time ran out
        assert batcher.waiting == 0

    run_in_virtual_time(main())


def test_closing_answers_everything_that_was_accepted() -> None:
    async def main() -> None:
        batcher = Batcher(Limits(batch_items=8), Slow().execute)
        await batcher.start()
        accepted = [asyncio.create_task(batcher.submit(double, [number], [1])) for number in range(200)]
        await asyncio.sleep(0.02)
        await batcher.close()
        assert [task.result() for task in accepted] == [[2 * number] for number in range(200)]

    run_in_virtual_time(main())


def test_a_request_larger_than_the_queue_is_taken_when_nothing_waits() -> None:
    async def main() -> None:
        batcher = Batcher(Limits(queue_items=10), Slow().execute)
        await batcher.start()
        large = asyncio.create_task(batcher.submit(double, list(range(50)), [1] * 50))
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refused:
            await batcher.submit(double, list(range(50)), [1] * 50)
        assert refused.value.status == 429
        assert await batcher.submit(double, [1], [1]) == [2]  # what is small need not wait
        assert not large.done()
        assert await large == double(list(range(50)))
        await batcher.close()

    run_in_virtual_time(main())


CALL = st.sampled_from([double, negate])


@given(
    requests=st.lists(st.tuples(CALL, st.lists(st.integers(), min_size=1, max_size=9), st.floats(0, 0.05)), max_size=25),
    batch=st.integers(1, 12),
    sessions=st.integers(1, 3),
)
def test_answers_do_not_depend_on_batching(requests: list[Any], batch: int, sessions: int) -> None:
    async def main() -> list[Any]:
        slow = Slow()
        batcher = Batcher(Limits(batch_items=batch, sessions=sessions), slow.execute)
        await batcher.start()

        async def client(call: Any, values: list[int], pause: float) -> Any:
            await asyncio.sleep(pause)
            return await batcher.submit(call, values, [1] * len(values))

        answers = await asyncio.gather(*(client(*request) for request in requests))
        await batcher.close()
        assert all(len(values) <= batch for values in slow.batches)
        given_to = Counter(value for values in slow.batches for value in values)
        assert given_to == Counter(value for _, values, _ in requests for value in values)
        return answers

    assert run_in_virtual_time(main()) == [call(values) for call, values, _ in requests]
