"""Places found by a tagger in place of the rule in `bongsu.watch.hazards`."""

from __future__ import annotations

from bongsu.errors import BongsuError
from bongsu.inference.predictor import Predictor
from bongsu.tasks.tagging import TaggingTask
from bongsu.watch.hazards import MAX_PLACES, korean_places_in

_TYPES = ("place", "loc", "lc", "gpe", "geo")
"""How the types of spans begin that name places: location, LOC, LCP_CITY, GPE, geo-loc."""


class TaggedPlaces:
    """Finds the places in a text by a tagger; Korean ones by rule where the tagger finds none."""

    def __init__(self, tagger: Predictor) -> None:
        """
        Raises:
            BongsuError: when the model is no tagger, or none of its types names places.
        """
        if not isinstance(tagger.task, TaggingTask):
            raise BongsuError(f"--places: a tagger of places is needed; this is a {tagger.task.kind} model.")
        types = sorted({label[2:] for label in tagger.task.schema.labels if label != "O"})
        self._tagger = tagger
        self._types = frozenset(kind for kind in types if kind.lower().startswith(_TYPES))
        if not self._types:
            raise BongsuError(
                f"--places: this tagger finds {', '.join(types)}; the name of a type of places begins with {', '.join(_TYPES)}."
            )

    def __call__(self, text: str) -> tuple[str, ...]:
        """Return at most `MAX_PLACES` names in `text`, in lower case, in their order."""
        [spans] = self._tagger.predict([text])
        names = dict.fromkeys(" ".join(span.text.lower().split()) for span in spans if span.type in self._types)
        return tuple(names)[:MAX_PLACES] or korean_places_in(text)[:MAX_PLACES]
