"""The HTTP interface: `create_app` makes the ASGI application of a service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bongsu import __version__
from bongsu.errors import BongsuError
from bongsu.serving.access import Prefix, RequireKey
from bongsu.serving.api_errors import ApiError, format_validation_errors
from bongsu.serving.broadcast import Broadcaster
from bongsu.serving.labelling import labels
from bongsu.serving.limits import BodyLimit
from bongsu.serving.observing import Observe, client_of
from bongsu.serving.page import page
from bongsu.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    DriftAnswer,
    DriftState,
    EmbedRequest,
    EmbedResponse,
    FillMaskRequest,
    FillMaskResponse,
    Health,
    PredictRequest,
    PredictResponse,
    Problem,
    Swapped,
)
from bongsu.serving.service import Service

logger = logging.getLogger("bongsu.serving")

_STATIC = "/static-offline-docs"
_TEXT = {"schema": {"type": "string"}}
_QUIET = 15.0  # seconds after which a silent stream sends a comment, so that proxies keep it open
_bearer = HTTPBearer(auto_error=False, description="Needed when the server was started with an API key.")
"""For the documentation alone: `RequireKey` compares the key before the body is read."""


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_service)]


def _problems(**words: str) -> dict[int | str, dict[str, Any]]:
    return {int(status[1:]): {"model": Problem, "description": text} for status, text in words.items()}


_common = _problems(
    _400="Not JSON",
    _401="No API key, or a wrong one",
    _408="Did not arrive in time",
    _413="Too large",
    _415="Compressed, or not in UTF-8",
    _422="Not as it should be; the answer says what",
    _429="Busy: come again after the seconds in Retry-After",
    _503="No answer in time, or shutting down",
)
open_routes = APIRouter()
api = APIRouter(prefix="/v1", dependencies=[Depends(_bearer)], responses=_common)


@api.post("/classify", tags=["detector"], responses=_problems(_404="The bundle is no classifier"))
async def classify(body: ClassifyRequest, request: Request, service: Serving) -> ClassifyResponse:
    """Classify one message or several; with `explain`, also give the weight of each word."""
    fields = request.state.fields
    fields.update(items=len(body.text), characters=sum(map(len, body.text)))
    if service.log_text:
        fields["text"] = body.text
    response = await service.classify(body)
    fields.update(model=response.model, labels=[getattr(each, "label", None) for each in response.results])
    return response


@api.post("/predict", tags=["model"])
async def predict(body: PredictRequest, request: Request, service: Serving) -> PredictResponse:
    """Answer one input or several with the model, whatever its kind."""
    texts = [each if isinstance(each, str) else " ".join(each) for each in body.inputs]
    request.state.fields.update(items=len(texts), characters=sum(map(len, texts)))
    if service.log_text:
        request.state.fields["text"] = texts
    response = await service.predict(body)
    request.state.fields.update(model=response.model)
    return response


@api.post("/embed", tags=["model"], responses=_problems(_404="The model reads two texts at a time"))
async def embed(body: EmbedRequest, request: Request, service: Serving) -> EmbedResponse:
    """Return a vector of length 1 for each text: the mean of the encoder's vectors of its tokens."""
    request.state.fields.update(items=len(body.text), characters=sum(map(len, body.text)))
    if service.log_text:
        request.state.fields["text"] = body.text
    return await service.embed(body)


@api.post("/fill-mask", tags=["language model"], responses=_problems(_404="The bundle carries no masked language model"))
async def fill_mask(body: FillMaskRequest, request: Request, service: Serving) -> FillMaskResponse:
    """Guess the words that stand as [MASK]."""
    fields = request.state.fields
    fields.update(items=1, characters=len(body.text))
    if service.log_text:
        fields["text"] = [body.text]
    return await service.fill_mask(body)


@api.get("/drift", tags=["detector"], responses=_problems(_404="The detector has not two classes"))
async def drift(service: Serving) -> DriftAnswer:
    """Whether the messages of the latest hour are answered otherwise than those of the first hours, why, and what to do."""
    if service.drift is None:
        raise ApiError(404, "Drift is watched of detectors of two classes alone.")
    found = await run_in_threadpool(service.drift.state)
    return DriftAnswer(drift=None if found is None else DriftState.model_validate(found))


@api.get(
    "/stream",
    tags=["watch"],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": _TEXT}, "description": "One JSON object an event"}},
)
async def stream(request: Request, service: Serving) -> StreamingResponse:
    """The events of a watch in the same process, as server-sent events: messages that pass, alerts, its state."""
    if service.draining:
        raise ApiError(503, "The server is shutting down.", 1)
    client = client_of(request.scope)
    if len(service.stream) >= service.limits.streams:
        raise ApiError(429, f"There are {service.limits.streams} listeners already; try again later.", 60)
    if service.stream.count(client) >= service.limits.streams_per_client:
        raise ApiError(429, f"There are {service.limits.streams_per_client} listeners from this address already.", 60)
    return _EventStream(service.stream, client)


