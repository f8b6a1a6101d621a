"""What a consumer on Kafka keeps an eye on: rebalances, the batch in hand, partitions that stand still."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from aiokafka import ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition

from backbone.eventlog import Progress, TopicPartition

STANDSTILL_LOOKS = 6


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """What aiokafka calls around a rebalance."""

    def __init__(self, revoked: Callable[[], Awaitable[None]], assigned: Callable[[], None]) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:
        if revoked:
            await self._revoked()

    async def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        del assigned
        self._assigned()


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
    """Notices partitions whose position stays where it is although records lie before it.

    Looks are counted, not seconds: between two of them there was a poll, however long its batch took. A
    partition may have to wait for its turn behind others: that is no standstill while all polls have records.
    """

    def __init__(self) -> None:
        self._standing: dict[TopicPartition, tuple[int, int]] = {}

    def clear(self) -> None:
        """Begin anew."""
        self._standing.clear()

    def look(self, progress: Mapping[TopicPartition, Progress], polled_in_vain: bool) -> list[TopicPartition]:
        """Take a look, and return what stood still for too many of them.

        `polled_in_vain` says whether a poll since the last look had no records.
        """
        before, self._standing = self._standing, {}
        for place, each in progress.items():
            known, looks = before.get(place, (-1, 0))
            stands = each.lag > 0 and each.position == known
            self._standing[place] = (each.position, looks + polled_in_vain if stands else 0)
        return [place for place, (_, looks) in self._standing.items() if looks >= STANDSTILL_LOOKS]
