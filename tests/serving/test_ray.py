"""The service as a deployment on a local Ray."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import httpx
import pytest

from bongsu.errors import BongsuError


def test_replicas_answer_like_the_server() -> None:
    ray = pytest.importorskip("ray")
    from ray import serve

    from bongsu.serving.ray import Settings, deployed

    def build():  # type: ignore[no-untyped-def]
        from fake_service import fake_service

        from bongsu.serving.app import create_app

        return create_app(fake_service(api_key="k"))

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": paths}})
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(deployed(build, Settings(bundle=".")))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer k"}) as client:
            answer = client.post("/v1/classify", json={"text": ["fire", "지진"]})
            assert len(answer.json()["results"]) == 2
            assert client.post("/v1/classify", json={}).json() == {"error": "text: is missing."}
            assert client.get("/health/ready").status_code == 200
        serve.shutdown()
    finally:
        ray.shutdown()


def test_a_bundle_that_is_not_there_is_told_before_anything_is_deployed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as called_by_ray

    from bongsu.serving.ray import app

    with pytest.raises(BongsuError, match="no such folder"):
        called_by_ray(app, {"bundle": str(tmp_path / "nothere"), "replicas": "2"})
