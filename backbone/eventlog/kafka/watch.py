"""What a consumer on Kafka keeps an eye on: rebalances, the batch in hand, partitions that stand still."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from aiokafka import ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition

from backbone.errors import Unavailable
from backbone.eventlog import Progress

# What stands still for so many looks, and is passed by so many polls, is given up.
STANDSTILL_LOOKS = 6
STANDSTILL_POLLS = 60
ASKED_AGAIN_AFTER_S = 1.0


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
    """Notices partitions that give nothing, and do not move, although records lie before them.

    Looks are counted, and the polls that passed a partition by, but only those that brought fewer records
    than were asked for: then all that had come was handed out. A partition that was paused begins anew, for
    it has yet to be fetched. Many polls are waited for: one answer of a broker need not hold records of each.
    """

    def __init__(self) -> None:
        self._looks: dict[KafkaPartition, tuple[int, int]] = {}
        self._passed_by: dict[KafkaPartition, int] = {}

    def clear(self) -> None:
        """Begin anew."""
        self._looks.clear()
        self._passed_by.clear()

    def polled(
        self, read: Collection[KafkaPartition], gave: Collection[KafkaPartition], *, drained: bool
    ) -> None:
        """Note a poll of the partitions `read`, which are not paused, and those that gave records.

        `drained` says whether it brought fewer than were asked for.
        """
        passed_by = self._passed_by
        self._passed_by = {place: passed_by.get(place, 0) + drained for place in read if place not in gave}
        for place in self._looks.keys() - self._passed_by.keys():
            del self._looks[place]

    def look(self, progress: Mapping[KafkaPartition, Progress]) -> list[KafkaPartition]:
        """Take a look, and return what has stood still for long."""
        before, self._looks = self._looks, {}
        for place in progress.keys() & self._passed_by.keys():
            position = progress[place].position
            known, looks = before.get(place, (-1, 0))
            stands = progress[place].lag > 0 and position == known
            self._looks[place] = (position, looks + 1 if stands else 0)
        return [
            place
            for place, (_, looks) in self._looks.items()
            if looks >= STANDSTILL_LOOKS and self._passed_by[place] >= STANDSTILL_POLLS
        ]


class Lookout:
    """Looks now and then if a driver gets on, and if brokers answer: beside the polls, which do not wait.

    `ask` returns the progress of the driver's partitions, or raises Unavailable.
    """

    def __init__(self, ask: Callable[[], Awaitable[Mapping[KafkaPartition, Progress]]]) -> None:
        self._ask = ask
        self._standing = Standstill()
        self._stuck: list[KafkaPartition] = []
        self._looking: asyncio.Future[Mapping[KafkaPartition, Progress]] | None = None
        self._looked_s = 0.0
        self._unanswered: BaseException | None = None
        self.polled = self._standing.polled

    def clear(self) -> None:
        """Begin anew, with other partitions or another driver."""
        self._standing.clear()
        self._stuck = []
        self._unanswered = None
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()

    def stuck(self, every_s: float) -> list[KafkaPartition]:
        """Return what stands still; begin another look after `every_s` seconds, sooner without an answer."""
        self._hear()
        now_s = asyncio.get_running_loop().time()
        if self._unanswered is not None:
            every_s = min(every_s, ASKED_AGAIN_AFTER_S)
        if self._looking is None and now_s - self._looked_s >= every_s:
            self._looked_s = now_s
            self._looking = asyncio.ensure_future(self._ask())
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._stuck

    def require_answer(self) -> None:
        """Raise, where the last look had no answer, what it met: Unavailable, if it was no defect."""
        self._hear()
        match self._unanswered:
            case None:
                return
            case Unavailable(dependency=dependency, detail=detail):
                raise Unavailable(dependency, detail) from self._unanswered
            case error:
                raise error

    def _hear(self) -> None:
        looking = self._looking
        if looking is None or not looking.done():
            return
        self._looking = None
        self._unanswered = looking.exception()
        if self._unanswered is None:
            self._stuck = self._standing.look(looking.result())
