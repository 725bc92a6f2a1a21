"""Places that a tagger finds for a watch, in place of the rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from watching import START, made_stream, write

from bongsu.errors import BongsuError
from bongsu.inference.predictor import Predictor
from bongsu.live_events import AlertEvent
from bongsu.recipe import Tagging
from bongsu.tasks.tagging import Span, TaggingTask
from bongsu.tasks.task import Schema
from bongsu.watch.events import Events
from bongsu.watch.messages import Message
from bongsu.watch.places import TaggedPlaces
from bongsu.watch.tracking import Settings


class Tagger(Predictor):
    """Knows three places and a person, in any letter case."""

    KNOWN = {"boston": "location", "fort  mac": "location", "manila": "location", "ann": "person"}  # noqa: RUF012

    def __init__(self, *types: str) -> None:
        self.task = TaggingTask(Tagging(train="x"), Schema(["O", *(f"{mark}-{kind}" for kind in types for mark in "BI")]))

    def predict(self, texts: Any, context: Any = None) -> list[list[Span]]:
        return [list(self._spans(text)) for text in texts]

    def _spans(self, text: str) -> Sequence[Span]:
        found = re.finditer("|".join(self.KNOWN), text.lower())
        return [Span(*at.span(), text[slice(*at.span())], self.KNOWN[at[0]], 0.9) for at in found]


@pytest.fixture
def places() -> TaggedPlaces:
    return TaggedPlaces(Tagger("location", "person"))


def test_names_are_spans_of_places_alone_each_once_in_lower_case(places: TaggedPlaces) -> None:
    assert places("Ann is in BOSTON, Fort  Mac and Boston") == ("boston", "fort mac")
    assert places("Paris, as the rule would say") == ()
    assert places("") == ()


def test_korean_places_are_found_by_rule_where_the_tagger_finds_none(places: TaggedPlaces) -> None:
    assert places("Ann: 포항에서 규모 5.4 지진 발생") == ("포항",)
    assert places("포항에서 Boston까지") == ("boston",)


@pytest.mark.parametrize("kind", ["place", "LOC", "location", "geo-loc", "GPE", "LCP_CITY"])
def test_types_that_name_places_are_known_by_how_they_begin(kind: str) -> None:
    TaggedPlaces(Tagger("person", kind))


def test_a_tagger_of_other_things_is_refused() -> None:
    with pytest.raises(BongsuError, match="this tagger finds group, person;"):
        TaggedPlaces(Tagger("person", "group"))


def test_a_model_of_another_kind_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.jsonl", [Message("1", "fire", START)])
    assert call(monkeypatch, "watch", str(path), "--places", "bongsu:beacon") == 1
    shown = " ".join(capfd.readouterr().err.split())
    assert shown == "error: --places: a tagger of places is needed; this is a classification model."


def test_alerts_name_the_places_that_the_tagger_finds(places: TaggedPlaces) -> None:
    events, told = Events(Settings(), places), []
    for message in made_stream(3):
        if "lovely" not in message.text:
            events.add(replace(message, text=message.text.lower().replace("#", "")), 0.9)
        told += events.advance(message.time)
    assert [body["title"] for body in told if body["state"] == "opened"] == ["explosion: boston", "flood: manila"]


def test_what_goes_on_from_a_state_finds_places_in_the_same_way(places: TaggedPlaces) -> None:
    messages = [
        replace(message, text=message.text.lower()) for message in made_stream(5, hours=2) if "lovely" not in message.text
    ]

    def alerts(cut: int | None) -> list[list[AlertEvent]]:
        events, told = Events(Settings(), places), []
        for number, message in enumerate(messages):
            if number == cut:
                state, events = events.state(), Events(Settings(), places)
                events.restore(state, {one.uid: one for one in messages}.get)
            events.add(message, 0.9)
            told.append(events.advance(message.time))
        return told

    whole = alerts(None)
    opened = next(number for number, bodies in enumerate(whole) if bodies)
    assert alerts(cut=opened) == whole
