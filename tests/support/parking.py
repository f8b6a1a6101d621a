"""A consumer group's parking, driven from outside: members, letters and requests of a test's own."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, Record
from backbone.eventlog.batches import BatchLimits
from backbone.eventlog.consumer import ConsumingLoop
from backbone.eventlog.parking.letters import request_record
from backbone.health import Health
from schemas.dead_letters import Action, LetterRequest
from schemas.topics import DEAD_LETTERS, MESSAGES_CREATED, MESSAGES_UPDATED
from tests.support.consuming import Effects, read_text
from tests.support.eventlog import append, read_all
from tests.support.waiting import until

GROUP = "g"
TOPICS = (MESSAGES_CREATED, MESSAGES_UPDATED)
LIMITS = BatchLimits(records=10, poll_s=0.05)


class Member:
    """One member of the group, with the effects that it had."""

    def __init__(self, log: EventLog, effects: Effects) -> None:
        self.log = log
        self.effects = effects
        self.health = Health("eventlog")
        self.loop = ConsumingLoop(log, GROUP, TOPICS, read_text, effects, self.health, limits=LIMITS)

    async def step(self) -> None:
        """Make a step; what is not available is tried again by the next."""
        with suppress(Unavailable):
            await self.loop.step()

    async def step_for_ever(self) -> None:
        """Step until one of the steps fails."""
        while True:
            await self.loop.step()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Step until the condition holds."""

        async def holds() -> bool:
            await self.step()
            return condition()

        await until(holds, within_s=20, every_s=0)

    async def until_applied(self, *texts: str) -> None:
        """Step until just these are applied, in this order."""
        await self.until(lambda: len(self.effects.applied) >= len(texts))
        assert self.effects.applied == list(texts)


@asynccontextmanager
async def member(log: EventLog, effects: Effects | None = None) -> AsyncIterator[Member]:
    """Give a member, which leaves the group at the end of the block."""
    made = Member(log, effects or Effects())
    try:
        yield made
    finally:
        await made.loop.close()


async def letters(log: EventLog) -> list[dict[str, Any]]:
    """Return the letters that live, in their order, each with its `place` in the dead letters."""
    live: dict[str, Record] = {}
    for record in await read_all(log, DEAD_LETTERS):
        key = record.key or ""
        live.pop(key, None)
        if record.value is not None:
            live[key] = record
    return [
        json.loads(record.value or b"") | {"place": record.key, "lies_in": record.partition}
        for record in live.values()
    ]


async def parked(log: EventLog) -> list[str]:
    """Return the texts of the records that are parked, in order."""
    return [letter["value"] for letter in await letters(log)]


async def ask(log: EventLog, action: Action, key: str, *sources: str) -> str:
    """Ask the group to replay or drop a key's letters; return the id of the request."""
    request = LetterRequest(
        request_id=uuid.uuid4().hex, action=action, group=GROUP, ordering_key=key, sources=sources or None
    )
    await append(log, [request_record(request)])
    return request.request_id


async def outcome(log: EventLog, request_id: str) -> dict[str, Any] | None:
    """Return what became of a request, None while that is open."""
    told = None
    for record in await read_all(log, DEAD_LETTERS):
        if record.key == f"{GROUP}/request/{request_id}":
            if record.value is None:
                return told
            told = json.loads(record.value)["outcome"]
    return None
