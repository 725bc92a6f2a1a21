"""The HTTP interface: `create_app` makes the ASGI application of a service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bongsu import __version__
from bongsu.errors import BongsuError
from bongsu.serving.limits import BodyLimit
from bongsu.serving.observing import Observe
from bongsu.serving.page import page
from bongsu.serving.refusals import Refusal, in_plain_words
from bongsu.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
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

_TEXT = {"schema": {"type": "string"}}
_QUIET = 15.0  # seconds after which a silent stream says that it is alive, so that proxies keep it open
_bearer = HTTPBearer(auto_error=False, description="Needed when the server was started with an API key.")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_service)]


def _admit(service: Serving, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    service.admit(sent.credentials if sent else None)


def _problems(**words: str) -> dict[int | str, dict[str, Any]]:
    return {int(status[1:]): {"model": Problem, "description": text} for status, text in words.items()}


_common = _problems(
    _400="Not JSON",
    _401="No API key, or a wrong one",
    _408="Did not arrive in time",
    _413="Too large",
    _422="Not as it should be; the answer says what",
    _429="Busy: come again after the seconds in Retry-After",
    _503="No answer in time, or shutting down",
)
open_routes = APIRouter()
api = APIRouter(prefix="/v1", dependencies=[Depends(_admit)], responses=_common)


@api.post("/classify", tags=["detector"], responses=_problems(_404="The bundle is no classifier"))
async def classify(body: ClassifyRequest, request: Request, service: Serving) -> ClassifyResponse:
    """Classifies one message or several; if asked, says what each word weighed."""
    fields = request.state.fields
    fields.update(items=len(body.text), characters=sum(map(len, body.text)))
    if service.log_text:
        fields["text"] = body.text
    response = await service.classify(body)
    fields.update(model=response.model, labels=[result.label for result in response.results])
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
    """Guesses the words that stand as [MASK]."""
    fields = request.state.fields
    fields.update(items=1, characters=len(body.text))
    if service.log_text:
        fields["text"] = [body.text]
    return await service.fill_mask(body)


@api.get(
    "/stream",
    tags=["watch"],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": _TEXT}, "description": "One JSON object an event"}},
)
async def stream(service: Serving) -> StreamingResponse:
    """What a watch in the same process tells, as server-sent events: messages that pass, alerts, its state."""
    if service.draining:
        raise Refusal(503, "The server is shutting down.", 1)
    if len(service.stream) >= service.limits.streams:
        raise Refusal(429, f"{service.limits.streams} listeners are here already; try again later.", 60)

    async def events() -> AsyncIterator[bytes]:
        async for event in service.stream.subscribe(_QUIET):
            yield b":\n\n" if event is None else b"data: " + orjson.dumps(event) + b"\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@api.post("/admin/reload", tags=["admin"], responses=_problems(_403="No API key was set", _409="The bundle cannot be used"))
async def reload(service: Serving) -> Swapped:
    """Opens the bundle's folder anew and serves from it; if it cannot be used, the old one serves on."""
    if not service.needs_key:
        raise Refusal(403, "Only a server with an API key is reloaded over HTTP; on its own machine send it SIGHUP.")
    try:
        return await service.swap()
    except BongsuError as error:
        raise Refusal(409, f"{error} The bundle from before serves on.") from None


@open_routes.get("/health/live", tags=["health"])
async def live() -> Health:
    """Answers as long as the process can."""
    return Health(status="ok")


@open_routes.get("/health/ready", tags=["health"], responses={503: {"model": Health, "description": "Shutting down"}})
async def ready(service: Serving, response: Response) -> Health:
    """Whether requests should be sent here."""
    response.status_code = 503 if service.draining else 200
    return Health(status="draining" if service.draining else "ok")


@open_routes.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": _TEXT}}})
async def metrics(service: Serving) -> Response:
    """Figures for Prometheus."""
    return Response(service.metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@open_routes.get("/", include_in_schema=False)
async def root(service: Serving) -> Response:
    """The page."""
    return page(service.limits)


def create_app(service: Service) -> FastAPI:
    """The application of a service; it starts and ends with the server's lifespan."""

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
    )
    app.state.service = service
    app.include_router(open_routes)
    app.include_router(api)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BongsuError, _bad_data)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
    app.add_middleware(BodyLimit, limits=service.limits)
    paths = frozenset(app.openapi()["paths"]) | {"/", "/docs"}
    app.add_middleware(Observe, metrics=service.metrics, paths=paths, draining=lambda: service.draining)
    return app


async def _refused(request: Request, error: Any) -> Response:
    return error.response()  # type: ignore[no-any-return]


async def _invalid(request: Request, error: Any) -> Response:
    return Refusal(422, in_plain_words(error.errors())).response()


async def _bad_data(request: Request, error: Exception) -> Response:
    return Refusal(422, str(error)).response()


async def _http(request: Request, error: Any) -> Response:
    words = {404: "No such page; /docs lists what there is.", 405: "This page does not take that method; see /docs."}
    response = Refusal(error.status_code, words.get(error.status_code, str(error.detail))).response()
    response.headers.update(error.headers or {})
    return response


async def _unforeseen(request: Request, error: Exception) -> Response:
    logger.error("unforeseen", exc_info=error)
    return Refusal(500, "Something went wrong in the server; its log says what.").response()
