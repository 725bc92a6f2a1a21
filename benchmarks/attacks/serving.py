"""Clients of `bongsu serve` that send too much, too little, or what is not theirs."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx

from benchmarks.attacks import attack, server

_POST = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_JSON = {"Content-Type": "application/json"}


def _connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def _answered(url: str, count: int = 10) -> str:
    """Ask for ordinary answers while something else goes on."""
    answered, slowest = 0, 0.0
    for _ in range(count):
        started = time.perf_counter()
        answered += httpx.post(f"{url}/v1/classify", json={"text": "fire in the market"}, timeout=60).status_code == 200
        slowest = max(slowest, time.perf_counter() - started)
        time.sleep(0.2)
    assert answered == count, f"{answered} of {count} others were answered"
    return f"{answered} of {count} others answered, the slowest after {slowest:.1f} s"


def _meanwhile(url: str, bodies: Sequence[bytes]) -> str:
    """Post bodies at once, and ask for other answers meanwhile."""
    statuses = list[int]()

    def post(body: bytes) -> None:
        statuses.append(httpx.post(f"{url}/v1/classify", content=body, headers=_JSON, timeout=120).status_code)

    threads = [threading.Thread(target=post, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    others = _answered(url)
    for thread in threads:
        thread.join()
    return f"{', '.join(map(str, sorted(statuses)))}; {others}"


@attack("HTTP: combining marks, four requests at once", "everyone starved")
def _marks(folder: Path) -> str:
    body = json.dumps({"text": ["e" + "\u0301\u0323" * 4_900] * 50}, ensure_ascii=False).encode()
    with server(folder) as url:
        outcome = _meanwhile(url, [body] * 4)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return f"{outcome}; {used.ru_utime + used.ru_stime:.1f} s of processor from start to end"


@attack("HTTP: explanations of long messages, four requests at once")
def _explanations(folder: Path) -> str:
    body = json.dumps({"text": [" ".join(["ab"] * 3300)] * 16, "explain": True}).encode()
    with server(folder) as url:
        return _meanwhile(url, [body] * 4)


def _endless(url: str, start: bytes, piece: bytes, most: int) -> int:
    """Send pieces until the server closes the connection; return the megabytes that were sent."""
    sent = 0
    with closing(_connect(url)) as client, suppress(OSError):
        client.settimeout(5)
        client.sendall(start)
        while sent < most:
            client.sendall(piece)
            sent += len(piece)
    return sent >> 20


@attack("HTTP: 600 MiB of headers", "736 MB before the key was asked")
def _headers(folder: Path) -> str:
    with server(folder) as url:
        sent = _endless(url, _POST, b"X-Filler: " + b"a" * 8000 + b"\r\n", 600 * 2**20)
        return f"cut off after {sent} MiB; {_answered(url)}"


@attack("HTTP: a body in pieces without end")
def _chunks(folder: Path) -> str:
    with server(folder) as url:
        started = time.perf_counter()
        _endless(url, _POST + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n", 2**44)
        return f"answered, and cut off after {time.perf_counter() - started:.0f} s; {_answered(url)}"


@attack("HTTP: requests sent without waiting for answers")
def _pipelined(folder: Path) -> str:
    with server(folder) as url:
        sent = _endless(url, b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 2000, 600 * 2**20)
        return f"cut off after {sent} MiB; {_answered(url)}"


@attack("HTTP: 300 half-open clients", "never closed")
def _half_open(folder: Path) -> str:
    with server(folder) as url, ExitStack() as stack:
        clients = [stack.enter_context(closing(_connect(url))) for _ in range(300)]
        for number, client in enumerate(clients):
            client.sendall(_POST[: 1 + number % len(_POST)])
        others, started = _answered(url), time.perf_counter()
        assert all(client.recv(1) == b"" for client in clients)
        return f"all closed {time.perf_counter() - started:.0f} s later; {others}"


@attack("HTTP: 200 bodies that never come")
def _slow(folder: Path) -> str:
    with server(folder) as url, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(closing(_connect(url))).sendall(_POST + b"Content-Length: 1000000\r\n\r\n{")
        return _answered(url)


@attack("HTTP: deep JSON, huge numbers, NaN, 60,000 keys, half an emoji, nulls")
def _bodies(folder: Path) -> str:
    bodies = {
        "deep": b'{"text":' + b"[" * 900_000,
        "digits": b'{"text":' + b"9" * 900_000 + b"}",
        "nan": b'{"text":NaN}',
        "infinite": b'{"text":"[MASK]","top_k":1e999}',
        "keys": b"{" + b",".join(b'"k%d":1' % number for number in range(60_000)) + b"}",
        "half": b'{"text":"\\ud83d"}',
        "half a key": b'{"text":"a","\\ud83d":1}',
        "false length": b'{"text":"a"}' + b"\0" * 100,
    }
    with server(folder) as url:
        for name, body in bodies.items():
            answer = httpx.post(f"{url}/v1/classify", content=body, headers=_JSON, timeout=60)
            assert 400 <= answer.status_code < 500, (name, answer.status_code, answer.text[:200])
            assert answer.json()["error"], name
        fine = [b'{"text":"' + b"\\u0000" * 10_000 + b'"}', b'{"text":"a","text":"b"}']
        assert all(httpx.post(f"{url}/v1/classify", content=one, headers=_JSON).status_code == 200 for one in fine)
        return f"{len(bodies)} of {len(bodies)} refused with a reason; {_answered(url, 3)}"


@attack("HTTP: two lengths, a negative length, length and pieces")
def _smuggled(folder: Path) -> str:
    heads = [
        b"Content-Length: -1",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 1\r\n 0",
        b"Transfer-Encoding: x",
        b"X-Request-ID: a\r\n\tb\0c",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffffff\r\na",
    ]
    with server(folder) as url:
        for head in heads:
            with closing(_connect(url)) as client:
                client.sendall(_POST + head + b"\r\n\r\n")
                assert client.recv(100).startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), head
        return f"{len(heads)} of {len(heads)} refused; {_answered(url, 3)}"


@attack("HTTP: paths that lead out of the static files, past the key")
def _paths(folder: Path) -> str:
    (folder / "key").write_text("the key\n")
    places = ["/static-offline-docs/" + path for path in ("..%2f..%2f..%2fetc/passwd", "%2e%2e/%2e%2e/etc/passwd",
              "//etc/passwd", "%00", "a" * 5000, "..%5c..%5cetc", "../v1/labels/status", "%2e%2e/v1/stream")]  # fmt: skip
    with server(folder, "bongsu:beacon", "--api-key-file", folder / "key") as url:
        for path in places:
            with closing(_connect(url)) as client:  # as it is: a client's library would tidy it
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                assert client.recv(100).startswith((b"HTTP/1.1 404", b"HTTP/1.1 401", b"HTTP/1.1 307")), path
        for path in ("/v1/classify/", "//v1/classify", "/v1/labels/status", "/V1/stream"):
            assert httpx.get(url + path).status_code in (401, 404), path
    return f"{len(places) + 4} of {len(places) + 4} refused"


@attack("HTTP: pages of other sites that label")
def _sites(folder: Path) -> str:
    senders: list[Callable[[str], httpx.Response]] = [
        lambda url: httpx.post(f"{url}/v1/labels/undo", json={"by": "a"}, headers={"Origin": "https://evil.example"}),
        lambda url: httpx.post(f"{url}/v1/labels/undo", json={"by": "a"}, headers={"Origin": "null"}),
        lambda url: httpx.post(f"{url}/v1/labels/use", json={"version": 0}, headers={"Sec-Fetch-Site": "cross-site"}),
        lambda url: httpx.post(f"{url}/v1/labels/use", content='{"version": 0}', headers={"Sec-Fetch-Site": "same-site"}),
        lambda url: httpx.get(f"{url}/v1/labels/queue", headers={"Sec-Fetch-Site": "cross-site"}),
        lambda url: httpx.post(f"{url}/v1/labels", json={}, headers={"Origin": f"{url}.evil.example"}),
    ]
    with server(folder, "bongsu:beacon", "--labels", folder / "labels.db") as url:
        statuses = [send(url).status_code for send in senders]
        assert set(statuses) == {403}, statuses
        assert httpx.get(f"{url}/v1/labels/queue").status_code == 200
    return f"{len(senders)} of {len(senders)} refused"
