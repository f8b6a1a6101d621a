"""From `notifications.sent` out of the platform: one sender, in a consumer group of its own.

Guarantees: each notification that is to be pushed goes out at least once, a user's in the order of `seq`,
whatever dies when; a receiver that is down stops progress and loses nothing. One notification that it
refuses while it takes those of others stops its user alone: it is parked, and those behind it with it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from backbone.errors import Poison, Unavailable
from backbone.eventlog import EventLog, Record
from backbone.eventlog.applying import Refusal, Taken
from backbone.eventlog.consumer import ConsumingLoop
from backbone.eventlog.patience import pause_s
from backbone.health import Health
from backbone.mailbox import Mailbox
from notifier.metrics import PUSHES
from notifier.senders import NotTaken, Push, PushedEvent, Sender, push_of
from notifier.senders.trouble import Sent, Troubles
from schemas.events import NotificationRetracted, NotificationSent, decode
from schemas.messages import ID_MAX_CHARACTERS
from schemas.topics import GROUP_OF_SENDER, NOTIFICATIONS_SENT

# So many users are served at once.
AT_ONCE = 8
# So often one is tried before the batch, or what is left of it, is put off.
ATTEMPTS = 4


def read_notification(record: Record) -> PushedEvent:
    """Return the event of a user's inbox that a record holds. Raises Poison."""
    try:
        event = decode(record.value or b"")
    except msgspec.DecodeError as error:
        raise Poison(f"not an event: {error}") from error
    if not isinstance(event, NotificationSent | NotificationRetracted):
        raise Poison("not an event of an inbox")
    if len(event.payload.user_id) > ID_MAX_CHARACTERS:
        raise Poison(f"user_id has more than {ID_MAX_CHARACTERS} characters")
    return event


@dataclass(slots=True)
class _Round:
    """What became of a batch so far."""

    refusals: list[Refusal] = field(default_factory=list)
    waits: str | None = None
    failures_in_a_row: int = 0
    last_failure: str = ""


