"""The verb that answers HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bongsu import progress
from bongsu.cli.common import app, first_line, need, open_desk, ready_bundle
from bongsu.errors import BongsuError
from bongsu.models import DEFAULT

if TYPE_CHECKING:
    from bongsu.inference.onnx import BundlePredictor

_ENGINES = ("auto", "float32", "int8", "fastest")


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="A run's folder, which is exported first, or a bundle")] = DEFAULT,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one of this machine")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on", min=0, max=65535)] = 8000,
    engine: Annotated[str, typer.Option(help="auto (as chosen at export), float32, int8 or fastest (here)")] = "auto",
    sessions: Annotated[int | None, typer.Option(help="Batches at a time, a thread each (default: one a core)", min=1)] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File whose first line is the key clients must send (or set BONGSU_API_KEY)")
    ] = None,
    root_path: Annotated[str, typer.Option("--root-path", help="Prefix under which a proxy serves it, such as /bongsu")] = "",
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", help="Origin whose pages may use the API, such as https://example.org; repeatable"),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Take labels on the page and learn from them; kept in this SQLite file")
    ] = None,
    log_text: Annotated[bool, typer.Option("--log-text", help="Let the log carry the messages")] = False,
    max_items: Annotated[int, typer.Option(help="Messages in one request", min=1)] = 256,
    max_characters: Annotated[int, typer.Option(help="Characters in one message", min=1)] = 10_000,
    max_bytes: Annotated[int, typer.Option(help="Bytes in one request", min=1)] = 2**20,
    max_seconds: Annotated[float, typer.Option(help="Seconds until a request is given up", min=0.1)] = 30.0,
    max_wait: Annotated[float, typer.Option(help="Seconds of queue from which clients are sent away (429)", min=0.01)] = 2.0,
    max_connections: Annotated[int, typer.Option(help="Open connections", min=1)] = 1000,
    batch: Annotated[int, typer.Option(help="Messages joined into one batch", min=1)] = 64,
) -> None:
    """Answer HTTP: the detector, the language model, and a page to try them (SIGHUP reloads the bundle)."""
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        need(package, "serve")
    if engine not in _ENGINES:
        raise BongsuError(f"--engine {engine}: it is one of {', '.join(_ENGINES)}")
    api_key = first_line(api_key_file, "BONGSU_API_KEY", "the API key")
    import asyncio

    from bongsu.inference.onnx import BundlePredictor
    from bongsu.parallel import cores
    from bongsu.serving.limits import Limits
    from bongsu.serving.observing import log_to_stderr
    from bongsu.serving.server import listen, run_server
    from bongsu.serving.service import Service

    threads = sessions or cores()
    limits = Limits(
        items=max_items,
        characters=max_characters,
        body_bytes=max_bytes,
        seconds=max_seconds,
        queue_seconds=max_wait,
        connections=max_connections,
        batch_items=batch,
        sessions=threads,
    )

    desk = open_desk(labels) if labels is not None else None

    def load() -> BundlePredictor:
        loaded = BundlePredictor.load(ready_bundle(model), engine, threads)  # type: ignore[arg-type]
        return loaded if desk is None else desk.open(loaded)

    if root_path and not root_path.startswith("/"):
        raise BongsuError(f"--root-path {root_path}: begins with a slash, such as /bongsu")
    service = Service(load, limits, api_key, log_text, desk=desk)
    listening = listen(host, port)
    address, taken = listening.getsockname()[:2]
    serving = service.holder.model
    progress.note(f"{model}, version {serving.version}, {serving.engine}: http://{address}:{taken} (API: /docs)")
    log_to_stderr()
    asyncio.run(run_server(service, listening, root_path, cors or []))
