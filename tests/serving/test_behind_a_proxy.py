"""The service under a prefix, and pages of other origins that use it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fake_service import fake_service

from bongsu.serving.app import create_app


def ask(app: Any, *requests: tuple[str, str, dict[str, str]]) -> list[httpx.Response]:
    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.request(method, path, headers=headers) for method, path, headers in requests]

    return asyncio.run(main())


@pytest.mark.parametrize("prefix", ["", "/bongsu"], ids=["taken off by the proxy", "passed on"])
def test_under_a_prefix_the_documentation_finds_its_files_and_the_key_guards(prefix: str) -> None:
    app = create_app(fake_service(api_key="k"), root_path="/bongsu/")
    paths = ["/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css", "/health/live", "/", "/v1/stream", "/v1/nothing"]
    docs, schema, style, live, page, stream, nothing = ask(app, *[("GET", prefix + path, {}) for path in paths])
    assert "/bongsu/openapi.json" in docs.text
    assert "/bongsu/static-offline-docs/swagger-ui.css" in docs.text
    assert schema.json()["servers"] == [{"url": "/bongsu"}]
    assert {each.status_code for each in (style, live, page)} == {200}
    assert (stream.status_code, nothing.status_code) == (401, 401)
    [metrics] = ask(app, ("GET", f"{prefix}/metrics", {}))
    assert 'bongsu_requests_total{path="/health/live",status="200"} 1.0' in metrics.text


def test_pages_of_other_origins_only_where_allowed() -> None:
    app = create_app(fake_service(api_key="k"), cors=["https://example.org"])
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for origin, allowed in (("https://example.org", "https://example.org"), ("https://example.com", None)):
        before, refused = ask(
            app,
            ("OPTIONS", "/v1/classify", {"Origin": origin, **asked}),
            ("POST", "/v1/classify", {"Origin": origin}),
        )
        assert before.status_code == (200 if allowed else 400)
        assert refused.status_code == 401
        assert before.headers.get("Access-Control-Allow-Origin") == allowed
        assert refused.headers.get("Access-Control-Allow-Origin") == allowed
    [plain] = ask(create_app(fake_service()), ("GET", "/health/live", {"Origin": "https://example.org"}))
    assert "Access-Control-Allow-Origin" not in plain.headers