class Pusher:
    """The handler of the loop: hands each batch to the sender, many users at once, each in order."""

    def __init__(
        self,
        sender: Sender,
        mailbox: Mailbox,
        health: Health,
        since_ms: int,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`since_ms` is when the way out was first used: what was told before is passed over."""
        self._sender = sender
        self._since_ms = since_ms
        self._mailbox = mailbox
        self._health = health
        self._now_s = now_s
        self._troubles = Troubles(now_s)
        self._sent = Sent()
        self._closed_by = ""
        self._closed_until_s = 0.0

    async def handle(self, batch: Sequence[Taken[PushedEvent]]) -> Sequence[Refusal]:
        """Push what is to be pushed; return what the receiver refuses for good. Raises Unavailable."""
        lanes: dict[str, list[tuple[Record, Push]]] = {}
        for record, push in await self._wanted(batch):
            lanes.setdefault(push.user_id, []).append((record, push))
        round_ = _Round()
        slots = asyncio.Semaphore(AT_ONCE)
        # Those that failed before come last: those that never did find out whether the receiver is there.
        order = sorted(lanes.values(), key=lambda lane: lane[0][1].push_id in self._troubles)
        async with asyncio.TaskGroup() as tasks:
            for lane in order:
                tasks.create_task(self._lane(lane, slots, round_))
        if round_.waits is not None:
            raise Unavailable(self._sender.name, round_.waits)
        for lane in lanes.values():
            # What was refused for good, and what lies behind it: the rest is forgotten where it was taken.
            self._troubles.forget(push.push_id for _, push in lane)
        PUSHES.labels(self._sender.name, "given_up").inc(len(round_.refusals))
        return round_.refusals

    async def _wanted(self, batch: Iterable[Taken[PushedEvent]]) -> list[tuple[Record, Push]]:
        """Return what is to be pushed, and was not: without texts that nobody may see any more."""
        pushes = [
            (record, push)
            for record, event in batch
            if event.timestamp >= self._since_ms
            and (push := push_of(event)) is not None
            and push.push_id not in self._sent
        ]
        texts = [(push.user_id, push.seq) for _, push in pushes if push.body.type == "notification.sent"]
        withdrawn = await self._mailbox.withdrawn(texts)
        self._troubles.forget(withdrawn)
        return [(record, push) for record, push in pushes if push.push_id not in withdrawn]

    async def _lane(
        self, lane: Sequence[tuple[Record, Push]], slots: asyncio.Semaphore, round_: _Round
    ) -> None:
        """Push what one user gets, up to the first that is not taken."""
        for record, push in lane:
            if self._troubles.given_up(push.push_id):
                round_.refusals.append(Refusal(record, self._troubles.reason(push.push_id)))
                return
            waits = await self._push_patiently(push, slots, round_)
            if waits is not None:
                round_.waits = waits
                return

    async def _push_patiently(self, push: Push, slots: asyncio.Semaphore, round_: _Round) -> str | None:
        """Push, and again after growing pauses; return why it was not taken, None where it was.

        Some failures pass within a moment: the whole batch need not wait for its next turn then.
        """
        for failures in range(1, ATTEMPTS + 1):
            async with slots:
                waits = self._holds_back(round_)
                if waits is not None or await self._push(push, round_):
                    return waits
            if failures < ATTEMPTS:
                await asyncio.sleep(pause_s(failures))
        return round_.last_failure

    def _holds_back(self, round_: _Round) -> str | None:
        """Return why nothing is sent for now: the receiver asked for that, or takes nothing from anyone."""
        closed_s = self._closed_until_s - self._now_s()
        if closed_s > 0:
            return f"{self._closed_by}: left alone for {closed_s:.0f} s"
        return round_.last_failure if round_.failures_in_a_row >= AT_ONCE else None

    async def _push(self, push: Push, round_: _Round) -> bool:
        """Push once; say whether it was taken."""
        try:
            await self._sender.send(push)
        except NotTaken as error:
            PUSHES.labels(self._sender.name, "not_taken").inc()
            round_.failures_in_a_row += 1
            round_.last_failure = str(error)
            if error.wait_s:
                self._closed_by, self._closed_until_s = str(error), self._now_s() + error.wait_s
            else:
                self._troubles.failed(push.push_id, str(error))
            return False
        PUSHES.labels(self._sender.name, "taken").inc()
        round_.failures_in_a_row = 0
        self._sent.add(push.push_id)
        self._troubles.forget([push.push_id])
        self._troubles.taken()
        self._health.up(self._sender.name)
        return True


class Pushing:
    """One member of a sender's group."""

    def __init__(
        self,
        eventlog: EventLog,
        sender: Sender,
        mailbox: Mailbox,
        health: Health,
        since_ms: int,
        instance: str | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """See Pusher."""
        self._sender = sender
        pusher = Pusher(sender, mailbox, health, since_ms, now_s)
        group = GROUP_OF_SENDER[sender.name]
        self._loop = ConsumingLoop(
            eventlog,
            group,
            (NOTIFICATIONS_SENT,),
            read_notification,
            pusher.handle,
            health,
            instance=instance,
        )

    async def step(self) -> int:
        """Push one batch; return its number of records, see ConsumingLoop.step."""
        return await self._loop.step()

    async def run(self, stop: asyncio.Event) -> None:
        """Push until `stop` is set, then leave the group."""
        try:
            await self._loop.run(stop)
        finally:
            await self._loop.close()
            await self._sender.close()

    async def close(self) -> None:
        """Leave the group."""
        await self._loop.close()
        await self._sender.close()


async def push_all(
    eventlog: EventLog,
    mailbox: Mailbox,
    senders: Sequence[Sender],
    first_uses: Mapping[str, int],
    health: Health,
    stop: asyncio.Event,
    instance: str | None = None,
) -> None:
    """Push through each of the senders whose first use is known, by name, until `stop` is set."""
    async with asyncio.TaskGroup() as tasks:
        for sender in senders:
            if sender.name in first_uses:
                since_ms = first_uses[sender.name]
                pushing = Pushing(eventlog, sender, mailbox, health, since_ms, instance)
                tasks.create_task(pushing.run(stop), name=f"push to {sender.name}")
