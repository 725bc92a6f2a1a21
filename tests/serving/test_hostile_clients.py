"""Clients that send too much, too little, or nothing, over real sockets."""

from __future__ import annotations

import gzip
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_service import fake_service, message_of, running, share

from bongsu.serving.limits import Limits
from bongsu.serving.service import Service

REQUEST = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=600)


def until_closed(client: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    received = b""
    with suppress(ConnectionError):
        while data := client.recv(65536):
            received += data
    return received


@contextmanager
def serving(**limits: Any) -> Iterator[tuple[str, Service]]:
    service = fake_service(limits=Limits(**limits))
    with running(service) as url:
        yield url, service


def answers(url: str) -> bool:
    return httpx.post(f"{url}/v1/classify", json={"text": "a"}, timeout=600).status_code == 200


def test_headers_without_end_are_cut_off() -> None:
    with serving() as (url, _), closing(connect(url)) as client:
        client.sendall(REQUEST)
        sent = 0
        with suppress(ConnectionError):
            while sent < 600 * 2**20:
                client.sendall(b"X-Filler: " + b"a" * 8000 + b"\r\n")
                sent += 8000
        assert sent < 100 * 2**20
        assert answers(url)


def test_half_a_header_is_given_up_also_on_a_connection_that_was_used() -> None:
    with serving(header_seconds=0.3) as (url, _), ExitStack() as stack:
        clients = [stack.enter_context(closing(connect(url))) for _ in range(50)]
        for client in clients[:25]:
            client.sendall(REQUEST)
        assert [until_closed(client) for client in clients] == [b""] * 50
        used = stack.enter_context(closing(connect(url)))
        used.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"}"):
            received += used.recv(65536)
        for byte in b"GET /health":  # each byte would set uvicorn's own clock back
            used.sendall(bytes([byte]))
        assert until_closed(used) == b""
        assert answers(url)


def send_until_closed(client: socket.socket, piece: bytes, pause: float = 0.0) -> None:
    with suppress(ConnectionError):
        while True:
            client.sendall(piece)
            time.sleep(pause)


def test_a_body_that_goes_on_after_its_answer_is_cut_off() -> None:
    with serving(body_bytes=1000, header_seconds=0.3) as (url, _), closing(connect(url)) as client:
        client.sendall(REQUEST + b"Transfer-Encoding: chunked\r\n\r\n")
        send_until_closed(client, b"400\r\n" + b" " * 1024 + b"\r\n", 0.01)
        assert answers(url)


def test_requests_without_end_before_an_answer_are_cut_off() -> None:
    with serving() as (url, _), closing(connect(url)) as client:
        send_until_closed(client, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)  # each answer lets the server read on
        assert answers(url)


def test_what_costs_too_much_to_explain_is_refused() -> None:
    with running(fake_service(limits=Limits(explained_cost=100))) as url:
        for words, status in ((20, 200), (100, 422)):
            body = {"text": " ".join(["a"] * words), "explain": True}
            assert httpx.post(f"{url}/v1/classify", json=body, timeout=60).status_code == status


def test_the_oldest_idle_connection_makes_room_for_a_new_one() -> None:
    with serving(connections=4, header_seconds=600) as (url, _), ExitStack() as stack:
        idle = [stack.enter_context(closing(connect(url))) for _ in range(4)]
        assert answers(url)
        assert until_closed(idle[0]) == b""


