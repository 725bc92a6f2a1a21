"""The figures for Prometheus at /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from bongsu.labelling.desk import Desk
    from bongsu.labelling.drift import DriftWatch

__all__ = ["OPENMETRICS", "Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The figures of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("bongsu_requests", "Requests answered", ["path", "status"], registry=self.registry)
        self.latency = Histogram(
            "bongsu_request_seconds", "Seconds from a request to its answer", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self.batch = Histogram(
            "bongsu_batch_items", "Cost of a batch, in short messages", buckets=_COUNTS, registry=self.registry
        )
        self.waited = Histogram(
            "bongsu_queue_seconds", "Seconds the first message of a batch waited", buckets=_SECONDS, registry=self.registry
        )
        self.queue = Gauge("bongsu_queue_items", "Cost of what waits, in short messages", registry=self.registry)
        self.labels = Counter("bongsu_labels", "Messages by the label given", ["label"], registry=self.registry)
        self.swaps = Counter("bongsu_swaps", "Attempts to swap a bundle in", ["outcome"], registry=self.registry)
        self.model = Gauge("bongsu_model", "1 for the bundle that serves", ["version", "engine"], registry=self.registry)

    def watch_queue(self, waiting: Callable[[], float]) -> None:
        """Read the length of the queue whenever the figures are asked for."""
        self.queue.set_function(waiting)

    def watch_labels(self, desk: Desk) -> None:
        """Read how the detector does by its labels whenever the figures are asked for."""
        self.registry.register(LabelCollector(desk))

    def watch_drift(self, drift: Callable[[], DriftWatch | None]) -> None:
        """Read whether the stream has changed whenever the figures are asked for."""
        self.registry.register(DriftCollector(drift))

    def serves(self, version: str, engine: str) -> None:
        """Record which bundle serves from now on."""
        self.model.clear()
        self.model.labels(version, engine).set(1)

    def observe_batch(self, items: int, waited: float) -> None:
        """Record a batch that costs `items` short messages, the first of which waited so many seconds."""
        self.batch.observe(items)
        self.waited.observe(waited)

    def page(self) -> bytes:
        """Return the figures in the text format of Prometheus."""
        return generate_latest(self.registry)


class LabelCollector(Collector):
    """Reads a desk's figures."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def describe(self) -> list[Metric]:
        """Return nothing: what there is depends on the labels."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        status, outlook = self._desk.status(), self._desk.outlook()
        yield CounterMetricFamily("bongsu_label_answers", "Messages labelled", value=status.labels)
        yield GaugeMetricFamily("bongsu_label_versions", "Versions learned from labels", value=len(status.versions))
        loss = status.setback.difference if status.setback is not None else 0.0
        yield GaugeMetricFamily("bongsu_label_setback", "Log loss that going back would save", value=loss)
        known = status.progress
        for name, text, share in (
            ("accuracy", "right of the messages drawn at random and labelled", known.accuracy),
            ("precision", "what passed of them and should", known.precision),
            ("recall", "what should have passed of them and did", known.recall),
        ):
            yield GaugeMetricFamily(f"bongsu_label_{name}_rows", f"Rows of: {text}", value=share.whole)
            if share.value is not None and share.interval is not None:
                yield _with_bounds(
                    f"bongsu_label_{name}", f"Share: {text}, with its 95 % interval", share.value, share.interval
                )
        if (expected := outlook.expected) is not None:
            about = "The accuracy to expect, with its band"
            yield _with_bounds("bongsu_expected_accuracy", about, expected.accuracy, expected.band)
        if outlook.likeness is not None:
            strange = outlook.likeness.strange
            yield GaugeMetricFamily("bongsu_strange_messages", "Share unlike any training row", value=strange)


class DriftCollector(Collector):
    """Reads whether the stream has changed."""

    def __init__(self, drift: Callable[[], DriftWatch | None]) -> None:
        self._drift = drift

    def describe(self) -> list[Metric]:
        """Return nothing: what there is depends on the messages."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        watch = self._drift()
        if watch is None or (found := watch.state()) is None:
            return
        yield GaugeMetricFamily("bongsu_drift_alarm", "1 when the detector's answers have changed", value=float(found.alarm))
        moved = GaugeMetricFamily("bongsu_drift_distance", "How far the latest hour is from the first", labels=["figure"])
        means = GaugeMetricFamily("bongsu_drift_mean", "Mean of a figure", labels=["figure", "when"])
        for change in found.changes:
            moved.add_metric([change.figure], change.distance)
            means.add_metric([change.figure, "before"], change.before)
            means.add_metric([change.figure, "now"], change.now)
        yield from (moved, means)
        passing = GaugeMetricFamily("bongsu_drift_passing", "Share of messages that pass", labels=["when"])
        for when, share in zip(("before", "now"), found.passing, strict=True):
            passing.add_metric([when], share)
        yield passing


def _with_bounds(name: str, about: str, value: float, bounds: Sequence[float]) -> GaugeMetricFamily:
    """Return a figure with the ends of its interval."""
    figure = GaugeMetricFamily(name, about, labels=["bound"])
    for bound, number in (("low", bounds[0]), ("value", value), ("high", bounds[1])):
        figure.add_metric([bound], number)
    return figure
