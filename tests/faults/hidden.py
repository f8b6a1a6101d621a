"""A private channel under load, one of whose members is put out and let in again all the while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any

import httpx

from backbone.waiting import stopped_within
from tests.faults.ledger import Entry, Ledger, State
from tests.system.fold import Json

OWNER = "숨은이"
EVERY_S = 0.15
POSTS_A_TURN = 5


@dataclass
class Absence:
    """A time in which the guest was out: what was written in it, and when they were about to be let in."""

    written: set[str] = field(default_factory=set)
    ended_s: float = float("inf")


class HiddenChannel:
    """The channel; `absences` are the times in which the guest could not read it."""

    def __init__(self, name: str, guest_id: str, backend: httpx.AsyncClient, ledger: Ledger) -> None:
        self.channel_id = f"{name}-hidden"
        self.absences: list[Absence] = []
        self._guest = f"/channels/{self.channel_id}/members/{guest_id}"
        self._backend = backend
        self._ledger = ledger
        self._numbers = count()

    async def make(self) -> None:
        """Make it, and let the guest in."""
        body = {"channel_id": self.channel_id, "name": self.channel_id, "private": True}
        await self._ask("POST", "/channels", body)
        await self._ask("PUT", self._guest, {"role": "member"})

    async def live(self, stop: asyncio.Event) -> None:
        """Write while the guest is in, and while they are out, in turns; at the end they are in."""
        while not stop.is_set():
            await self._write(None)
            await self._ask("DELETE", self._guest, None)
            absence = Absence()
            self.absences.append(absence)
            await self._write(absence)
            absence.ended_s = monotonic()
            await self._ask("PUT", self._guest, {"role": "member"})
            await stopped_within(stop, EVERY_S)

    async def _write(self, absence: Absence | None) -> None:
        for _ in range(POSTS_A_TURN):
            entry = Entry(f"{self.channel_id}/{next(self._numbers)}", self.channel_id, OWNER)
            state = State(None, f"우리끼리 [{entry.key}]")
            self._ledger.ask(entry, state)
            body = {"channel_id": self.channel_id, "content": state.content}
            message = (await self._ask("POST", "/messages", body)).json()
            entry.message_id = message["message_id"]
            self._ledger.acknowledge(entry, message["version"])
            if absence is not None:
                absence.written.add(message["message_id"])
            await asyncio.sleep(EVERY_S)

    async def _ask(self, method: str, path: str, body: Any) -> httpx.Response:
        headers = {b"X-User-Id": OWNER.encode()}
        answer = await self._backend.request(method, path, json=body, headers=headers)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def leaked(self, events: list[Json], arrived_s: list[float]) -> list[Json]:
        """Return which of the guest's events came while they were out."""
        ended_s = {each: absence.ended_s for absence in self.absences for each in absence.written}
        return [
            event
            for event, at_s in zip(events, arrived_s, strict=True)
            if at_s < ended_s.get(event["payload"].get("message_id", ""), 0.0)
        ]


@asynccontextmanager
async def hidden_channel(
    name: str, guest_id: str, backend_url: str, ledger: Ledger
) -> AsyncIterator[HiddenChannel]:
    """Keep the channel busy during the block."""
    stop = asyncio.Event()
    async with httpx.AsyncClient(base_url=backend_url, timeout=10) as backend:
        channel = HiddenChannel(name, guest_id, backend, ledger)
        await channel.make()
        living = asyncio.create_task(channel.live(stop))
        try:
            yield channel
        finally:
            stop.set()
            await living
