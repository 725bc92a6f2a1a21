"""Small HTTP servers on this machine, for sources and webhooks to meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

Answer = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def serving(answer: Answer, host: str = "127.0.0.1") -> AsyncIterator[tuple[int, list[Request]]]:
    """Yield the port of a server, and the requests that it has received."""
    seen: list[Request] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            seen.append(Request(head[0].split()[1], headers, body))
            await answer(seen[-1], writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


def status(code: int, headers: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {code} X\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def always(code: int, headers: str = "", body: bytes = b"") -> Answer:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(status(code, headers, body))

    return answer
