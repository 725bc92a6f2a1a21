from __future__ import annotations

import random
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.stats import nbinom
from watching import START, find, made_stream, say

from bongsu.live_events import AlertEvent
from bongsu.watch.baseline import ALL, Baseline, upper_tail
from bongsu.watch.events import Events, EventsState
from bongsu.watch.hazards import hazards_in, places_in
from bongsu.watch.messages import Deletion, Message, Reference
from bongsu.watch.tracking import Settings


@given(st.integers(0, 3000), st.floats(0.1, 3000), st.floats(0.5, 200), st.sampled_from([1, 5, 15]))
def test_the_tail_is_the_negative_binomial_one(count: int, shape: float, rate: float, exposure: int) -> None:
    true = nbinom.sf(count - 1, shape, rate / (rate + exposure))
    assert upper_tail(count, shape, rate, exposure) == pytest.approx(true, 1e-6, 1e-12)


def test_hazards_and_places() -> None:
    assert hazards_in("Forest FIRE near La Ronge Sask. Canada") == ("fire",)
    assert hazards_in("firefighter on holiday, a sunbathing crashpad") == ()
    assert hazards_in("[기장군] 호우경보 발효중") == ("flood",)
    assert hazards_in("#yycflood") == ("flood",)
    assert hazards_in("Fuerte sismo; inundación en el sur") == ("earthquake", "flood")
    assert hazards_in("Incêndio na boate, alluvione a Olbia, baha sa Maynila, trains déraillés") == ("crash", "fire", "flood")
    assert hazards_in("a franc, a replica, the llamas of Nevada") == ()
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


def at_random(draw: random.Random, about: list[str], count: int, begin: float, end: float) -> list[Message]:
    """So many messages on each, at random times, in hours."""
    sent = [(START + 3600 * draw.uniform(begin, end), say(draw, each)) for each in about for _ in range(count)]
    return [Message(f"{begin}-{number}", text, time) for number, (time, text) in enumerate(sent)]


def in_order(*parts: list[Message]) -> list[Message]:
    return sorted((message for part in parts for message in part), key=lambda message: message.time)


DAILY = ["Fire in Paris", "Fire in Oslo", "flood near Cairo", "flood near Delhi", "stay safe in Lima", "crash in Rome"]


def test_a_slow_event_is_found_by_a_long_window() -> None:
    draw = random.Random(1)
    told = find(in_order(at_random(draw, DAILY, 100, 0, 30), at_random(draw, ["Flood in Manila"], 16, 24, 28)))
    assert [body["title"] for body in told if body["state"] == "opened"] == ["flood: manila"]
    assert told[0]["burst"]["window_seconds"] >= 3600


def test_messages_of_one_place_are_one_event_whatever_word_they_use() -> None:
    draw = random.Random(2)
    kinds = ["Help needed in Olbia", "Bridge gone, Olbia", "Roofs torn off in Olbia", "Trapped in cars, Olbia"]
    told = find(in_order(at_random(draw, DAILY, 100, 0, 30), at_random(draw, kinds, 4, 24, 24.5)))
    (opened,) = [body for body in told if body["state"] == "opened"]
    assert opened["title"].startswith("other: olbia")


def test_a_day_that_grows_busier_is_no_event_but_one_in_it_is_found() -> None:
    draw = random.Random(3)
    hours = [(0, 10, 2), (10, 13, 4), (13, 16, 8), (16, 19, 16)]  # from, to, messages an hour on each
    day = in_order(*(at_random(draw, DAILY, (end - begin) * rate, begin, end) for begin, end, rate in hours))
    assert find(day) == []
    told = find(in_order(day, at_random(draw, ["Fire in Oslo"], 40, 17, 17.3)))
    assert ["oslo" in body["title"] for body in told if body["state"] == "opened"] == [True]


def test_forgotten_keys_are_not_taken_for_new_ones() -> None:
    small, large = Baseline(1440, 240, 20), Baseline(1440, 240, 10_000)
    for bin in range(600):
        counts = {ALL: 3, "often": 1, f"rare {bin % 60}": 1, f"once {bin}": 1}
        for baseline in (small, large):
            baseline.add(bin, dict(counts))
    assert len(small.state().past) <= 20
    for key in ("rare 3", "once 7", "never"):
        assert small.surprise(key, 6, 15) >= large.surprise(key, 6, 15)
    assert small.surprise("often", 30, 15) == large.surprise("often", 30, 15)


