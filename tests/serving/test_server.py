"""A real process, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bongsu.errors import WorkspaceError
from bongsu.serving.server import listen

ACCEPTED = 20


async def until(client: httpx.AsyncClient, line: str) -> None:
    """Waits until the metrics say so."""
    while line not in (await client.get("/metrics")).text:
        await asyncio.sleep(0.02)


async def talk(process: subprocess.Popen[str], port: int) -> None:
    limits = httpx.Limits(max_connections=ACCEPTED + 5)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, limits=limits) as client:
        await until(client, 'bongsu_model{engine="float32",version="version-1"}')
        process.send_signal(signal.SIGHUP)
        await until(client, 'bongsu_model{engine="float32",version="version-2"}')
        stream = asyncio.create_task(client.get("/v1/stream"))
        requests = [asyncio.create_task(client.post("/v1/classify", json={"text": "wait"})) for _ in range(ACCEPTED)]
        await until(client, f"bongsu_queue_items {ACCEPTED - 1}.0")
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*requests)
        assert [answer.status_code for answer in answers] == [200] * ACCEPTED
        assert {answer.json()["model"] for answer in answers} == {"version-2"}
        assert (await stream).status_code == 200


def test_sigterm_loses_no_accepted_request_and_sighup_reloads() -> None:
    script = Path(__file__).with_name("draining_server.py")
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(script.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        asyncio.run(asyncio.wait_for(talk(process, int(process.stdout.readline())), 600))
        assert process.wait(600) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


def test_an_address_in_use_is_told_plainly() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(WorkspaceError, match="cannot listen here"):
        listen("127.0.0.1", taken.getsockname()[1])
