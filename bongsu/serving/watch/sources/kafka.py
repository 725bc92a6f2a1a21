"""A Kafka topic of JSON messages. The cursor holds the next offset of each partition; nothing is committed to the broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

from bongsu.errors import DataError
from bongsu.serving.watch.messages import Arrival
from bongsu.serving.watch.sources.lines import item_of


class Kafka:
    """Reads all partitions of a topic."""

    def __init__(self, url: str, consumer: Callable[..., Any] | None = None) -> None:
        """Args: url: kafka://host:port/topic. consumer: makes a consumer; by default `aiokafka.AIOKafkaConsumer`."""
        parts = urlsplit(url)
        self._topic, self._brokers = parts.path.strip("/"), parts.netloc
        if not self._topic or not self._brokers:
            raise DataError(f"{url}: write it as kafka://host:port/topic")
        self.name, self.garbage, self.live = url, 0, False
        self._consumer = consumer

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`; without a cursor, from now on."""
        from aiokafka import AIOKafkaConsumer, TopicPartition

        consumer = (self._consumer or AIOKafkaConsumer)(bootstrap_servers=self._brokers, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [
                TopicPartition(self._topic, number) for number in sorted(consumer.partitions_for_topic(self._topic) or [])
            ]
            if not partitions:
                raise DataError(f"{self.name}: the broker has no such topic.")
            consumer.assign(partitions)
            place: dict[str, int] = dict(cursor or {})
            for partition in partitions:
                if str(partition.partition) in place:
                    consumer.seek(partition, place[str(partition.partition)])
                else:
                    await consumer.seek_to_end(partition)
            async for record in consumer:
                place[str(record.partition)] = record.offset + 1
                item = item_of(record.value or b"", self.name, record.timestamp / 1000)
                self.garbage += item is None
                self.live = True
                yield Arrival(item, dict(place))
        finally:
            await consumer.stop()