@settings(max_examples=10)
@given(st.integers(0, 3), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(seed: int, draw: random.Random) -> None:
    messages = made_stream(seed, hours=2, quiet=100)
    twice = [message for message in messages for _ in range(draw.choice([1, 1, 2]))]
    shuffled = sorted(twice, key=lambda message: message.time + draw.random() * 29)
    assert find(shuffled) == find(messages)


def _find_late(held_back: Sequence[Message], others: Sequence[Message], at: float) -> tuple[Events, list[AlertEvent]]:
    """Give some messages all at once, at a moment; the state goes through JSON in between."""
    events, told = Events(Settings()), []
    for message in others:
        if events.watermark < at <= message.time:
            for late in held_back:
                events.add(late, 0.9)
            told += events.advance(message.time)
            state = TypeAdapter(EventsState).validate_json(orjson.dumps(events.state()))
            events = Events(Settings())
            events.restore(state, {one.uid: one for one in [*held_back, *others]}.get)
        events.add(message, 0.9)
        told += events.advance(message.time)
    return events, told + events.finish()


@pytest.mark.parametrize("minutes", [2, 20, 45])
def test_what_comes_late_counts_in_the_bin_of_its_time(minutes: int) -> None:
    messages = [message for message in made_stream(1) if "lovely" not in message.text]
    event = [message for message in messages if "oston" in message.text]
    quiet = [message for message in messages if message not in event and "Manila" not in message.text]
    events, told = _find_late(event, quiet, event[-1].time + 60 * minutes)
    assert events.late == 0
    assert next(body["state"] for body in told if "oston" in body["title"]) == "opened"
    spread = quiet[::2]  # half of an ordinary day, late, is no event
    events, told = _find_late(spread, quiet[1::2], START + 9000)
    assert events.late == 0
    assert told == []
    events.add(Message("old", "fire", START), 0.9)
    events.add(Message("older", "fire", START - 86400), 0.9)
    assert events.late == 1


def test_the_last_message_may_be_a_late_one() -> None:
    messages = [message for message in made_stream(1) if "lovely" not in message.text]
    event = [message for message in messages if "oston" in message.text]
    events = Events(Settings())
    for message in messages:
        if message not in event and "Manila" not in message.text:
            events.add(message, 0.9)
            assert events.advance(message.time) == []
    for message in event:
        events.add(message, 0.9)
    assert [body["state"] for body in events.finish()] == ["opened"]


def test_a_busy_stream_that_just_goes_on_is_no_event() -> None:
    """After 61 minutes an hour is held against the minute before it, and that began with the stream."""
    draw, begin = random.Random(0), START - START % 60 + 55
    about = [f"fire in {chr(65 + n % 26)}qzx{n % 9}" for n in range(4500)]
    assert find([Message(str(n), say(draw, each), begin + n) for n, each in enumerate(about)]) == []


def test_the_keys_of_a_flood_are_bounded_within_a_bin_too() -> None:
    rules = Settings(max_keys=100)
    events, draw = Events(rules), random.Random(0)
    for n in range(1000):
        late = n > 500 and n % 2  # half of them were sent before the other half
        name = "".join(draw.choices("bcdfghjk", k=6)).title()
        events.add(Message(str(n), say(draw, f"fire in Oslo and {name}"), START + n / 10 + 3600 * (n > 500) * (not late)), 0.9)
        events.advance(START + n / 10 + 3600 * (n > 500))
        assert len(events._counts) <= 2 * rules.max_keys
        assert sum(map(len, events._late_counts.values())) <= 2 * rules.max_keys
        assert len(events._recent.free) <= 2 * rules.max_keys
    assert events.late == 0
    assert "fire/oslo" in events._recent.free


def test_of_long_messages_no_more_is_remembered_than_is_looked_at() -> None:
    events, draw = Events(Settings()), random.Random(0)
    for n in range(20):
        text = say(draw, f"fire in Oslo {n}") + " 화재" * 3000
        events.add(Message(str(n), text, START + n), 0.9)
        events.advance(START + n - 5)
    remembered = [one.message for one in events._recent]
    waiting = [message for message, _ in events._waiting.values()]
    assert len(remembered) + len(waiting) == 20
    assert waiting
    assert all(len(message.text) == 2000 for message in [*remembered, *waiting])


def test_near_duplicates_are_one_message() -> None:
    text = "Fire at the old mill in Paris, many people are still inside, please help"
    copies = [Message(f"{n}", f"RT @user{n}: {text}", START + 3600 + n) for n in range(200)]
    assert find([Message("first", "rain", START), *copies]) == []


@settings(max_examples=6)
@given(st.integers(1, 330))
def test_goes_on_from_its_state_as_if_nothing_had_been(cut: int) -> None:
    messages = [message for message in made_stream(5, hours=2, quiet=100) if "lovely" not in message.text]
    whole, told = find(messages), []
    events = Events(Settings())
    for number, message in enumerate(messages):
        if number == cut:
            state = TypeAdapter(EventsState).validate_json(orjson.dumps(events.state()))
            events = Events(Settings())
            events.restore(state, {message.uid: message for message in messages}.get)
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
    (body,) = events.delete(Deletion(gone.id))
    assert gone.id not in [item["id"] for item in body["evidence"]]
    state = orjson.loads(orjson.dumps(events.state()))
    assert gone.text not in str({name: part for name, part in state.items() if name != "alerts"})
    assert gone.id not in [item["id"] for item in state["alerts"][0]["evidence"]]


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
