"""Run the service with uvicorn until a signal ends it: SIGTERM and SIGINT drain, SIGHUP reloads the bundle."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from bongsu.errors import WorkspaceError
from bongsu.serving.app import create_app
from bongsu.serving.connections import BoundedConfig
from bongsu.serving.service import Service

_BACKLOG = 2048
"""Connections that may wait until they are accepted."""
_FAREWELL = 1.0
"""Seconds in which a client that keeps its connection may learn that it will be closed, from the answer to one more request."""


class _Server(uvicorn.Server):
    """Uvicorn, which would close kept connections at once at its end, though a request may be on its way on one of them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(_BACKLOG)  # uvicorn lets no more wait than are accepted at a time

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.drain()
        for server in self.servers:
            server.close()  # no new connections
        until = time.monotonic() + _FAREWELL
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)


async def run_server(service: Service, listening: socket.socket, root_path: str = "", cors: Sequence[str] = ()) -> None:
    """Answer HTTP until SIGTERM or SIGINT; what was accepted is answered before it returns.

    Args:
        root_path, cors: see `create_app`.
    """
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(_reload(service))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    await _server(create_app(service, root_path, cors), service).serve([listening])


@contextmanager
def server_in_thread(service: Service, listening: socket.socket) -> Iterator[str]:
    """Answer HTTP in a thread while the block runs; yields the address."""
    server = _server(create_app(service), service)
    thread = threading.Thread(target=server.run, args=([listening],), name="server")
    thread.start()
    address, port = listening.getsockname()[:2]
    try:
        yield f"http://{address}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _server(app: ASGIApp, service: Service) -> _Server:
    return _Server(BoundedConfig(app, service.limits), service)


async def _reload(service: Service) -> None:
    with suppress(Exception):  # the service has logged why
        await service.swap()


def listen(host: str, port: int, options: str = "--host or --port") -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    Args:
        options: of the command line that choose the address, for the message.

    Raises:
        WorkspaceError: when the address is taken or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, so that asyncio sends small answers at once: else each waits until the one before is acknowledged.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise WorkspaceError(f"{host}:{port}: cannot listen here ({error}). Choose another {options}.") from None
    return listening