class _EventStream(StreamingResponse):
    """One listener's events from the moment the response is made; the listener leaves when the response ends."""

    def __init__(self, stream: Broadcaster, client: str) -> None:
        self._stream = stream
        self._listener = stream.subscribe(client)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._events(), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.unsubscribe(self._listener)

    async def _events(self) -> AsyncIterator[bytes]:
        async for event in self._listener.events(_QUIET):
            yield b":\n\n" if event is None else b"data: " + orjson.dumps(event) + b"\n\n"


@api.post("/admin/reload", tags=["admin"], responses=_problems(_403="No API key was set", _409="The bundle cannot be used"))
async def reload(service: Serving) -> Swapped:
    """Open the bundle's folder anew and serve from it; if it cannot be used, the old one keeps serving."""
    if service.api_key is None:
        raise ApiError(403, "Only a server with an API key is reloaded over HTTP; on its own machine send it SIGHUP.")
    try:
        return await service.swap()
    except BongsuError as error:
        raise ApiError(409, f"{error} The bundle from before keeps serving.") from None


@open_routes.head("/health/live", include_in_schema=False)
@open_routes.get("/health/live", tags=["health"])
async def live() -> Health:
    """Answers as long as the process can."""
    return Health(status="ok")


@open_routes.head("/health/ready", include_in_schema=False)
@open_routes.get("/health/ready", tags=["health"], responses={503: {"model": Health, "description": "Not ready: the status"}})
async def ready(service: Serving, response: Response) -> Health:
    """Whether requests should be sent here: 200, or 503 while shutting down, or when the model does not answer any more."""
    status = await service.status()
    response.status_code = 200 if status == "ok" else 503
    return Health(status=status)


@open_routes.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": _TEXT}}})
async def metrics(service: Serving) -> Response:
    """Figures for Prometheus."""
    content = await run_in_threadpool(service.metrics.page)  # some figures of labels take a moment
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})


@open_routes.head("/", include_in_schema=False)
@open_routes.get("/", include_in_schema=False)
async def root(service: Serving) -> Response:
    """The page to try the model with."""
    return page(service)


def create_app(service: Service, root_path: str = "", cors: Sequence[str] = ()) -> FastAPI:
    """Return the application of a service; it starts and ends with the server's lifespan.

    Args:
        root_path: the prefix under which a proxy serves it, such as "/bongsu".
        cors: origins whose pages may use the API from a browser, such as "https://example.org"; "*" for all.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.close()

    app: FastAPI = FastAPIOffline(
        title="Bongsu",
        version=__version__,
        summary="Tells messages about real disasters from the rest.",
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url="/docs/oauth2-redirect",
        static_url=_STATIC,
    )
    app.state.service = service
    app.include_router(open_routes)
    app.include_router(api)
    app.include_router(labels)
    app.state.cors = frozenset(cors) - {"*"}
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BongsuError, _bad_data)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
    described = set(app.openapi()["paths"])
    open_paths = {"/", "/docs", "/docs/oauth2-redirect", "/openapi.json"} | {
        path for path in described if not path.startswith("/v1/")
    }
    app.add_middleware(BodyLimit, limits=service.limits)  # the last one added comes first
    app.add_middleware(RequireKey, key=service.api_key, open_paths=open_paths, open_folders=(f"{_STATIC}/",))
    if cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    paths = frozenset(described | {"/", "/docs"})
    app.add_middleware(Observe, metrics=service.metrics, paths=paths, draining=lambda: service.draining)
    if prefix := root_path.rstrip("/"):
        app.add_middleware(Prefix, prefix=prefix)
    return app


async def _refused(request: Request, error: Any) -> Response:
    return error.response()  # type: ignore[no-any-return]


async def _invalid(request: Request, error: Any) -> Response:
    return ApiError(422, format_validation_errors(error.errors())).response()


async def _bad_data(request: Request, error: Exception) -> Response:
    return ApiError(422, str(error)).response()


async def _http(request: Request, error: Any) -> Response:
    words = {404: "No such page; /docs lists what there is.", 405: "This page does not take that method; see /docs."}
    response = ApiError(error.status_code, words.get(error.status_code, str(error.detail))).response()
    response.headers.update(error.headers or {})
    return response


async def _unforeseen(request: Request, error: Exception) -> Response:
    logger.error("unforeseen", exc_info=error)
    return ApiError(500, "Something went wrong in the server; its log says what.").response()