def test_when_all_connections_are_at_work_a_new_one_is_told_to_wait() -> None:
    with serving(connections=3) as (url, _), ExitStack() as stack:
        for _ in range(3):
            busy = stack.enter_context(closing(connect(url)))
            busy.sendall(REQUEST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
            assert busy.recv(65536).startswith(b"HTTP/1.1 100")
        refused = until_closed(stack.enter_context(closing(connect(url))))
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in refused


def test_a_server_with_few_descriptors_keeps_serving_and_logs_only_json(bundle: Path) -> None:
    files = 300
    code = "from bongsu.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(bundle), "--port", "0", "--engine", "float32", "--sessions", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        while "http://" not in (first := process.stderr.readline()):
            assert first, process.wait()
        url = "http://" + first.partition("http://")[2].split()[0]
        reader = threading.Thread(target=lambda: lines.extend(process.stderr))  # type: ignore[arg-type]
        reader.start()
        with ExitStack() as stack:
            for _ in range(2 * files):
                stack.enter_context(closing(connect(url))).sendall(b"GET /")
            assert answers(url)
            assert httpx.get(f"{url}/health/ready", timeout=600).status_code == 200
    finally:
        process.terminate()
        process.wait(600)
    reader.join()
    assert [line for line in map(json.loads, lines) if line["level"] == "error"] == []
    assert any(line.get("client") == "127.0.0.1" for line in map(json.loads, lines))


def test_the_key_is_compared_before_the_body_is_sent() -> None:
    with running(fake_service(api_key="k")) as url, closing(connect(url)) as client:
        client.sendall(REQUEST + b"Content-Length: 100000\r\n\r\n{")
        assert client.recv(65536).startswith(b"HTTP/1.1 401")


def test_any_key_that_is_utf8_opens() -> None:
    key = "비밀 🔑"
    with running(fake_service(api_key=key)) as url:
        for sent, status in ((key, 200), (key[:-1], 401), ("", 401)):
            with closing(connect(url)) as client:
                client.sendall(
                    REQUEST + b"Content-Length: 13\r\nAuthorization: Bearer " + sent.encode() + b'\r\n\r\n{"text": "a"}'
                )
                assert client.recv(65536).startswith(b"HTTP/1.1 %d" % status)


def test_bodies_of_all_requests_are_bounded_together() -> None:
    with serving(body_bytes=1000, bodies_bytes=2500) as (url, _), ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(closing(connect(url)))
            client.sendall(REQUEST + b"Content-Length: 1000\r\n\r\n" + b" " * 900)
        assert client.recv(65536).startswith(b"HTTP/1.1 503")
        stack.close()
        while not answers(url):  # what the others held is free again
            time.sleep(0.01)


def test_a_listener_that_does_not_read_is_cut_off() -> None:
    with serving(seconds=0.3) as (url, service), closing(connect(url)) as client:
        client.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"text/event-stream" in client.recv(65536)
        while len(service.stream):
            service.stream.publish(message_of(1, text="x" * 100_000))
            time.sleep(0.001)


def test_streams_of_one_client_are_bounded() -> None:
    with serving(streams_per_client=2) as (url, service), ExitStack() as stack:
        for _ in range(2):
            stream = stack.enter_context(httpx.stream("GET", f"{url}/v1/stream"))
            assert stream.status_code == 200
            assert stream.headers["X-Accel-Buffering"] == "no"
        refused = httpx.get(f"{url}/v1/stream")
        assert refused.status_code == 429
        assert "2 listeners from this address" in refused.json()["error"]
        other = stack.enter_context(httpx.stream("GET", f"{url}/v1/stream", headers={"X-Forwarded-For": "198.51.100.7"}))
        assert other.status_code == 200  # a proxy on this machine is believed
        assert len(service.stream) == 3
        stack.close()
        while len(service.stream):
            time.sleep(0.01)


BODY = '{"text": "강남구 침수"}'


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (gzip.compress(BODY.encode()), {"Content-Encoding": "gzip"}, "compressed (gzip)"),
        (gzip.compress(BODY.encode()), {}, "compressed (gzip)"),
        (BODY.encode(), {"Content-Encoding": "br"}, "compressed ('br')"),
        (BODY.encode("euc-kr"), {}, "EUC-KR"),
        (BODY.encode("euc-kr"), {"Content-Type": "application/json; charset=euc-kr"}, "'euc-kr'; send JSON in UTF-8"),
        (BODY.encode("utf-16"), {}, "UTF-16"),
        (b'{"text": "\xff"}', {}, "byte 11"),
    ],
    ids=["gzip", "gzip not named", "brotli", "euc-kr", "euc-kr named", "utf-16", "latin-1"],
)
def test_a_body_in_another_coding_is_told_the_cause(body: bytes, headers: dict[str, str], words: str) -> None:
    with running(fake_service()) as url:
        answer = httpx.post(f"{url}/v1/classify", content=body, headers={"Content-Type": "application/json", **headers})
        assert answer.status_code == 415
        assert words in answer.json()["error"]
        for charset in ("", "; charset=utf-8", '; charset="UTF-8"'):
            kind = {"Content-Type": f"application/json{charset}"}
            assert httpx.post(f"{url}/v1/classify", content=BODY.encode(), headers=kind).status_code == 200


def test_half_an_emoji_fails_its_item_and_not_the_list() -> None:
    kind = {"Content-Type": "application/json"}
    with running(fake_service(log_text=True)) as url, httpx.Client(base_url=url, headers=kind) as client:
        results = client.post("/v1/classify", content=b'{"text": ["fire", "\\ud83d", "quake"]}').json()["results"]
        assert [result.get("probability") for result in results] == [share("fire"), None, share("quake")]
        assert "message 2 is not valid Unicode" in results[1]["error"]
        context = client.post("/v1/classify", content=b'{"text": ["a", "b"], "context": [["\\udd25"], [""]]}')
        assert ["error" in result for result in context.json()["results"]] == [True, False]
        predicted = client.post("/v1/predict", content=b'{"inputs": ["fire", "\\ud83d"]}').json()["results"]
        assert ["error" in result for result in predicted] == [False, True]
        vectors = client.post("/v1/embed", content=b'{"text": ["\\ud83d", "fire"]}').json()["vectors"]
        assert vectors[1] == [share("fire"), 1.0]
        for path, body in (("classify", b'{"text": "\\ud83d"}'), ("fill-mask", b'{"text": "[MASK] \\ud83d"}')):
            assert client.post(f"/v1/{path}", content=body).status_code == 422


def test_head_of_health_and_page() -> None:
    with running(fake_service()) as url:
        for path in ("/health/live", "/health/ready", "/"):
            answer = httpx.head(url + path)
            assert (answer.status_code, answer.content) == (200, b"")
