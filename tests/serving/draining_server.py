"""A server whose predictor answers nothing until a signal asked the server to end. Run by the test of that."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from fake_service import FakePredictor

from bongsu.serving.limits import Limits
from bongsu.serving.server import listen, run_server
from bongsu.serving.service import Service

versions = itertools.count(1)
service: Service | None = None


class Waiting(FakePredictor):
    def __init__(self) -> None:
        super().__init__(f"version-{next(versions)}")

    def predict(self, texts: Any, context: Any = None) -> Any:
        while service is not None and "wait" in texts and not service.draining:
            time.sleep(0.005)
        return super().predict(texts, context)


service = Service(Waiting, Limits(sessions=1, batch_items=1))  # type: ignore[arg-type]
listening = listen("127.0.0.1", 0)
print(listening.getsockname()[1], flush=True)
asyncio.run(run_server(service, listening))
