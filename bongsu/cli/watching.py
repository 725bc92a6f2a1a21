"""The verbs that watch a live stream, and that look after the alerts of a running watch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bongsu import progress
from bongsu.cli.common import app, first_line, need, of_keyboard, open_desk, ready_bundle, split_model
from bongsu.errors import BongsuError
from bongsu.printable import printable

if TYPE_CHECKING:
    from bongsu.inference.onnx import BundlePredictor
    from bongsu.labelling.desk import Desk
    from bongsu.live_events import Event
    from bongsu.serving.broadcast import Broadcaster
    from bongsu.watch.messages import Classifies
    from bongsu.watch.payloads import Payload
    from bongsu.watch.sources.base import Source
    from bongsu.watch.sources.records import Reading
    from bongsu.watch.stream import Listener, Watch
    from bongsu.watch.webhook import Webhook

_WEBHOOK, _SECRET, _API_KEY = "BONGSU_WEBHOOK", "BONGSU_WEBHOOK_SECRET", "BONGSU_API_KEY"


@app.command()
def watch(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [SOURCES]",
            help="A run's folder, which is exported first, or a bundle (default: bongsu:beacon, which ships); then - (stdin, "
            "the default), a file, wss:// (Jetstream), https:// (Mastodon), kafka://, safetydata",
        ),
    ] = None,
    alarm_class: Annotated[
        list[str] | None, typer.Option("--alarm-class", help="A class to raise alarms on; for detectors of three or more")
    ] = None,
    places: Annotated[
        str | None,
        typer.Option(
            "--places", help="A bundle of a tagger that finds the places in the messages that pass (default: by rule)"
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more at a file's end, as tail -F")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="A file of the past: time is the messages' own")] = False,
    speed: Annotated[float | None, typer.Option("--speed", help="Replay this many times as fast as it was", min=0.001)] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--columns", help="Where records hold what: text=COLUMN,time=COLUMN,id=,author=")
    ] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="Of times without one: Asia/Seoul, +09:00")] = "UTC",
    store: Annotated[
        Path | None, typer.Option("--store", help="SQLite file: messages that pass, alerts, where to go on")
    ] = None,
    keep_days: Annotated[float, typer.Option("--keep-days", help="Days after which the store forgets", min=1)] = 30.0,
    webhook: Annotated[
        str | None, typer.Option("--webhook", help=f"POST alerts to this address (better: set {_WEBHOOK}, which nobody sees)")
    ] = None,
    webhook_file: Annotated[Path | None, typer.Option("--webhook-file", help="File whose first line is the address")] = None,
    webhook_format: Annotated[
        str, typer.Option("--webhook-format", help="json, slack, discord, cap, geojson or a template's file")
    ] = "auto",
    webhook_secret_file: Annotated[
        Path | None, typer.Option("--webhook-secret-file", help=f"File whose first line signs requests (or set {_SECRET})")
    ] = None,
    resend: Annotated[bool, typer.Option("--resend", help="Send what could not be delivered again, and end")] = False,
    allow_private: Annotated[bool, typer.Option("--allow-private", help="The webhook may be in a private network")] = False,
    format: Annotated[str, typer.Option("--format", help="Of alerts on standard output: json, cap or geojson")] = "json",
    messages: Annotated[bool, typer.Option("--messages", help="Print the messages that pass, too")] = False,
    view: Annotated[bool | None, typer.Option("--view/--no-view", help="Draw the state (default: on a terminal)")] = None,
    page: Annotated[int | None, typer.Option("--page", help="A web page at this port shows it", min=0, max=65535)] = None,
    host: Annotated[str, typer.Option("--host", help="Address of the page; 0.0.0.0 for every one")] = "127.0.0.1",
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help=f"File whose first line is the page's key (or set {_API_KEY})")
    ] = None,
    false_alarms: Annotated[float, typer.Option("--false-alarms", help="Expected false alarms a day, at most", min=1e-6)] = 1.0,
    min_messages: Annotated[int, typer.Option("--min-messages", help="An event has at least so many authors", min=2)] = 5,
    lateness: Annotated[float, typer.Option("--lateness", help="Seconds a message may come late", min=0)] = 30.0,
    queue: Annotated[int, typer.Option("--queue", help="The most messages that wait", min=1)] = 4096,
) -> None:
    """Watch a stream: alerts, one a line, on standard output (SIGHUP reloads the bundle)."""
    for package in ("httpx", "httpx_sse", "websockets", "datasketch", "filelock"):
        need(package, "watch")
    for package in ("fastapi", "uvicorn", "prometheus_client") if page is not None else ():
        need(package, "serve")
    import asyncio

    from bongsu.watch.events import Events
    from bongsu.watch.payloads import FORMS
    from bongsu.watch.places import TaggedPlaces
    from bongsu.watch.sinks import Sink, Stdout
    from bongsu.watch.sources.records import Reading, columns_of
    from bongsu.watch.store import Store
    from bongsu.watch.stream import Watch
    from bongsu.watch.times import time_zone
    from bongsu.watch.tracking import Settings

    drawn = progress.console.is_terminal if view is None else view
    logged = not drawn and not progress.console.is_terminal
    report = _reporter(logged)
    if format not in ("json", "cap", "geojson"):
        raise BongsuError(f"--format {format}: it is one of json, cap, geojson")
    address = webhook or first_line(webhook_file, _WEBHOOK, "the webhook's address")
    dead_letters = store.with_suffix(".dead.jsonl") if store else Path("watch.dead.jsonl")
    hook = _webhook(address, dead_letters, allow_private, webhook_format, webhook_secret_file, report) if address else None
    if resend:
        _resend(hook)
        return
    model, sources = split_model(words or [])
    reading = Reading(time_zone(timezone), columns_of(columns or []))
    if not sources and of_keyboard():
        progress.note("Messages are read from the keyboard, one a line; Ctrl-D ends. A file: bongsu watch messages.jsonl")
    if sources and "://" not in sources[0] and sources[0] not in ("-", "safetydata") and not Path(sources[0]).exists():
        raise BongsuError(f"{sources[0]}: no such file, and no folder of a model.")
    opened = _sources(sources or ["-"], follow, replay, speed, reading, report)
    key = first_line(api_key_file, _API_KEY, "the API key")
    # A drawn view shows the alerts; JSON on the same terminal would tear it.
    printed = not (drawn and sys.stdout.isatty())
    sinks: list[Sink] = [*([Stdout(FORMS[format])] if printed else []), *([hook] if hook else [])]
    settings = Settings(false_alarms_a_day=false_alarms, min_messages=min_messages, lateness=lateness)
    detector, ask = _detector(model), partial(_alarm, classes=alarm_class or [])
    events = Events(settings, TaggedPlaces(_detector(places))) if places else Events(settings)
    memory = Store(store)
    with ExitStack() as stack:
        stack.callback(memory.close)
        desk = _desk(detector, store) if not alarm_class else None
        if desk is not None:
            stack.callback(desk.store.close)
            detector = desk.open(detector)
        listeners = _listeners(messages and printed, logged)
        shown = [_view(stack)] if drawn else []
        watching = Watch(
            ask(detector),
            opened,
            events,
            memory,
            sinks,
            desk=desk,
            listener=lambda event: _publish(event, [*listeners, *shown]),
            report=report,
            queue=queue,
            replayed=replay,
            keep_days=keep_days,
        )

        if desk is not None:
            desk.listeners.append(lambda used: setattr(watching, "detector", ask(used)))

        def load() -> Classifies:
            loaded = _detector(model)
            return ask(loaded if desk is None else desk.reopen(loaded))

        if page is not None:
            shown.append(_page(stack, detector, desk, watching, host, page, key).publish)
        for event in watching.recall():
            _publish(event, shown)
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_until_ended(watching, load, report))
    progress.note(_summary(watching))
    if watching.nothing_readable:
        raise BongsuError(
            "Not one record could be read; docs/howto/watch.md shows an example, and --columns names what holds what."
        )


def _reporter(logged: bool) -> Callable[[str], None]:
    """Return how warnings are reported: in the log of a watch without a terminal, or on the terminal."""
    from bongsu.watch.log import log_to_stderr, logger

    if not logged:
        return lambda text: progress.warn(progress.escape(printable(text)))
    log_to_stderr()
    return lambda text: logger.warning(printable(text))


def _listeners(messages: bool, logged: bool) -> list[Listener]:
    """Return what hears of new events alone: messages on standard output, and the log."""
    from bongsu.watch.log import StatusLog
    from bongsu.watch.sinks import print_line

    listeners: list[Listener] = []
    if messages:
        import orjson

        listeners.append(lambda event: print_line(orjson.dumps(event)) if event["type"] == "message" else None)
    if logged:
        listeners.append(StatusLog().hear)
    return listeners


def _view(stack: ExitStack) -> Listener:
    """Draw the state on the terminal; return what hears of events, old ones too."""
    from bongsu.watch.view import View

    return stack.enter_context(View(progress.console)).hear


def _publish(event: Event, listeners: list[Listener]) -> None:
    """Tell listeners of an event, one after the other."""
    for listener in listeners:
        listener(event)


def _summary(watching: Watch) -> str:
    """Return one line: all that was received, by what became of it."""
    from bongsu.watch.stream import LOSSES

    status = watching.status()
    parts = [progress.count(status["received"], "message"), f"{status['passed']:,} passed the detector"]
    parts += [f"{status[name]:,} {word}" for name, word in LOSSES.items() if status[name]]
    parts += [
        f"{status[name]:,} {name}" for name in ("overflow", "failed", "failures", "silenced", "undelivered") if status[name]
    ]
    return ", ".join([*parts, progress.count(status["alerts"], "alert") + " still open"])


def _sources(
    addresses: list[str], follow: bool, replay: bool, speed: float | None, reading: Reading, report: Callable[[str], None]
) -> list[Source]:
    from bongsu.watch.opening import open_source
    from bongsu.watch.replay import Paced
    from bongsu.watch.sources.lines import File

    if any(address.startswith("kafka://") for address in addresses):
        need("aiokafka", "kafka")
    if len(set(addresses)) < len(addresses):
        raise BongsuError("A source is named twice.")
    if speed is not None and not replay:
        raise BongsuError("--speed: has a meaning only with --replay")
    if not replay:
        return [open_source(address, follow, reading, report) for address in addresses]
    if len(addresses) != 1 or follow:
        raise BongsuError("--replay: takes one file, without --follow; merge several by time first")
    source: Source = File(Path(addresses[0]), replayed=True, reading=reading)
    return [source if speed is None else Paced(source, speed, time.monotonic)]


def _webhook(
    address: str, dead_letters: Path, allow_private: bool, form: str, secret: Path | None, report: Callable[[str], None]
) -> Webhook:
    from bongsu.watch.payloads import FORMS, from_template
    from bongsu.watch.webhook import Webhook

    payload: Payload | None = None
    if form != "auto":
        payload = FORMS[form] if form in FORMS else from_template(Path(form))
    signs = first_line(secret, _SECRET, "the webhook's secret") or ""
    return Webhook(address, dead_letters, allow_private, payload=payload, secret=signs, report=report)


def _resend(hook: Webhook | None) -> None:
    import asyncio

    if hook is None:
        raise BongsuError(f"--resend: name the webhook with --webhook, --webhook-file or {_WEBHOOK}.")
    delivered, failed = asyncio.run(hook.resend())
    progress.note(f"{delivered:,} delivered, {failed:,} not")
    if failed:
        raise BongsuError(f"{failed:,} could not be delivered again; they are kept.")


def _detector(model: str) -> BundlePredictor:
    from bongsu.inference.onnx import BundlePredictor

    return BundlePredictor.load(ready_bundle(model))


def _alarm(detector: BundlePredictor, classes: list[str]) -> Classifies:
    """Return how the watch asks a detector."""
    from bongsu.watch.alarm import Alarm

    return Alarm(detector, classes)


def _desk(detector: BundlePredictor, store: Path | None) -> Desk | None:
    """Return where labels come in; None for a detector that has not two classes."""
    return open_desk(store) if detector.task.has_two_classes else None


async def _until_ended(watching: Watch, load: Callable[[], Classifies], report: Callable[[str], None]) -> None:
    """Watch until the sources end or SIGTERM comes, as Ctrl-C does; on SIGHUP open the bundle anew."""
    import asyncio
    import signal

    task = asyncio.current_task()
    assert task is not None
    loop, reloads = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    async def reload() -> None:
        try:
            watching.detector = await asyncio.to_thread(load)
            report("the bundle was opened anew")
        except BongsuError as error:
            report(f"{error} The bundle from before is used on.")

    def begin() -> None:
        reloads.add(begun := asyncio.create_task(reload()))
        begun.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    loop.add_signal_handler(signal.SIGHUP, begin)
    await watching.run()


def _page(
    stack: ExitStack, detector: BundlePredictor, desk: Desk | None, watching: Watch, host: str, port: int, key: str | None
) -> Broadcaster:
    """Serve the page and the API; return where to publish what they show."""
    from bongsu.serving.broadcast import Broadcaster
    from bongsu.serving.limits import Limits
    from bongsu.serving.server import listen, server_in_thread
    from bongsu.serving.service import Service
    from bongsu.watch.metrics import register

    stream = Broadcaster()
    service = Service(lambda: detector if desk is None else desk.detector, Limits(), key, stream=stream, desk=desk)
    register(watching, service.metrics.registry)
    address = stack.enter_context(server_in_thread(service, listen(host, port, "--host or --page")))
    progress.note(f"page: {address}")
    return stream


@app.command()
def alerts(
    store: Annotated[Path, typer.Argument(help="What `bongsu watch --store` names", show_default=False)],
    closed: Annotated[bool, typer.Option("--closed", help="Show the closed ones as well")] = False,
    acknowledge: Annotated[
        list[str] | None, typer.Option("--acknowledge", help="An alert's id: it is in hand; only its end is reported")
    ] = None,
    silence: Annotated[
        list[str] | None,
        typer.Option("--silence", help="Report nothing on: an id, a hazard, hazard/place or any/place"),
    ] = None,
    hours: Annotated[float, typer.Option("--hours", help="For how long", min=0)] = 4.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line")] = False,
) -> None:
    """List the alerts of a watch, also while it runs; acknowledge or silence them."""
    need("filelock", "watch")
    import orjson

    from bongsu.watch.sinks import print_line
    from bongsu.watch.store import Reader

    reader = Reader(store)
    known = reader.alerts(closed=True)
    for name in acknowledge or []:
        if name not in {body["id"] for body in known if body["state"] != "closed"}:
            raise BongsuError(f"--acknowledge {name}: no such open alert; `bongsu alerts {store}` lists them.")
    for name in acknowledge or []:
        reader.order({"acknowledge": name})
    for what in silence or []:
        reader.order({"silence": what, "until": time.time() + 3600 * hours})
    if acknowledge or silence:
        progress.note(f"Noted in {store}. A watch that runs on it does this within seconds, otherwise the next one.")
        return
    for body in known:
        if closed or body["state"] != "closed":
            if json:
                print_line(orjson.dumps(body))
            else:
                line = f"{body['raised'][:16]}Z  {body['state']:<8} {body['messages']:>6,}  {body['title']}  ({body['id']})"
                print(printable(line))
