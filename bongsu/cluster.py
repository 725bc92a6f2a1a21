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

SMALL: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 128 * 2**20}
"""How a cluster is begun through which little data goes."""


@contextmanager
def connected(address: str, **begun: Any) -> Iterator[None]:
    """Joins the cluster at `address` ("auto": the one this machine is part of), unless one is joined already.

    Args:
        begun: what `ray.init` is told of a cluster that is begun here, for `LOCAL`.

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
        raise BongsuError(
            f"--ray {address}: no Ray cluster answers there ({(str(error) or repr(error)).splitlines()[0]})"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()
