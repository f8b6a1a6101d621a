"""A member of a consumer group on the file: shares partitions with members of any process."""

import asyncio
import sqlite3
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog

from backbone.background import keep_doing
from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Assignment, Progress, TopicPartition
from backbone.eventlog import Record as LogRecord
from backbone.eventlog.embedded import groups, liveness, records
from backbone.eventlog.embedded.groups import Membership, Ownership
from backbone.eventlog.embedded.storage import Storage

_RECHECK_S = 0.2
_LEFT_WITHIN_S = 1.0

log = structlog.get_logger()


class _Look(NamedTuple):
    """What one look at the file found: what is held, where it is read from, and the next records."""

    ownership: Ownership
    starts: dict[int, int]
    fetched: records.Fetched


class EmbeddedConsumer:
    """Reads what the plan of the group gives it; ownership is looked up with every read."""

    def __init__(
        self,
        storage: Storage,
        names: Mapping[int, TopicPartition],
        membership: Membership,
        session_timeout_s: float,
        on_close: Callable[["EmbeddedConsumer"], None],
    ) -> None:
        self._storage = storage
        self._names = names
        self._me = membership
        self._session_timeout_s = session_timeout_s
        self._on_close = on_close
        self._folder = members_folder(storage.path)
        self._life = _life_sign(self._folder, membership.member_id)
        self._joined = False
        self._epochs: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._turn = 0
        self._paused: frozenset[TopicPartition] = frozenset()
        self._generation = 0
        self._closed = False

    @property
    def assignment(self) -> Assignment:
        """See Consumer."""
        return Assignment(self._generation, frozenset(self._names[id_] for id_ in self._epochs))

    def pause(self, places: Collection[TopicPartition]) -> None:
        """See Consumer."""
        self._paused = frozenset(places)

    def beat(self) -> None:
        """Tell the other members that this one lives."""
        self._life.beat()

    async def poll(self, max_records: int, timeout_s: float, more: bool = False) -> list[LogRecord]:
        """See Consumer. Giving up and taking partitions happens here, so no batch is in hand then.

        Where `more` is asked for there may be one: then they wait for the next poll.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        self._turn += 1
        while True:
            changes = self._storage.changes
            look = await self._storage.read(partial(self._look, max_records=max_records))
            self._take_over(look)
            if look.fetched.records:
                return look.fetched.records
            if not look.ownership.settled and more:
                return []
            if not look.ownership.settled:
                await self._settle(look.ownership.joined)
                continue
            left_s = deadline - loop.time()
            if left_s <= 0 or self._closed:
                return []
            # Nothing in the file changes when a member dies: look again for that from time to time.
            await self._storage.changed_since(changes, min(left_s, _RECHECK_S))

    async def commit(self, positions: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """See Consumer; the file refuses the offset of a partition that has another owner by now."""
        held = {id_: positions[name] for id_, name in self._held() if name in positions}
        if not held:
            return {}
        stored = await self._storage.write(
            partial(groups.commit, me=self._me, offsets=held, epochs=dict(self._epochs))
        )
        return {self._names[id_]: offset for id_, offset in stored.items()}

    async def rewind(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Consumer."""
        self._positions.update((id_, positions[name]) for id_, name in self._held() if name in positions)

    async def progress(self) -> Mapping[TopicPartition, Progress]:
        """See Consumer."""
        # A poll may take partitions over, or give them up, while the file is asked.
        positions = dict(self._positions)
        ends = await self._storage.read(partial(records.bounds, partition_ids=list(positions)))
        return {
            self._names[id_]: Progress(position, ends[id_].next_offset)
            for id_, position in positions.items()
            if id_ in ends
        }

    async def close(self) -> None:
        """See Consumer."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        self._epochs.clear()
        self._positions.clear()
        leave = partial(groups.leave, group=self._me.group, member_id=self._me.member_id)
        try:
            async with asyncio.timeout(_LEFT_WITHIN_S):
                await self._storage.write(leave)
        except TimeoutError:
            # Without its life sign it is dead to the others, who take it out.
            log.info("eventlog_member_left_in_silence", group=self._me.group, member=self._me.member_id)
        finally:
            self._life.close()

    def _held(self) -> list[tuple[int, TopicPartition]]:
        return [(id_, self._names[id_]) for id_ in self._epochs]

    def _look(self, connection: sqlite3.Connection, max_records: int) -> _Look:
        ownership = groups.look(connection, self._me, self._alive)
        starts = {
            id_: self._positions[id_] if self._epochs.get(id_) == epoch else ownership.committed.get(id_, 0)
            for id_, epoch in ownership.epochs.items()
        }
        # Each poll begins with another partition, so that a long one does not hold up the others.
        order = sorted(starts)
        turn = self._turn % len(order) if order else 0
        turned = {
            id_: starts[id_] for id_ in order[turn:] + order[:turn] if self._names[id_] not in self._paused
        }
        # A partition to be given up is given up before it is read on.
        room = max_records if ownership.settled else 0
        return _Look(ownership, starts, records.fetch(connection, self._names, turned, room))

    def _take_over(self, look: _Look) -> None:
        if self._epochs != look.ownership.epochs:
            self._generation += 1
        self._epochs = dict(look.ownership.epochs)
        self._positions = look.starts | look.fetched.positions

    async def _settle(self, joined: bool) -> None:
        if self._joined and not joined:
            self._come_back()
        dead = await self._storage.write(partial(groups.settle, me=self._me, alive=self._alive))
        self._joined = True
        for member_id in dead:
            liveness.forget(self._folder, member_id)
            log.info("eventlog_member_dead", group=self._me.group, member=member_id)

    def _come_back(self) -> None:
        """Become a new member: the others took this one for dead, and its life sign away."""
        me = new_membership(self._me.group, self._me.topics)
        former, self._life = self._life, _life_sign(self._folder, me.member_id)
        self._me = me
        former.close()

    def _alive(self, member_id: str) -> bool:
        return liveness.is_alive(self._folder, member_id, self._session_timeout_s)


def new_membership(group: str, topics: tuple[str, ...]) -> Membership:
    """Return a membership under an id that no other member has."""
    return Membership(group, uuid.uuid4().hex, topics)


def members_folder(path: Path) -> Path:
    """Return the folder of the members' life signs, beside the file."""
    return path.with_name(f"{path.name}-members")


async def beat_forever(consumers: Callable[[], list[EmbeddedConsumer]], interval_s: float) -> None:
    """Keep all members of this process alive for as long as its loop runs."""

    async def beat() -> None:
        failures = []
        for consumer in consumers():
            try:
                consumer.beat()
            except OSError as error:
                # The others are no less alive.
                failures.append(error)
        if failures:
            raise failures[0]

    await keep_doing("life signs of an event log's members", beat, interval_s)


def _life_sign(folder: Path, member_id: str) -> liveness.LifeSign:
    try:
        return liveness.LifeSign(folder, member_id)
    except OSError as error:
        raise Unavailable(DEPENDENCY, f"cannot join a group: {error}") from error
