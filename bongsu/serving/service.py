"""The work of the service, without HTTP: check limits, queue, predict, count."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from bongsu.errors import BongsuError
from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.drift import DriftWatch
from bongsu.labelling.store import Candidate
from bongsu.serving.api_errors import ApiError
from bongsu.serving.batching import Batcher
from bongsu.serving.broadcast import Broadcaster
from bongsu.serving.limits import Limits
from bongsu.serving.metrics import Metrics
from bongsu.serving.model import Message
from bongsu.serving.model_holder import ModelHolder
from bongsu.serving.schemas import (
    Classification,
    ClassifyRequest,
    ClassifyResponse,
    EmbedRequest,
    EmbedResponse,
    FillMaskRequest,
    FillMaskResponse,
    Guess,
    PredictRequest,
    PredictResponse,
    Problem,
    Swapped,
    Word,
)

if TYPE_CHECKING:
    from bongsu.labelling.desk import Desk

logger = logging.getLogger("bongsu.serving")

In = TypeVar("In")
Out = TypeVar("Out")
_CHARACTERS = 1000  # that cost as much as the prediction of a short message


class Service:
    """One bundle at work, for any number of clients."""

    def __init__(
        self,
        load: Callable[[], BundlePredictor],
        limits: Limits,
        api_key: str | None = None,
        log_text: bool = False,
        stream: Broadcaster | None = None,
        desk: Desk | None = None,
    ) -> None:
        """
        Args:
            load: opens the bundle; called again for a swap.
            api_key: asked of every client when given.
            log_text: let the log lines carry the messages.
            stream: where a watch in this process publishes; without one the page shows no watch.
            desk: where labels come in; `load` must have opened the bundle there. Without a watch, messages that clients send
                may be asked about. With or without a desk they are watched for drift, if there are two classes.

        Raises:
            BongsuError: when the bundle cannot be used.
        """
        self.limits = limits
        self.log_text = log_text
        self.watches = stream is not None
        self.stream = Broadcaster() if stream is None else stream
        self.metrics = Metrics()
        self.holder = ModelHolder(load)
        self.draining = False
        self.api_key = None if api_key is None else api_key.encode("utf-8", "surrogateescape")
        self.desk = desk
        self._work: set[asyncio.Task[None]] = set()
        if desk is not None:
            desk.listeners.append(self.use)
            self.metrics.watch_labels(desk)
        self._batcher = Batcher(limits, observe=self.metrics.observe_batch)
        self._drift = None if desk is not None or self.watches else DriftWatch.of(self.holder.model.predictor)
        if desk is not None or self._drift is not None:
            self.metrics.watch_drift(lambda: self.drift)
        self.metrics.watch_queue(lambda: self._batcher.waiting)
        self.metrics.serves(self.holder.model.version, self.holder.model.engine)

    @property
    def drift(self) -> DriftWatch | None:
        """Whether the stream has changed; None where nobody looks."""
        return self._drift if self.desk is None else self.desk.drift

    async def start(self) -> None:
        """Begin to take from the queue."""
        await self._batcher.start()

    def drain(self) -> None:
        """Answer "not ready" from now on and end the live streams, which would never end by themselves."""
        self.draining = True
        self.stream.close()

    async def close(self) -> None:
        """Answer what was accepted, then end."""
        self.drain()
        await asyncio.gather(*self._work)
        await self._batcher.close()

    async def status(self) -> str:
        """Return "ok" when requests should be sent here; else "draining", "stuck" (no worker is free, nor will one be soon) or
        "failing" (the model no longer answers)."""
        if self.draining:
            return "draining"
        if not self._batcher.working:
            return "stuck"
        if self._batcher.failed and not await self.holder.works():
            return "failing"
        return "ok"

    async def classify(self, request: ClassifyRequest) -> ClassifyResponse:
        """Classify the messages of a request, all with the same bundle.

        Raises:
            ApiError: 422 beyond a limit or when no message can be read, 429 when the queue is full, 503 when it takes too long.
        """
        model = self.holder.model
        if model.predictor.task.kind != "classification":
            raise ApiError(404, f"This bundle is a {model.predictor.task.kind} model; ask it at /v1/predict.")
        most = self.limits.explanations if request.explain else self.limits.items
        self._check_count(len(request.text), most, "text", "explains" if request.explain else "classifies")
        self._check_length(request.text)
        messages: list[Message] = list(zip(request.text, self._contexts(request.context, len(request.text)), strict=True))
        costs = [_cost([text, *context]) for text, context in messages]
        if request.explain:
            costs = [cost * model.cost_of_explaining(each) for cost, each in zip(costs, messages, strict=True)]
            if sum(costs) > self.limits.explained_cost:
                raise ApiError(422, "text: too much to explain in one request; send fewer messages, or shorter ones.")
        parts = [[text, *context] for text, context in messages]
        answers = await self._answers(
            model.explain if request.explain else model.classify, messages, parts, costs, "text: message"
        )
        results: list[Classification | Problem] = []
        for answer in answers:
            if isinstance(answer, Problem):
                results.append(answer)
                continue
            prediction, words = answer
            self.metrics.labels.labels(prediction.label).inc()
            results.append(
                Classification(
                    label=prediction.label,
                    value=prediction.value,
                    probability=prediction.probability,
                    probabilities=prediction.probabilities,
                    explanation=None if words is None else [Word(word=word.text, weight=word.weight) for word in words],
                )
            )
        if self.drift is not None and not self.watches:
            asyncio.get_running_loop().run_in_executor(None, self._offer, request.text, results)
        threshold = model.predictor.threshold if len(model.predictor.task.schema.labels) == 2 else None
        return ClassifyResponse(model=model.version, threshold=threshold, results=results)

    async def predict(self, request: PredictRequest) -> PredictResponse:
        """Answer the inputs of a request with a model of any kind.

        Raises:
            ApiError: 422 when an input has another number of texts than the kind reads, or beyond a limit; 429, 503 as
                `classify`.
        """
        model = self.holder.model
        texts = [(each,) if isinstance(each, str) else tuple(each) for each in request.inputs]
        wanted = 2 if model.predictor.task.pairs else 1
        for number, each in enumerate(texts, 1):
            if len(each) != wanted:
                kind = model.predictor.task.kind
                raise ApiError(422, f"inputs: entry {number} has {len(each)} texts; a {kind} model reads {wanted}.")
        self._check_count(len(texts), self.limits.items, "inputs", "answers")
        self._check_length(["".join(each) for each in texts], "inputs: entry")
        fronts = self._contexts(request.context, len(texts))
        inputs: list[tuple[Sequence[str], Sequence[str]]] = list(zip(texts, fronts, strict=True))
        parts = [[*each, *front] for each, front in inputs]
        answers = await self._answers(model.predict, inputs, parts, list(map(_cost, parts)), "inputs: entry")
        return PredictResponse(model=model.version, kind=model.predictor.task.kind, results=answers)

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Return the vectors of a request's texts.

        Raises:
            ApiError: 404 when the model reads two texts; 422, 429, 503 as `classify`.
        """
        model = self.holder.model
        if model.predictor.task.pairs:
            raise ApiError(404, f"A {model.predictor.task.kind} model reads two texts at a time and has no vector of one.")
        self._check_count(len(request.text), self.limits.items, "text", "embeds")
        self._check_length(request.text)
        parts = [[text] for text in request.text]
        vectors = await self._answers(model.embed, request.text, parts, list(map(_cost, parts)), "text: message")
        return EmbedResponse(model=model.version, vectors=vectors)

    async def fill_mask(self, request: FillMaskRequest) -> FillMaskResponse:
        """Guess the masked words of a text.

        Raises:
            ApiError: 404 when the bundle cannot; otherwise as `classify`.
            DataError: when there is no mask in the text.
        """
        model = self.holder.model
        if not model.predictor.fills_masks:
            raise ApiError(404, "This bundle carries no masked language model.")
        self._check_length([request.text])
        asked, part = (request.text, request.top_k), [request.text]
        [masks] = await self._answers(model.fill_mask, [asked], [part], [_cost(part)], "text: message")
        assert not isinstance(masks, Problem)  # of a single one it would have been raised
        guesses = [[Guess(token=token, probability=probability) for token, probability in mask] for mask in masks]
        return FillMaskResponse(model=model.version, masks=guesses)

    async def swap(self) -> Swapped:
        """Open the bundle anew and serve from it.

        Raises:
            BongsuError: when it cannot be used; the old one keeps serving.
        """
        try:
            model = await self.holder.swap()
        except Exception as error:
            self.metrics.swaps.labels("refused").inc()
            fields = {"reason": str(error) or type(error).__name__, "serving": self.holder.model.version}
            logger.error("swap refused", exc_info=None if isinstance(error, BongsuError) else error, extra={"fields": fields})
            raise
        self._drift = DriftWatch.of(model.predictor) if self._drift is not None else None
        self.metrics.swaps.labels("done").inc()
        self.metrics.serves(model.version, model.engine)
        logger.info("swapped", extra={"fields": {"serving": model.version, "engine": model.engine}})
        return Swapped(model=model.version, engine=model.engine)

    def use(self, predictor: BundlePredictor) -> None:
        """Serve from another version of the same bundle; may be called from any thread.

        Raises:
            BongsuError: when it does not answer; the old one keeps serving.
        """
        self.holder.use(predictor)
        self.metrics.swaps.labels("done").inc()
        self.metrics.serves(predictor.version, predictor.engine)
        logger.info("swapped", extra={"fields": {"serving": predictor.version, "engine": predictor.engine}})

    def learn_when_due(self) -> None:
        """Begin to learn from labels if there are enough new ones; requests are answered meanwhile."""
        if self.desk is None or self._work or not self.desk.due:
            return
        task = asyncio.get_running_loop().create_task(self._learn(self.desk))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _learn(self, desk: Desk) -> None:
        try:
            version = await asyncio.to_thread(desk.learn_when_due)
        except BongsuError as error:
            logger.error("not learned", extra={"fields": {"reason": str(error)}})
            return
        if version is None:
            return
        logger.info("learned", extra={"fields": version.event()})
        self.stream.publish(version.event())

    def _offer(self, texts: Sequence[str], results: Sequence[Classification | Problem]) -> None:
        """Let messages be asked about, and say when the stream has changed."""
        now = time.time()
        messages = [
            Candidate("http", hashlib.blake2b(text.encode(), digest_size=12).hexdigest(), "", text, now, result.probability)
            for text, result in zip(texts, results, strict=True)
            if isinstance(result, Classification)
        ]
        news = self.desk.offer(messages) if self.desk is not None else self._drift.add(messages) if self._drift else None
        if news is not None:
            logger.warning(
                "drift", extra={"fields": {"advice": news.advice, "changes": [asdict(each) for each in news.changes]}}
            )

    async def _answers(
        self,
        call: Callable[[list[In]], Sequence[Out]],
        values: Sequence[In],
        parts: Sequence[Sequence[str]],
        costs: Sequence[int],
        what: str,
    ) -> list[Out | Problem]:
        """Return the answer to each value, or why there is none: one message that cannot be read fails alone.

        Args:
            parts: the texts of each value.
            costs: of each value, in short messages.
            what: the field, for error messages, such as "text: message".

        Raises:
            ApiError: as `Batcher.submit` does.
            Exception: that of the first value, when none has an answer.
        """
        readable = [number for number, texts in enumerate(parts) if all(map(_is_unicode, texts))]
        answers: list[Out | BaseException] = [
            ApiError(422, f"{what} {number} is not valid Unicode text (it holds half of a surrogate pair).")
            for number in range(1, len(values) + 1)
        ]
        if readable:
            found = await self._batcher.submit(
                call, [values[number] for number in readable], [costs[each] for each in readable]
            )
            for number, answer in zip(readable, found, strict=True):
                answers[number] = answer
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if failures and len(failures) == len(answers):
            raise failures[0]
        return [_problem(each) if isinstance(each, BaseException) else each for each in answers]

    def _check_count(self, count: int, most: int, field: str, what: str) -> None:
        if count > most:
            raise ApiError(422, f"{field}: {count:,} messages; this server {what} at most {most:,} in one request.")

    def _contexts(self, context: list[list[str]] | None, count: int) -> Sequence[Sequence[str]]:
        if context is None:
            return [()] * count
        if len(context) != count:
            raise ApiError(422, f"context: {len(context):,} entries for {count:,} messages.")
        self._check_length(["".join(values) for values in context], "context: entry")
        return context

    def _check_length(self, texts: Sequence[str], what: str = "text: message") -> None:
        for number, text in enumerate(texts, 1):
            if len(text) > self.limits.characters:
                raise ApiError(422, f"{what} {number} is longer than {self.limits.characters:,} characters.")


def _cost(texts: Sequence[str]) -> int:
    """Return what an input costs, in short messages: cleaning and tokenizing take time by the character."""
    return max(1, -(-sum(map(len, texts)) // _CHARACTERS))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problem(error: BaseException) -> Problem:
    if not isinstance(error, ApiError | BongsuError):
        logger.error("a message could not be answered", exc_info=error)
        return Problem(error="Something went wrong with this message; the server's log says what.")
    return Problem(error=str(error))
