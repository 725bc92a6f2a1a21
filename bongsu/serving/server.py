"""Runs an application with uvicorn until a signal ends it: SIGTERM and SIGINT drain, SIGHUP reloads the bundle."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

from bongsu.errors import BongsuError, WorkspaceError
from bongsu.serving.app import create_app
from bongsu.serving.service import Service

_KEPT = 75
"""Seconds that an idle connection is kept: longer than proxies do, or a request of theirs would meet a closed connection."""
_FAREWELL = 1.0
"""Seconds in which a client that keeps its connection may learn, from the answer to one more request, that it is closed."""


class _Server(uvicorn.Server):
    """Uvicorn, told to take its leave: it would close a kept connection at once, though a request may be on its way on it."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.drain()
        for server in self.servers:
            server.close()  # nobody new
        until = time.monotonic() + _FAREWELL
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)


async def run_server(service: Service, listening: socket.socket) -> None:
    """Answers HTTP until SIGTERM or SIGINT; what was accepted is answered before it returns."""
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(_reload(service))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    await _Server(_config(service), service).serve([listening])


@contextmanager
def server_in_thread(service: Service, listening: socket.socket) -> Iterator[str]:
    """Answers HTTP in a thread, beside other work, until the block ends; yields the address."""
    server = _Server(_config(service), service)
    thread = threading.Thread(target=server.run, args=([listening],), name="server")
    thread.start()
    address, port = listening.getsockname()[:2]
    try:
        yield f"http://{address}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _config(service: Service) -> uvicorn.Config:
    app = create_app(service)
    return uvicorn.Config(app, access_log=False, server_header=False, log_config=None, timeout_keep_alive=_KEPT)


async def _reload(service: Service) -> None:
    with suppress(BongsuError):  # the service has logged why
        await service.swap()


def listen(host: str, port: int, options: str = "--host or --port") -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Args:
        options: of the command line that choose the address, for the message.

    Raises:
        WorkspaceError: when the address is taken or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Said to be TCP, so that asyncio sends small answers at once: else each waits for the client to acknowledge the one before.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        raise WorkspaceError(f"{host}:{port}: cannot listen here ({error}). Choose another {options}.") from None
    return listening
