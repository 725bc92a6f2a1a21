"""Which messages to ask about: half those the detector doubts most, half drawn at random from all of the last hours.

Doubtful messages alone teach a detector what its border looks like and nothing of the rest, and their labels say nothing of how
often it is right. So every second message is drawn at random, and those alone are counted for the accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b

from bongsu.corpus.cleaning import dedup_key
from bongsu.corpus.dedup import NearDuplicates
from bongsu.labelling.store import Asked, Candidate, Drawn

HOURS = 6.0
"""The age in hours up to which messages are asked about."""
FRONT = 10
"""Messages that wait for a label at a time."""
_KEPT = 60  # of an hour, at random and of the doubtful
_ALIKE = 0.7


class _Best:
    """Of all that was offered in an hour the candidates of the lowest scores, one for each text."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._found: dict[str, tuple[float, Candidate]] = {}
        self._worst = float("inf")

    def offer(self, name: str, score: float, candidate: Candidate) -> None:
        if score >= self._worst or name in self._found:
            return
        self._found[name] = (score, candidate)
        if len(self._found) > 2 * self._kept:
            ranked = sorted(self._found.items(), key=lambda item: item[1][0])[: self._kept]
            self._found = dict(ranked)
            self._worst = ranked[-1][1][0]

    def __iter__(self) -> Iterator[tuple[float, str, Candidate]]:
        return iter([(score, name, candidate) for name, (score, candidate) in self._found.items()])

    def remove(self, name: str) -> None:
        self._found.pop(name, None)

    def rescore(self, score: Callable[[Candidate], tuple[float, Candidate]]) -> None:
        self._found = {name: score(candidate) for name, (_, candidate) in self._found.items()}


class Queue:
    """Chooses what to ask about from a stream. Time is the messages' own."""

    def __init__(self, threshold: float, hours: float = HOURS, kept: int = _KEPT) -> None:
        """
        Args:
            threshold: the probability around which a detector is in doubt.
            hours: messages older than this, by the youngest, are asked about no more.
            kept: of each hour, messages remembered at random, and as many of the most doubtful.
        """
        self._threshold, self._hours, self._kept = threshold, hours, kept
        self._random: dict[int, _Best] = {}
        self._doubtful: dict[int, _Best] = {}
        self._front: list[Asked] = []
        self._seen = NearDuplicates(_ALIKE)
        self._taken = {"random": 0, "doubtful": 0}
        self._latest = 0

    def offer(self, candidate: Candidate) -> None:
        """Take in a message of the stream."""
        hour = int(candidate.time // 3600)
        self._latest = max(self._latest, hour)
        if hour <= self._latest - self._hours:
            return
        name = dedup_key(candidate.text)
        if not name:
            return
        for pool, score in ((self._random, _draw(name)), (self._doubtful, self._doubt(candidate.probability))):
            if hour not in pool:
                pool[hour] = _Best(self._kept)
                for old in [each for each in pool if each <= self._latest - self._hours]:
                    del pool[old]
            pool[hour].offer(name, score, candidate)

    def front(self, count: int = FRONT) -> list[Asked]:
        """Return the messages to ask about now, at most `count`; they stay until they are done with or too old."""
        oldest = (self._latest - self._hours + 1) * 3600
        self._front = [asked for asked in self._front if asked.time >= oldest]
        while len(self._front) < count and (asked := self._next()) is not None:
            self._front.append(asked)
        return self._front[:count]

    def find(self, source: str, identity: str) -> Asked | None:
        """Return a message that waits for a label."""
        return next((asked for asked in self._front if asked.uid == (source, identity)), None)

    def done(self, asked: Asked) -> None:
        """Ask about a message no more."""
        self._front = [each for each in self._front if each.uid != asked.uid]
        for pool in (self._random, self._doubtful):
            for best in pool.values():
                best.remove(dedup_key(asked.text))

    def again(self, asked: Asked) -> None:
        """Ask about a message once more, first of all."""
        self._front.insert(0, asked)

    def known(self, texts: Iterable[str]) -> None:
        """Ask about no near-duplicate of these."""
        for text in texts:
            self._seen.seen(text)

    def forget(self, source: str, column: str, value: str) -> None:
        """Forget what a message or an author said."""
        self._front = [each for each in self._front if each.source != source or getattr(each, column) != value]
        for pool in (self._random, self._doubtful):
            for best in pool.values():
                for _, name, each in best:
                    if each.source == source and getattr(each, column) == value:
                        best.remove(name)

    def texts(self) -> list[str]:
        """Return the texts of the candidates for doubt."""
        return list(dict.fromkeys(each.text for pool in self._doubtful.values() for _, _, each in pool))

    def sample(self) -> list[Candidate]:
        """Return candidates drawn at random from the last hours, in the order they were drawn."""
        found = sorted((each for best in self._random.values() for each in best), key=lambda each: each[:2])
        return [candidate for _, _, candidate in found]

    def rescore(self, probabilities: Mapping[str, float]) -> None:
        """Measure anew how doubtful the candidates are, by what another detector says of their texts."""

        def anew(candidate: Candidate) -> tuple[float, Candidate]:
            probability = probabilities.get(candidate.text, candidate.probability)
            return self._doubt(probability), replace(candidate, probability=probability)

        for pool in self._doubtful.values():
            pool.rescore(anew)

    def _next(self) -> Asked | None:
        """Take the next message out of the pool that has given fewer."""
        order: list[Drawn] = ["random", "doubtful"]
        if self._taken["random"] > self._taken["doubtful"]:
            order.reverse()
        for drawn in order:
            pool = self._random if drawn == "random" else self._doubtful
            for _, name, candidate in sorted((each for best in pool.values() for each in best), key=lambda each: each[:2]):
                for best in (*self._random.values(), *self._doubtful.values()):
                    best.remove(name)
                if not self._seen.seen(candidate.text):
                    self._taken[drawn] += 1
                    return candidate.asked(drawn)
        return None

    def _doubt(self, probability: float) -> float:
        """Return how far a probability is from the threshold, both sides counting alike however far it is from the middle."""
        below = probability < self._threshold
        room = self._threshold if below else 1.0 - self._threshold
        return abs(probability - self._threshold) / max(room, 1e-6)


def _draw(name: str) -> float:
    """Return a number in [0, 1) that a text always has: the lowest of all texts are a random sample of them."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()) / 2**64
