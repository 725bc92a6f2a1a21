"""What is asked about: half in doubt, half at random, nothing twice."""

from __future__ import annotations

import random

import numpy as np
from scipy.stats import kstest

from bongsu.labelling.queue import Queue
from bongsu.labelling.store import Candidate

WORDS = ["road", "school", "house", "water", "street", "people", "night", "rain", "car", "market", "bridge", "hill", "shop"]


def made(number: int, time: float, probability: float, text: str = "") -> Candidate:
    draw = random.Random(number)
    return Candidate("s", str(number), f"author {number % 7}", text or " ".join(draw.choices(WORDS, k=12)), time, probability)


def stream(count: int, hours: float = 3.0) -> list[Candidate]:
    draw = random.Random(1)
    return [made(number, number * hours * 3600 / count, draw.random()) for number in range(count)]


def drain(queue: Queue, count: int) -> list:  # type: ignore[type-arg]
    asked = []
    for _ in range(count):
        [one] = queue.front(1)
        queue.done(one)
        asked.append(one)
    return asked


def test_every_second_message_is_the_most_doubtful_and_the_rest_are_random() -> None:
    queue, messages = Queue(0.5), stream(2000)
    for each in messages:
        queue.offer(each)
    asked = drain(queue, 80)
    assert [each.drawn for each in asked] == ["random", "doubtful"] * 40
    doubtful = [abs(each.probability - 0.5) for each in asked if each.drawn == "doubtful"]
    assert max(doubtful) < 0.03
    assert doubtful == sorted(doubtful)
    drawn = [each for each in asked if each.drawn == "random"]
    assert kstest([each.probability for each in drawn], "uniform").pvalue > 0.01
    assert kstest([each.time / (3 * 3600) for each in drawn], "uniform").pvalue > 0.01
    assert len({each.uid for each in asked}) == 80


def test_near_duplicates_are_asked_about_once() -> None:
    queue = Queue(0.5)
    queue.known(["The bridge on Mill Road has collapsed, three people are missing"])
    for number in range(50):
        queue.offer(made(number, number, 0.5, f"RT: The bridge on Mill Road has collapsed, three people are missing {number}"))
        queue.offer(made(100 + number, number, 0.4, f"Flood water is in the school of the old town tonight {'!' * number}"))
    assert len(queue.front(10)) == 1
    assert "Flood" in queue.front(10)[0].text


def test_the_queue_is_refilled_and_keeps_to_the_last_hours() -> None:
    queue = Queue(0.5, hours=2)
    for each in stream(300, hours=1.0):
        queue.offer(each)
    first = queue.front(5)
    assert queue.front(5) == first  # asked for again, it is the same
    queue.done(first[0])
    assert queue.front(5)[:4] == first[1:]
    for number in range(300):
        queue.offer(made(1000 + number, 5 * 3600 + number, 0.5))
    assert min(each.time for each in queue.front(5)) >= 5 * 3600
    queue.offer(made(9999, 10.0, 0.5))  # came too late
    assert "9999" not in {each.id for each in drain(queue, 60)}


def test_what_was_taken_back_is_gone() -> None:
    queue = Queue(0.5)
    for each in stream(100):
        queue.offer(each)
    shown = queue.front(4)
    queue.forget("s", "id", shown[0].id)
    queue.forget("s", "author", "author 3")
    asked = drain(queue, 40)
    assert shown[0].id not in {each.id for each in asked}
    assert "author 3" not in {each.author for each in asked}


def test_doubt_is_that_of_the_version_in_use() -> None:
    queue, messages = Queue(0.3), stream(60)
    for each in messages:
        queue.offer(each)
    texts = queue.texts()
    queue.rescore({text: 0.29 if number == 7 else 0.99 for number, text in enumerate(texts)})
    doubtful = next(each for each in drain(queue, 2) if each.drawn == "doubtful")
    assert (doubtful.text, doubtful.probability) == (texts[7], 0.29)


def test_an_answer_undone_is_asked_for_first() -> None:
    queue = Queue(0.5)
    for each in stream(50):
        queue.offer(each)
    asked = drain(queue, 3)
    queue.again(asked[1])
    assert queue.front(1) == [asked[1]]


def test_memory_is_bounded() -> None:
    queue = Queue(0.5, kept=10)
    for each in stream(5000, hours=0.9):
        queue.offer(each)
    assert len(queue.sample()) <= 20
    assert len(queue.texts()) <= 20
    assert np.isfinite([each.probability for each in queue.sample()]).all()
