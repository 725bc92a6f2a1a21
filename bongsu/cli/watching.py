"""The verb that watches a live stream."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bongsu import progress
from bongsu.cli.common import app, need
from bongsu.errors import BongsuError

if TYPE_CHECKING:
    from bongsu.inference.predictor import Predictor
    from bongsu.serving.broadcast import Broadcaster
    from bongsu.watch.stream import Watch


@app.command()
def watch(
    bundle: Annotated[
        Path, typer.Argument(help="An exported bundle, such as one of `bongsu export --to onnx`", show_default=False)
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="- (stdin, the default), a JSON Lines file, wss:// (Jetstream), https:// (Mastodon), kafka://, safetydata"
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more at a file's end, as tail -F")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="A file of the past: time is the messages' own")] = False,
    speed: Annotated[float | None, typer.Option("--speed", help="Replay this many times as fast as it was", min=0.001)] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="SQLite file: messages that pass, alerts, where to go on")
    ] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", help="POST alerts to this address")] = None,
    allow_private: Annotated[bool, typer.Option("--allow-private", help="The webhook may be in a private network")] = False,
    messages: Annotated[bool, typer.Option("--messages", help="Print the messages that pass, too")] = False,
    view: Annotated[bool | None, typer.Option("--view/--no-view", help="Draw the state (default: on a terminal)")] = None,
    page: Annotated[int | None, typer.Option("--page", help="A web page at this port shows it", min=0, max=65535)] = None,
    false_alarms: Annotated[float, typer.Option("--false-alarms", help="Expected false alarms a day, at most", min=1e-6)] = 1.0,
    min_messages: Annotated[int, typer.Option("--min-messages", help="An event has at least so many messages", min=2)] = 5,
    lateness: Annotated[float, typer.Option("--lateness", help="Seconds a message may come late", min=0)] = 30.0,
    queue: Annotated[int, typer.Option("--queue", help="The most messages that wait", min=1)] = 4096,
) -> None:
    """Watch a stream: alerts as JSON Lines on standard output."""
    for package in ("httpx", "websockets", "datasketch"):
        need(package, "watch")
    for package in ("fastapi", "uvicorn", "prometheus_client") if page is not None else ():
        need(package, "serve")
    import asyncio

    import orjson

    from bongsu.inference.predictor import Predictor
    from bongsu.watch.events import Events
    from bongsu.watch.opening import open_source
    from bongsu.watch.replay import Paced
    from bongsu.watch.sinks import Sink, Stdout
    from bongsu.watch.sources.base import Source
    from bongsu.watch.sources.lines import File
    from bongsu.watch.store import Store
    from bongsu.watch.stream import Watch
    from bongsu.watch.tracking import Settings
    from bongsu.watch.view import View
    from bongsu.watch.webhook import Webhook

    addresses = sources or ["-"]
    if any(address.startswith("kafka://") for address in addresses):
        need("aiokafka", "kafka")
    if speed is not None and not replay:
        raise BongsuError("--speed: has a meaning only with --replay")
    opened: list[Source]
    if replay:
        if len(addresses) != 1 or follow:
            raise BongsuError("--replay: takes one file, without --follow; merge several by time first")
        opened = [File(Path(addresses[0]), replayed=True)]
        if speed is not None:
            import time

            opened = [Paced(opened[0], speed, time.monotonic)]
    else:
        opened = [open_source(address, follow) for address in addresses]
    sinks: list[Sink] = [Stdout()]
    if webhook:
        dead_letters = store.with_suffix(".dead.jsonl") if store else Path("watch.dead.jsonl")
        sinks.append(Webhook(webhook, dead_letters, allow_private, report=progress.warn))
    settings = Settings(false_alarms_a_day=false_alarms, min_messages=min_messages, lateness=lateness)
    detector = Predictor.load(bundle)
    if len(detector.names) != 2:
        raise BongsuError(f"{bundle}: tells {len(detector.names)} classes apart; a watch needs a detector of two.")
    memory = Store(store)
    with ExitStack() as stack:
        stack.callback(memory.close)
        drawn = (
            stack.enter_context(View(progress.console)) if (progress.console.is_terminal if view is None else view) else None
        )

        stream = _page(stack, detector, page) if page is not None else None

        def hear(event: dict[str, Any]) -> None:
            if messages and event["type"] == "message":
                print(orjson.dumps(event).decode(), flush=True)
            if drawn:
                drawn.hear(event)
            if stream is not None:
                stream.publish(event)

        watching = Watch(detector, opened, Events(settings), memory, sinks, listener=hear, queue=queue, replayed=replay)
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_until_told(watching))
    done = watching.statistics
    progress.note(
        f"{done.received:,} messages, {done.passed:,} passed, {done.dropped:,} dropped, {watching.events.late:,} late, "
        f"{len(watching.events.open):,} alerts still open"
    )


async def _until_told(watching: Watch) -> None:
    """Watches until the sources end or SIGTERM comes, as Ctrl-C does."""
    import asyncio
    import signal

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await watching.run()


def _page(stack: ExitStack, detector: Predictor, port: int) -> Broadcaster:
    """Serves the page and the API beside the watch; what is published shows there."""
    from bongsu.serving.limits import Limits
    from bongsu.serving.server import listen, server_in_thread
    from bongsu.serving.service import Service

    service = Service(lambda: detector, Limits())
    address = stack.enter_context(server_in_thread(service, listen("127.0.0.1", port)))
    progress.note(f"page: {address}")
    return service.stream
