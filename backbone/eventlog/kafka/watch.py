"""What a consumer on Kafka keeps an eye on: the batch in hand, and partitions that stand still."""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import TopicPartition as KafkaPartition

from backbone.eventlog import Progress, TopicPartition

STANDSTILL_S = 30.0


class BatchInHand:
    """The partitions with records that were handed out and neither committed nor rewound."""

    def __init__(self) -> None:
        self._places: set[KafkaPartition] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def take(self, places: Collection[KafkaPartition]) -> None:
        """Note that records of these were handed out."""
        self._places.update(places)
        self._empty.clear()

    def put_down(self, places: Collection[KafkaPartition]) -> None:
        """Note that all that was handed out of these is dealt with."""
        self._places.difference_update(places)
        if not self._places:
            self._empty.set()

    def clear(self) -> None:
        """Note that whatever was handed out is nobody's any more."""
        self._places.clear()
        self._empty.set()

    async def put_down_within(self, timeout_s: float) -> bool:
        """Wait until nothing is in hand, at most so long; say if that came to be."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True


class Standstill:
    """Notices partitions whose position stays where it is although records lie before it."""

    def __init__(self) -> None:
        self._standing: dict[TopicPartition, tuple[int, float]] = {}

    def clear(self) -> None:
        """Begin anew."""
        self._standing.clear()

    def look(self, progress: Mapping[TopicPartition, Progress], now_s: float) -> list[TopicPartition]:
        """Take a look, and return what stands still for too long."""
        before, self._standing = self._standing, {}
        for place, each in progress.items():
            known, since_s = before.get(place, (-1, now_s))
            stands = each.lag > 0 and each.position == known
            self._standing[place] = (each.position, since_s if stands else now_s)
        return [place for place, (_, since_s) in self._standing.items() if now_s - since_s > STANDSTILL_S]
