"""Labels over HTTP: what to label, answers, undoing, versions and going back; never for pages of other sites."""

from __future__ import annotations

import hashlib
from typing import Annotated
from urllib.parse import urlsplit

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.security import HTTPBearer
from pydantic import Field
from starlette.responses import Response

from bongsu.errors import BongsuError
from bongsu.labelling.desk import Desk
from bongsu.labelling.exchange import training_rows
from bongsu.labelling.queue import FRONT
from bongsu.printable import printable
from bongsu.serving.api_errors import ApiError
from bongsu.serving.observing import client_of
from bongsu.serving.schemas import (
    LabelAnswer,
    Labelled,
    LabelQueue,
    LabelStatus,
    Problem,
    StrictRequest,
    ToLabel,
    Undone,
    Used,
    VersionInfo,
)
from bongsu.serving.service import Service

_NAME = 64
_STEPS = 500  # of the accuracy that are shown


class Undo(StrictRequest):
    """Who takes back."""

    by: str = Field("", max_length=_NAME)


class Use(StrictRequest):
    """Which version, and who says so."""

    version: int = Field(ge=0)
    by: str = Field("", max_length=_NAME)


def _same_site(request: Request) -> None:
    """Refuse what a page of another site makes a browser send; programs send neither header.

    Raises:
        ApiError: 403.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None and origin in request.app.state.cors:
        return
    foreign = origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
    if site not in (None, "same-origin", "none") or (site is None and foreign):
        raise ApiError(403, "Pages of other sites may not label; start the server with --cors ORIGIN to let one.")


def _desk(request: Request) -> Desk:
    service: Service = request.app.state.service
    if service.desk is None:
        raise ApiError(404, "This server takes no labels; start it with --labels FILE.")
    return service.desk


AtDesk = Annotated[Desk, Depends(_desk)]
labels = APIRouter(
    prefix="/v1/labels",
    tags=["labels"],
    dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(_same_site)],
    responses={
        401: {"model": Problem, "description": "No API key, or a wrong one"},
        403: {"model": Problem, "description": "Sent by a page of another site"},
        404: {"model": Problem, "description": "The server takes no labels"},
        409: {"model": Problem, "description": "Cannot be done now; the answer says why"},
        422: {"model": Problem, "description": "Not as it should be; the answer says what"},
    },
)


@labels.get("/queue")
async def queue(desk: AtDesk, count: Annotated[int, Query(ge=1, le=FRONT)] = FRONT) -> LabelQueue:
    """The messages to label now, half of them doubtful and half drawn at random; which is which is not said, nor what the
    detector thinks, so that nobody is led by it."""
    asked = await anyio.to_thread.run_sync(desk.front, count)
    waiting = [ToLabel(source=each.source, id=each.id, text=each.text, time=each.time or None) for each in asked]
    return LabelQueue(model=desk.detector.version, classes=desk.classes, waiting=waiting)


@labels.post("")
async def answer(body: LabelAnswer, request: Request, desk: AtDesk) -> Labelled:
    """Label a message of the queue, or skip it. After every ten the detector learns by itself."""
    service: Service = request.app.state.service
    who = _who(request, body.by)
    request.state.fields.update(by=who, label=body.label)
    try:
        kept = await anyio.to_thread.run_sync(desk.answer, body.source, body.id, body.label, who)
    except BongsuError as error:
        raise ApiError(409, str(error)) from None
    service.learn_when_due()
    return Labelled(number=kept.number, by=who, status=await _status(desk))


@labels.post("/undo")
async def undo(body: Undo, request: Request, desk: AtDesk) -> Undone:
    """Take back one's latest answer; its message is the next to label again."""
    who = _who(request, body.by)
    request.state.fields.update(by=who)
    taken = await anyio.to_thread.run_sync(desk.undo, who)
    return Undone(
        source=taken.asked.source if taken else None, id=taken.asked.id if taken else None, status=await _status(desk)
    )


@labels.post("/learn")
async def learn(desk: AtDesk) -> VersionInfo:
    """Learn from all labels now."""
    try:
        return VersionInfo.model_validate(await anyio.to_thread.run_sync(desk.learn))
    except BongsuError as error:
        raise ApiError(409, str(error)) from None


@labels.post("/use")
async def use(body: Use, request: Request, desk: AtDesk) -> Used:
    """Bring a version back; 0 is the bundle as it was exported."""
    who = _who(request, body.by)
    request.state.fields.update(by=who, version=body.version)
    try:
        name = await anyio.to_thread.run_sync(desk.use, body.version, who)
    except BongsuError as error:
        raise ApiError(409, str(error)) from None
    return Used(model=name)


@labels.get("/status")
async def status(desk: AtDesk) -> LabelStatus:
    """How often the detector was right so far, what to expect of it, and its versions."""
    return await _status(desk)


@labels.get("/export", response_class=Response, responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}})
async def export(desk: AtDesk, event: Annotated[str, Query(max_length=200)] = "event") -> Response:
    """The labels as rows to train on (CSV), with their event in a column."""
    found = await anyio.to_thread.run_sync(desk.store.labels)
    content = training_rows(found, desk.detector.task.schema.labels, event)
    headers = {"Content-Disposition": 'attachment; filename="labels.csv"'}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


async def _status(desk: Desk) -> LabelStatus:
    def collect() -> LabelStatus:
        known = desk.status()
        steps, sentence = known.progress.steps[-_STEPS:], known.progress.sentence
        found = {**vars(known), **vars(known.progress), **vars(desk.outlook()), "steps": steps, "sentence": sentence}
        return LabelStatus.model_validate(found, from_attributes=True)

    return await anyio.to_thread.run_sync(collect)


def _who(request: Request, given: str) -> str:
    """Return who labels: the name given or the address, and which key was used, by eight digits of its hash."""
    key = request.app.state.service.api_key
    name = printable(given.strip(), _NAME) or client_of(request.scope) or "somebody"
    return name if key is None else f"{name} (key {hashlib.sha256(key).hexdigest()[:8]})"
