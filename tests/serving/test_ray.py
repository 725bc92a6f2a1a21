"""The service as a deployment on a local Ray."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from bongsu.errors import BongsuError


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_replicas_answer_like_the_server() -> None:
    from ray import serve

    from bongsu.serving.ray import Settings, deployed

    def build():  # type: ignore[no-untyped-def]
        from fake_service import fake_service

        from bongsu.serving.app import create_app

        return create_app(fake_service(api_key="k"))

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(deployed(build, Settings.model_validate({"bundle": "."})))
        key = {"Authorization": "Bearer k"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=key, timeout=600) as client:
            answer = client.post("/v1/classify", json={"text": ["fire", "지진"]})
            assert len(answer.json()["results"]) == 2
            assert client.post("/v1/classify", json={}).json() == {"error": "text: is missing."}
            assert client.get("/health/ready").status_code == 200
    finally:
        serve.shutdown()


def test_a_bundle_that_is_not_there_is_told_before_anything_is_deployed(tmp_path: Path) -> None:
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as called_by_ray

    from bongsu.serving.ray import app

    with pytest.raises(BongsuError, match="no such folder"):
        called_by_ray(app, {"bundle": str(tmp_path / "nothere"), "replicas": "2"})  # type: ignore[arg-type]
