"""A Kafka topic of JSON messages. The cursor holds the next offset of each partition; nothing is committed to the broker."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

from bongsu.errors import DataError
from bongsu.watch.addresses import redacted
from bongsu.watch.messages import Arrival, Deletion, Item, tidy_id
from bongsu.watch.sources.base import SourceEndedError, SourceError, Tally
from bongsu.watch.sources.records import Reading, decoded, item_of, parsed
from bongsu.watch.times import read_time

_BEHIND = 10.0
"""Seconds: a younger record is live, an older one is caught up on."""


logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what is wrong, the watch says itself


class Kafka:
    """Reads all partitions of a topic."""

    def __init__(self, url: str, reading: Reading | None = None, report: Callable[[str], None] = lambda text: None) -> None:
        """Args: url: kafka://host:port/topic. report: called with a line when offsets are no longer there.

        Raises:
            DataError: when the address is written otherwise.
        """
        parts = urlsplit(url)
        self._topic, self._brokers = parts.path.strip("/"), parts.netloc.rpartition("@")[2]
        if not self._topic or not self._brokers:
            raise DataError(f"{redacted(url)}: write it as kafka://host:port/topic")
        self.name, self.tally, self.live = redacted(url), Tally(), False
        self._reading, self._report = reading or Reading(), report

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`; without a cursor, from now on."""
        from aiokafka import AIOKafkaConsumer
        from aiokafka.errors import (
            KafkaConnectionError,
            KafkaError,
            NoOffsetForPartitionError,
            OffsetOutOfRangeError,
            UnknownTopicOrPartitionError,
        )

        consumer = AIOKafkaConsumer(
            self._topic, bootstrap_servers=self._brokers, enable_auto_commit=False, auto_offset_reset="none"
        )
        try:
            await consumer.start()
            place: dict[str, int] = {}
            for partition in consumer.assignment():  # all, since it is in no group
                await self._seek(consumer, partition, place, cursor or {})
                yield Arrival(None, dict(place), partition=str(partition.partition))
            self.live = all(place[str(one.partition)] == end for one, end in (await _ends(consumer)).items())
            while True:
                try:
                    record = await consumer.getone()
                except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
                    lost = error.args[0] if error.args and isinstance(error.args[0], dict | tuple | list) else ()
                    partitions = [one for one in lost if hasattr(one, "partition")] or list(consumer.assignment())
                    self._report(f"{self.name}: the broker no longer has the next records; going on with the earliest it has")
                    await consumer.seek_to_beginning(*partitions)
                    continue
                place[str(record.partition)] = record.offset + 1
                self.live = time.time() - record.timestamp / 1000 < _BEHIND
                item = self._item(record)
                yield Arrival(item, dict(place), partition=str(record.partition))
        except UnknownTopicOrPartitionError:
            raise SourceEndedError(f"{self.name}: the broker has no such topic.") from None
        except KafkaConnectionError as error:
            raise SourceError(f"{self.name}: no broker answers there ({error}).") from None
        except KafkaError as error:
            raise SourceError(f"{self.name}: {type(error).__name__}: {error}") from None
        finally:
            self.live = False
            await consumer.stop()

    async def _seek(self, consumer: Any, partition: Any, place: dict[str, int], cursor: dict[str, int]) -> None:
        """Stand where the cursor says; at the earliest record if the broker has it no longer, at the end without a cursor."""
        name = str(partition.partition)
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        wanted = cursor.get(name, end)
        if cursor and name not in cursor:
            wanted = first  # the partition is newer than the cursor
        if not first <= wanted <= end:
            self._report(
                f"{self.name}: partition {name}: record {wanted:,} is not there (there are {first:,} to {end:,}); "
                "going on with the earliest"
            )
            wanted = first
        consumer.seek(partition, wanted)
        place[name] = wanted

    def _item(self, record: Any) -> Item | None:
        if record.value is None:  # a tombstone: the message of this key is gone
            self.tally.note(True, b"")
            key = tidy_id(record.key.decode("utf-8", "replace")) if record.key else ""
            self.tally.ignored += not key
            return Deletion(key, source=self.name) if key else None
        sent = read_time(record.timestamp) or time.time()  # a broker may keep no time, or a false one
        item = item_of(parsed(decoded(record.value)), self.name, sent, self._reading)
        self.tally.note(item is not None, record.value)
        return item


async def _ends(consumer: Any) -> dict[Any, int]:
    ends: dict[Any, int] = await consumer.end_offsets(list(consumer.assignment()))
    return ends
