"""Kafka's names, records and offsets, and ours."""

from collections.abc import Iterable, Mapping

from aiokafka import ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition

from backbone.eventlog import Record, TopicPartition


class Names:
    """Puts the prefix before a topic's name and takes it off again."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}."

    def full(self, topic: str) -> str:
        return f"{self._prefix}{topic}"

    def bare(self, full_name: str) -> str:
        return full_name.removeprefix(self._prefix)

    def ours(self, full_name: str) -> bool:
        return full_name.startswith(self._prefix)

    def to_kafka(self, place: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self.full(place.topic), place.partition)

    def from_kafka(self, place: KafkaPartition) -> TopicPartition:
        return TopicPartition(self.bare(place.topic), place.partition)

    def records(self, fetched: Mapping[KafkaPartition, Iterable[ConsumerRecord]]) -> list[Record]:
        """Return what `getmany` gave."""
        found: list[Record] = []
        for place, batch in fetched.items():
            topic, partition = self.bare(place.topic), place.partition
            found += [_record(topic, partition, raw) for raw in batch]
        return found


def _record(topic: str, partition: int, raw: ConsumerRecord) -> Record:
    if not raw.headers:
        return Record.of_bytes(topic, partition, raw.offset, raw.key, raw.value, (), raw.timestamp)
    return Record.of_bytes(
        topic,
        partition,
        raw.offset,
        raw.key,
        raw.value,
        tuple((name, value or b"") for name, value in raw.headers),
        raw.timestamp,
        tuple(number for number, (_, value) in enumerate(raw.headers) if value is None),
    )
