"""A Kafka topic of JSON messages. The cursor holds the next offset of each partition; nothing is committed to the broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from bongsu.errors import DataError
from bongsu.watch.messages import Arrival
from bongsu.watch.sources.lines import item_of


class Kafka:
    """Reads all partitions of a topic."""

    def __init__(self, url: str) -> None:
        """Args: url: kafka://host:port/topic."""
        parts = urlsplit(url)
        self._topic, self._brokers = parts.path.strip("/"), parts.netloc
        if not self._topic or not self._brokers:
            raise DataError(f"{url}: write it as kafka://host:port/topic")
        self.name, self.garbage, self.live = url, 0, False

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`; without a cursor, from now on. A broker that goes away is waited for."""
        from aiokafka import AIOKafkaConsumer
        from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError

        consumer = AIOKafkaConsumer(self._topic, bootstrap_servers=self._brokers, enable_auto_commit=False)
        try:
            await consumer.start()
            place: dict[str, int] = dict(cursor or {})
            for partition in consumer.assignment():  # all, since it is in no group
                if str(partition.partition) in place:
                    consumer.seek(partition, place[str(partition.partition)])
                else:
                    await consumer.seek_to_end(partition)
                    place[str(partition.partition)] = await consumer.position(partition)
            self.live = True
            async for record in consumer:
                place[str(record.partition)] = record.offset + 1
                item = item_of(record.value or b"", self.name, record.timestamp / 1000)
                self.garbage += item is None
                yield Arrival(item, dict(place))
        except UnknownTopicOrPartitionError:
            raise DataError(f"{self.name}: the broker has no such topic.") from None
        except KafkaConnectionError as error:
            raise DataError(f"{self.name}: no broker answers there ({error}).") from None
        finally:
            await consumer.stop()
