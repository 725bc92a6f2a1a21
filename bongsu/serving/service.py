"""What the service does, without HTTP: checks limits, queues, predicts, counts."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence

from bongsu.errors import BongsuError
from bongsu.inference.onnx import BundlePredictor
from bongsu.serving.batching import Batcher
from bongsu.serving.broadcast import Broadcaster
from bongsu.serving.limits import Limits
from bongsu.serving.metrics import Metrics
from bongsu.serving.model import Message
from bongsu.serving.refusals import Refusal
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
    Swapped,
    Word,
)
from bongsu.serving.swap import Slot

logger = logging.getLogger("bongsu.serving")


class Service:
    """One bundle at work, for any number of clients."""

    def __init__(
        self,
        load: Callable[[], BundlePredictor],
        limits: Limits,
        api_key: str | None = None,
        log_text: bool = False,
        stream: Broadcaster | None = None,
    ) -> None:
        """Args:
        load: opens the bundle; called again for a swap.
        api_key: asked of every client when given.
        log_text: let the log lines carry the messages.
        stream: what a watch in this process publishes to.

        Raises:
            BongsuError: when the bundle cannot be used.
        """
        self.limits = limits
        self.log_text = log_text
        self.stream = stream or Broadcaster()
        self.metrics = Metrics()
        self.slot = Slot(load)
        self.draining = False
        self._api_key = None if api_key is None else api_key.encode()
        self._batcher = Batcher(limits, observe=self.metrics.observe_batch)
        self.metrics.watch_queue(lambda: self._batcher.waiting)
        self.metrics.serves(self.slot.model.version, self.slot.model.engine)

    async def start(self) -> None:
        """Begins to take from the queue."""
        await self._batcher.start()

    def drain(self) -> None:
        """Says "not ready" from now on and ends the live streams, which would never end by themselves."""
        self.draining = True
        self.stream.close()

    async def close(self) -> None:
        """Answers what was accepted, then ends."""
        self.drain()
        await self._batcher.close()

    @property
    def needs_key(self) -> bool:
        """Whether clients must send an API key."""
        return self._api_key is not None

    def admit(self, key: str | None) -> None:
        """Compares a client's key in constant time.

        Raises:
            Refusal: 401 when a key is needed and this is not it.
        """
        if self._api_key is not None and not secrets.compare_digest((key or "").encode("utf-8", "replace"), self._api_key):
            raise Refusal(401, "An API key is needed: send the header `Authorization: Bearer KEY`.")

    async def classify(self, request: ClassifyRequest) -> ClassifyResponse:
        """Classifies the messages of a request, all with the same bundle.

        Raises:
            Refusal: 422 beyond a limit, 429 when the queue is full, 503 when it takes too long.
        """
        model = self.slot.model
        if model.predictor.task.kind != "classification":
            raise Refusal(404, f"This bundle is a {model.predictor.task.kind} model; ask it at /v1/predict.")
        messages = self._messages(request)
        if request.explain:
            answers = await self._batcher.submit(model.explain, messages, [model.cost_of_explaining(each) for each in messages])
        else:
            answers = await self._batcher.submit(model.classify, messages, [1] * len(messages))
        for prediction, _ in answers:
            self.metrics.labels.labels(prediction.label).inc()
        results = [
            Classification(
                label=prediction.label,
                value=prediction.value,
                probability=prediction.probability,
                probabilities=prediction.probabilities,
                explanation=None if words is None else [Word(word=word.text, weight=word.weight) for word in words],
            )
            for prediction, words in answers
        ]
        threshold = model.predictor.threshold if len(model.predictor.task.schema.labels) == 2 else None
        return ClassifyResponse(model=model.version, threshold=threshold, results=results)

    async def predict(self, request: PredictRequest) -> PredictResponse:
        """Answer the inputs of a request with a model of any kind.

        Raises:
            Refusal: 422 when an input has another number of texts than the kind reads, or beyond a limit; 429, 503 as
                `classify`.
        """
        model = self.slot.model
        texts = [(each,) if isinstance(each, str) else tuple(each) for each in request.inputs]
        wanted = 2 if model.predictor.task.pairs else 1
        for number, each in enumerate(texts, 1):
            if len(each) != wanted:
                kind = model.predictor.task.kind
                raise Refusal(422, f"inputs: entry {number} has {len(each)} texts; a {kind} model reads {wanted}.")
        self._check_count(len(texts), self.limits.items, "inputs", "answers")
        self._check_length(["".join(each) for each in texts], "inputs: entry")
        fronts = self._contexts(request.context, len(texts))
        inputs: list[tuple[Sequence[str], Sequence[str]]] = list(zip(texts, fronts, strict=True))
        answers = await self._batcher.submit(model.predict, inputs, [1] * len(texts))
        return PredictResponse(model=model.version, kind=model.predictor.task.kind, results=answers)

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Return the vectors of a request's texts.

        Raises:
            Refusal: 404 when the model reads two texts; 422, 429, 503 as `classify`.
        """
        model = self.slot.model
        if model.predictor.task.pairs:
            raise Refusal(404, f"A {model.predictor.task.kind} model reads two texts at a time and has no vector of one.")
        self._check_count(len(request.text), self.limits.items, "text", "embeds")
        self._check_length(request.text)
        vectors = await self._batcher.submit(model.embed, list(request.text), [1] * len(request.text))
        return EmbedResponse(model=model.version, vectors=vectors)

    async def fill_mask(self, request: FillMaskRequest) -> FillMaskResponse:
        """Guesses the masked words of a text.

        Raises:
            Refusal: 404 when the bundle cannot; otherwise as `classify`.
            DataError: when there is no mask in the text.
        """
        model = self.slot.model
        if not model.predictor.fills_masks:
            raise Refusal(404, "This bundle carries no masked language model.")
        self._check_length([request.text])
        [masks] = await self._batcher.submit(model.fill_mask, [(request.text, request.top_k)], [1])
        guesses = [[Guess(token=token, probability=probability) for token, probability in mask] for mask in masks]
        return FillMaskResponse(model=model.version, masks=guesses)

    async def swap(self) -> Swapped:
        """Opens the bundle anew and serves from it.

        Raises:
            BongsuError: when it cannot be used; the old one serves on.
        """
        try:
            model = await self.slot.swap()
        except BongsuError as error:
            self.metrics.swaps.labels("refused").inc()
            logger.error("swap refused", extra={"fields": {"reason": str(error), "serving": self.slot.model.version}})
            raise
        self.metrics.swaps.labels("done").inc()
        self.metrics.serves(model.version, model.engine)
        logger.info("swapped", extra={"fields": {"serving": model.version, "engine": model.engine}})
        return Swapped(model=model.version, engine=model.engine)

    def _messages(self, request: ClassifyRequest) -> list[Message]:
        most = self.limits.explanations if request.explain else self.limits.items
        self._check_count(len(request.text), most, "text", "explains" if request.explain else "classifies")
        self._check_length(request.text)
        return list(zip(request.text, self._contexts(request.context, len(request.text)), strict=True))

    def _check_count(self, count: int, most: int, field: str, what: str) -> None:
        if count > most:
            raise Refusal(422, f"{field}: {count:,} messages; this server {what} at most {most:,} in one request.")

    def _contexts(self, context: list[list[str]] | None, count: int) -> Sequence[Sequence[str]]:
        if context is None:
            return [()] * count
        if len(context) != count:
            raise Refusal(422, f"context: {len(context):,} entries for {count:,} messages.")
        self._check_length(["".join(values) for values in context], "context: entry")
        return context

    def _check_length(self, texts: Sequence[str], what: str = "text: message") -> None:
        for number, text in enumerate(texts, 1):
            if len(text) > self.limits.characters:
                raise Refusal(422, f"{what} {number} is longer than {self.limits.characters:,} characters.")
