"""How the benchmarks of the server ask it: over plain sockets, for whoever sends shares the cores with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import orjson


async def classify(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, texts: Sequence[str]) -> tuple[str, str, bytes]:
    """One request on a connection that is kept: status, the answer's head in small letters, and its content."""
    body = orjson.dumps({"text": texts})
    head = f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    content = await reader.readexactly(int(answer.partition("content-length:")[2].split()[0]))
    return answer.split()[1], answer, content


def p50_p99(latencies: Sequence[float]) -> list[float]:
    """In milliseconds, of seconds."""
    return [round(float(value), 1) for value in np.percentile(latencies or [0.0], [50, 99]) * 1000]
