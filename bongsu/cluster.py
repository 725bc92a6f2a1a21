"""Connecting to a Ray cluster."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bongsu.errors import BongsuError, need

LOCAL = "local"
"""The address that means: a cluster of this machine alone, begun and ended here."""

SMALL: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 128 * 2**20}
"""How a cluster is begun through which little data goes."""


@contextmanager
def connected(address: str, **begun: Any) -> Iterator[None]:
    """Connect to the cluster at `address` ("auto": the one this machine is part of), unless already connected.

    Args:
        begun: arguments of `ray.init` for a cluster that is started here, for `LOCAL`.

    Raises:
        BongsuError: when no cluster answers there.
    """
    need("ray", "cluster")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    local = begun if address == LOCAL else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except Exception as error:  # of many kinds
        reason = (str(error) or repr(error)).splitlines()[0]
        token = (
            ""
            if _has_token()
            else " If the cluster asks for a token, put it in RAY_AUTH_TOKEN (`ray get-auth-token` tells it)."
        )
        raise BongsuError(f"--ray {address}: no Ray cluster answers there ({reason}).{token}") from None
    try:
        yield
    finally:
        ray.shutdown()


def show_token() -> None:
    """Let Ray send its token, if there is one: `ray start` creates and requires one, `ray.init` sends it only if configured.

    Ray decides this on import, and the processes that it starts must agree.
    """
    if "ray" not in sys.modules and _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _has_token() -> bool:
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    return "RAY_AUTH_TOKEN" in os.environ or Path(path).is_file()
