from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom
from watching import START, find, made_stream, say

from bongsu.serving.watch.baseline import upper_tail
from bongsu.serving.watch.events import Events
from bongsu.serving.watch.hazards import hazards_in, places_in
from bongsu.serving.watch.messages import Message, Reference
from bongsu.serving.watch.tracking import Settings


@settings(deadline=None)
@given(st.integers(0, 3000), st.floats(0.1, 3000), st.floats(0.5, 200), st.sampled_from([1, 5, 15]))
def test_the_tail_is_the_negative_binomial_one(count: int, shape: float, rate: float, exposure: int) -> None:
    true = nbinom.sf(count - 1, shape, rate / (rate + exposure))
    assert upper_tail(count, shape, rate, exposure) == pytest.approx(true, 1e-6, 1e-12)


def test_hazards_and_places() -> None:
    assert hazards_in("Forest FIRE near La Ronge Sask. Canada") == ("fire",)
    assert hazards_in("firefighter on holiday, a sunbathing crashpad") == ()
    assert hazards_in("[기장군] 호우경보 발효중") == ("flood",)
    assert hazards_in("#yycflood") == ("flood",)
    assert places_in("Explosions in New York City #prayforboston") == ("boston", "new york city")
    assert places_in("포항에서 규모 5.4 지진 발생") == ("포항",)
    assert places_in("친구가 다시 온도를 쟀다") == ()


def test_each_burst_is_one_alert_that_is_opened_once_and_closed() -> None:
    told = find(made_stream(3))
    opened = {body["id"]: body for body in told if body["state"] == "opened"}
    assert len(opened) == len([body for body in told if body["state"] == "opened"]) == 2
    boston, manila = opened.values()
    assert boston["hazard"] == "explosion"
    assert "boston" in boston["title"]
    assert manila["title"] == "flood: manila"
    assert boston["evidence"]
    assert boston["burst"]["p_value"] < 1e-6
    assert [body["id"] for body in told if body["state"] == "closed"] == list(opened)


def test_without_a_burst_there_is_no_alert() -> None:
    draw = random.Random(0)
    quiet = [Message(str(n), say(draw, "Fire in Paris"), START + draw.random() * 86400) for n in range(3000)]
    assert find(sorted(quiet, key=lambda message: message.time)) == []


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 3), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(seed: int, draw: random.Random) -> None:
    messages = made_stream(seed, hours=2, quiet=100)
    twice = [message for message in messages for _ in range(draw.choice([1, 1, 2]))]
    shuffled = sorted(twice, key=lambda message: message.time + draw.random() * 29)
    assert find(shuffled) == find(messages)


def test_near_duplicates_are_one_message() -> None:
    text = "Fire at the old mill in Paris, many people are still inside, please help"
    copies = [Message(f"{n}", f"RT @user{n}: {text}", START + 3600 + n) for n in range(200)]
    assert find([Message("first", "rain", START), *copies]) == []


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 330))
def test_goes_on_from_its_state_as_if_nothing_had_been(cut: int) -> None:
    messages = [message for message in made_stream(5, hours=2, quiet=100) if "lovely" not in message.text]
    whole, told = find(messages), []
    events = Events(Settings())
    for number, message in enumerate(messages):
        if number == cut:
            state = orjson.loads(orjson.dumps(events.state()))
            events = Events(Settings())
            events.restore(state)
        events.add(message, 0.9)
        told += events.advance(message.time)
    assert told + events.finish() == whole


def test_a_deletion_leaves_no_text() -> None:
    events = Events(Settings())
    told = []
    for message in made_stream(3):
        if "lovely" not in message.text:
            events.add(message, 0.9)
        told += events.advance(message.time)
        if events.open:
            break
    alert = next(iter(events.open.values()))
    gone = alert.evidence[0]
    (body,) = events.delete(gone.id, "")
    assert gone.id not in [item["id"] for item in body["evidence"]]
    assert gone.text not in orjson.dumps(events.state()).decode()


def test_an_official_record_confirms_the_alert_of_its_hazard_and_place() -> None:
    events = Events(Settings())
    for message in made_stream(3):
        if "lovely" not in message.text:
            events.add(message, 0.9)
        if events.advance(message.time) and events.open:
            break
    raised = next(iter(events.open.values())).raised
    assert events.refer(Reference("a", "Flood", raised, ("flood",), ("boston",))) == []
    assert events.refer(Reference("b", "Explosion", raised, ("explosion",), ("tokyo",))) == []
    (body,) = events.refer(Reference("c", "Explosion", raised, ("explosion",), ("boston",), "긴급재난"))
    assert [reference["id"] for reference in body["references"]] == ["c"]
