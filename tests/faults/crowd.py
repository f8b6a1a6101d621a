"""Clients that are cut off again and again, and go on behind the last thing they got, on whichever node.

A client judges each frame as it comes: the next number, or it is a fault, which it raises at the end.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from tests.system.fold import Json

# How long a connection lives before its client cuts it, on average.
LIFE_S = 4.0
AGAIN_AFTER_S = 0.25
# Closing is done within this time, or not at all.
CLOSE_S = 1.0


@dataclass
class Scars:
    """What the clients of a crowd went through."""

    cuts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str) -> None:
        self.cuts[kind] = self.cuts.get(kind, 0) + 1

    def __str__(self) -> str:
        return ", ".join(f"{kind} {number}" for kind, number in sorted(self.cuts.items()))


class Client:
    """One user's client: `entries` of the inbox and `events` of a channel, each as it was told first."""

    def __init__(self, user_id: str, channel_id: str | None, nodes: Sequence[str], seed: str) -> None:
        self.user_id = user_id
        self.channel_id = channel_id
        self.entries: list[tuple[int, str, str]] = []
        self.events: list[Json] = []
        self.arrived_s: list[float] = []
        self.faults: list[str] = []
        self._nodes = nodes
        self._chance = random.Random(seed)
        self._epoch: int | None = None
        self._again_s = 0.0

    async def live(self, stop: asyncio.Event, scars: Scars) -> None:
        """Connect, listen and be cut off, until told to stop."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(5):
                    socket = await self._connected()
            except (OSError, TimeoutError, InvalidHandshake, WebSocketException):
                scars.add("not reached")
                await asyncio.sleep(AGAIN_AFTER_S)
                continue
            scars.add(await self._listen(socket, stop))

    async def catch_up(self, entries: int, events: int) -> None:
        """Connect for as long as it takes to have so many of each, and a little longer."""
        async with asyncio.timeout(30):
            socket = await self._connected()
            listening = asyncio.create_task(self._receive(socket))
            try:
                while len(self.entries) < entries or len(self.events) < events:
                    assert not listening.done(), f"{self.user_id}: closed before it had all"
                    await asyncio.sleep(0.02)
                # What comes now would be one too many.
                await asyncio.sleep(0.2)
            finally:
                await _cut(socket)
                await asyncio.gather(listening, return_exceptions=True)

    async def _connected(self) -> ClientConnection:
        node = self._chance.choice(self._nodes)
        return await connect(
            f"{node}?user_id={quote(self.user_id)}&after={len(self.entries)}",
            subprotocols=[Subprotocol("maeari.v1")],
            proxy=None,
            ping_interval=None,
            close_timeout=CLOSE_S,
            max_queue=4,
        )

    async def _listen(self, socket: ClientConnection, stop: asyncio.Event) -> str:
        """Receive until the connection ends in some way; return in which."""
        listening = asyncio.create_task(self._receive(socket))
        way = self._chance.choices(("closed", "cut", "deaf", "left"), (2, 4, 1, 1))[0]
        lives_s = self._chance.expovariate(1 / LIFE_S) + (3 * LIFE_S if way == "left" else 0.0)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({listening, stopping}, timeout=lives_s, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if listening.done():
            return f"by the node {listening.result()}"
        if way == "deaf":
            # Nothing is read any more: what the node sends lies on the way, and is lost with the cut.
            socket.transport.pause_reading()
            await asyncio.sleep(self._chance.uniform(0, 2))
        if way == "closed":
            await socket.close()
        await _cut(socket)
        await asyncio.gather(listening, return_exceptions=True)
        return way

    async def _receive(self, socket: ClientConnection) -> int | None:
        """Take frames until the connection ends; return the code with which the node closed it."""
        if self.channel_id is not None:
            await self._subscribe(socket)
        async for data in _frames(socket):
            frame = json.loads(data)
            match frame["type"]:
                case "hello":
                    self._check_hello(frame)
                case "notification" | "retracted":
                    inner = frame.get("notification", frame)
                    self._take(frame["seq"], frame["type"], inner["notification_id"])
                case "event":
                    self._take_event(frame["event"])
                case "unsubscribed" | "error":
                    # Put out, or not let in again yet.
                    await asyncio.sleep(AGAIN_AFTER_S)
                    await self._subscribe(socket)
                case "subscribed":
                    if frame["sequence"] != len(self.events):
                        self.faults.append(f"subscribed at {frame['sequence']}, not at {len(self.events)}")
                case other:
                    self.faults.append(f"a frame of type {other}")
        return socket.close_code

    async def _subscribe(self, socket: ClientConnection) -> None:
        frame = {"type": "subscribe", "channel_id": self.channel_id, "after_sequence": len(self.events)}
        try:
            await socket.send(json.dumps(frame))
        except WebSocketException:
            return

    def _check_hello(self, hello: Json) -> None:
        if self._epoch not in {None, hello["epoch"]}:
            self.faults.append(f"epoch {hello['epoch']} after {self._epoch}")
        self._epoch = hello["epoch"]
        if hello["latest_seq"] < len(self.entries):
            self.faults.append(f"the inbox ends at {hello['latest_seq']}, before {len(self.entries)}")

    def _take(self, seq: int, kind: str, notification_id: str) -> None:
        if seq != len(self.entries) + 1:
            self.faults.append(f"seq {seq} behind {len(self.entries)}")
        self.entries.append((seq, kind, notification_id))

    def _take_event(self, event: Json) -> None:
        if event["sequence"] != len(self.events) + 1:
            self.faults.append(f"sequence {event['sequence']} behind {len(self.events)}")
        self.events.append(event)
        self.arrived_s.append(monotonic())


@asynccontextmanager
async def crowd_of(clients: Collection[Client]) -> AsyncIterator[Scars]:
    """Let the clients live during the block."""
    stop, scars = asyncio.Event(), Scars()
    living = asyncio.gather(*(client.live(stop, scars) for client in clients))
    try:
        yield scars
    finally:
        stop.set()
        await living


async def caught_up(clients: Sequence[Client], entries: dict[str, int], events: dict[str, int]) -> None:
    """Have each client get what its user's inbox and its channel hold, a few at a time."""
    numbers = count()

    async def next_ones() -> None:
        while (number := next(numbers)) < len(clients):
            client = clients[number]
            await client.catch_up(entries.get(client.user_id, 0), events.get(client.channel_id or "", 0))

    await asyncio.gather(*(next_ones() for _ in range(20)))


async def _frames(socket: ClientConnection) -> AsyncIterator[str]:
    while True:
        try:
            data = await socket.recv()
        except WebSocketException:
            return
        assert isinstance(data, str), "frames are text"
        yield data


async def _cut(socket: ClientConnection) -> None:
    socket.transport.abort()
    await socket.wait_closed()
