"""No request, however wrong, may make the server fail. BONGSU_FUZZ says how many are tried (10000 for the long run)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import requests
import schemathesis
from fake_service import fake_service, running
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bongsu.serving.limits import Limits

REQUESTS = int(os.environ.get("BONGSU_FUZZ", "300"))
PATHS = ["/v1/classify", "/v1/fill-mask"]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EACH = settings(
    max_examples=REQUESTS // 6,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running(fake_service(limits=Limits(body_bytes=20_000, characters=500, items=8))) as url:
        yield url


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "against it"])
def test_what_the_schema_describes(server: str, path: str, mode: GenerationMode) -> None:
    session = requests.Session()
    operation = schemathesis.openapi.from_url(f"{server}/openapi.json")[path]["POST"]

    @EACH
    @given(case=operation.as_strategy(mode))
    def check(case: schemathesis.Case[Any]) -> None:
        case.validate_response(case.call(session=session), checks=CHECKS)

    check()


FIELD = st.sampled_from(["text", "context", "explain", "top_k", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELD, inner),
    max_leaves=12,
)
TOKEN = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)


@EACH
@given(value=JSON, path=st.sampled_from(PATHS))
def test_any_json(client: httpx.Client, value: object, path: str) -> None:
    answer = client.post(path, content=json.dumps(value), headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text


@EACH
@given(
    body=st.binary(max_size=30_000),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]),
    path=st.sampled_from([*PATHS, "/", "/metrics", "/v1/admin/reload"]) | st.text(max_size=20).map("/".__add__),
    headers=st.dictionaries(TOKEN, st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(str.strip), max_size=3),
    kind=st.sampled_from(["application/json", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""]),
)
def test_any_bytes(client: httpx.Client, body: bytes, method: str, path: str, headers: dict[str, str], kind: str) -> None:
    answer = client.request(method, quote(path), content=body, headers={**headers, "Content-Type": kind})
    assert answer.status_code < 500, answer.text
