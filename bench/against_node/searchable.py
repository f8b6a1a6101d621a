"""An index to be searched: messages that were posted over REST, some in private channels of the searcher."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from bench.against_node.contenders import Maeari
from bench.against_node.elastic import Elastic, opened_elastic
from bench.against_node.questions import PRIVATE_CHANNELS, PUBLIC_CHANNELS, SEARCHER
from bench.backlog import content
from bench.cores import Cores
from bench.failure import MeasurementFailed
from bench.http_client import LoadGenerator
from bench.indexing import fresh_index
from bench.measurement import CREATED
from bench.server import HOST, RunningService

_CONNECTIONS = 64
_WITHIN_S = 600.0
_ASK_EVERY_S = 0.2


@asynccontextmanager
async def searchable(maeari: Maeari, documents: int, cores: Cores) -> AsyncIterator[Elastic]:
    """Post so many messages and have them indexed; the index is gone after the block."""
    async with fresh_index(maeari.stores), opened_elastic(maeari.stores) as elastic:
        async with maeari.backend(cores.server) as backend, maeari.indexer(cores.server):
            await send(backend, _channels(backend.port), len(PRIVATE_CHANNELS), 1)
            await send(backend, _messages(backend.port, documents), documents, _CONNECTIONS)
            await until_indexed(elastic, documents)
        yield elastic


async def until_indexed(elastic: Elastic, documents: int, within_s: float = _WITHIN_S) -> None:
    """Wait until the index holds so many. Raises MeasurementFailed."""
    deadline_s = time.monotonic() + within_s
    # To count what can be found costs a refresh: only once enough was written.
    while await elastic.written() < documents or await elastic.documents() < documents:
        if time.monotonic() > deadline_s:
            raise MeasurementFailed(f"{documents:,} documents were not indexed within {within_s:g} s")
        await asyncio.sleep(_ASK_EVERY_S)
    if (found := await elastic.documents()) != documents:
        raise MeasurementFailed(f"the index has {found:,} of {documents:,} documents")


async def send(backend: RunningService, requests: Iterator[bytes], number: int, connections: int) -> None:
    """Send these requests. Raises MeasurementFailed where fewer than `number` are acknowledged."""
    generator = LoadGenerator(requests, CREATED)
    try:
        await generator.connect(HOST, backend.port, connections)
        tally = await generator.run(_WITHIN_S)
    finally:
        generator.close()
    if tally.acknowledged != number:
        raise MeasurementFailed(f"{tally.acknowledged:,} of {number:,} requests were acknowledged")


def _channels(port: int) -> Iterator[bytes]:
    for channel_id in PRIVATE_CHANNELS:
        yield _request(port, "/channels", {"channel_id": channel_id, "name": channel_id, "private": True})


def _messages(port: int, documents: int) -> Iterator[bytes]:
    chance = random.Random(1)
    channel_ids = itertools.cycle(PRIVATE_CHANNELS + PUBLIC_CHANNELS)
    for number, channel_id in enumerate(itertools.islice(channel_ids, documents)):
        yield _request(port, "/messages", {"channel_id": channel_id, "content": content(chance, number)})


def _request(port: int, path: str, body: dict[str, object]) -> bytes:
    encoded = json.dumps(body, ensure_ascii=False).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nX-User-Id: {SEARCHER}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded
