"""The same service as many replicas on Ray Serve: `serve run bongsu.serving.ray:app bundle=DIR replicas=4`.

Ray routes requests to replicas; each batches its own. A new bundle is deployed by running the command again, which replaces
replica by replica (`/v1/admin/reload` would reach one of them only).
"""

# Without `annotations` of `__future__`: Ray reads the class of the settings off the signature, where it must not be a string.
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from bongsu.errors import BongsuError
from bongsu.inference.onnx import BundlePredictor, Choice
from bongsu.models import DEFAULT, packaged
from bongsu.serving.app import create_app
from bongsu.serving.limits import Limits
from bongsu.serving.observing import log_to_stderr
from bongsu.serving.service import Service


class Settings(BaseModel):
    """What may be given on Ray's command line as `name=value`, or as `args` in its configuration file."""

    model_config = ConfigDict(extra="forbid")

    bundle: str = DEFAULT
    """A folder on a path that every node can read; by default the detector that ships."""
    engine: Choice = "auto"
    replicas: int = Field(1, ge=1)
    sessions: int = Field(1, ge=1)
    """Batches at a time in a replica, a thread and a core each."""
    api_key: str | None = None


def app(settings: Settings) -> Any:
    """Build the deployment.

    Raises:
        BongsuError: when the bundle cannot be used.
    """
    bundle = packaged(settings.bundle, "detector") or Path(settings.bundle).resolve()
    if not bundle.is_dir():
        raise BongsuError(f"{bundle}: no such folder. Give one: serve run bongsu.serving.ray:app bundle=DIR")

    def load() -> BundlePredictor:
        return BundlePredictor.load(bundle, settings.engine, settings.sessions)

    def build() -> FastAPI:
        log_to_stderr()
        return create_app(Service(load, Limits(sessions=settings.sessions), settings.api_key))

    return deployed(build, settings)


def deployed(build: Callable[[], FastAPI], settings: Settings) -> Any:
    """Return a deployment whose replicas each build the application for themselves."""
    deployment = serve.deployment(
        name="bongsu",
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": settings.sessions},
        max_ongoing_requests=Limits().queue_items,  # the service's own queue says when it is full
    )
    return deployment(serve.ingress(build)()).bind()
