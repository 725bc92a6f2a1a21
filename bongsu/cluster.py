"""A Ray cluster, joined for as long as it is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bongsu.errors import BongsuError, need

LOCAL = "local"
"""The address that means: a cluster of this machine alone, begun and ended here."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Joins the cluster at `address` ("auto": the one this machine is part of), unless one is joined already.

    Raises:
        BongsuError: when no cluster answers there.
    """
    need("ray", "cluster")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 128 * 2**20} if address == LOCAL else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except ConnectionError as error:
        raise BongsuError(f"--ray {address}: no Ray cluster answers there ({str(error).splitlines()[0]})") from None
    try:
        yield
    finally:
        ray.shutdown()
