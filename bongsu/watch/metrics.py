"""The numbers of a watch for Prometheus, read whenever they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

if TYPE_CHECKING:
    from bongsu.watch.stream import Watch

Counted = Literal[
    "received", "passed", "dropped", "misdated", "late", "overflow", "failed", "garbage", "failures", "silenced", "undelivered"
]
_COUNTERS: dict[Counted, str] = {
    "received": "Messages received",
    "passed": "Messages that passed the detector",
    "dropped": "Messages that found the queue full",
    "misdated": "Messages dated into the future",
    "late": "Messages that came too late to be counted",
    "overflow": "Messages not counted because too many waited",
    "failed": "Messages that could not be classified",
    "garbage": "Records that held no message",
    "failures": "Times that a source failed",
    "silenced": "Changes of alerts reported to nobody",
    "undelivered": "Changes of alerts in the dead-letter file",
}
_GAUGES: dict[Literal["lag", "rate", "queue", "alerts"], str] = {
    "lag": "Seconds the last message is old",
    "rate": "Messages a second",
    "queue": "Arrivals that wait",
    "alerts": "Open alerts",
}


class WatchCollector(Collector):
    """Reads a watch's status."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        status = self._watch.status()
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"bongsu_watch_{name}", text, value=status[name])
        for gauge, text in _GAUGES.items():
            yield GaugeMetricFamily(f"bongsu_watch_{gauge}", text, value=status[gauge] or 0.0)
        up = GaugeMetricFamily("bongsu_watch_source_live", "1 for a source that is up to date", labels=["source"])
        for source in self._watch.sources:
            up.add_metric([source.name], float(source.live))
        yield up


def register(watch: Watch, registry: CollectorRegistry) -> None:
    """Add a watch's numbers to a registry."""
    registry.register(WatchCollector(watch))
