"""Bulk requests on their way: a few at once, what the server has no room for sent again, within bounds.

Guarantees: every item's status is read; only items that were not taken for now are sent again, after a
pause that grows and is spread by chance; at most `IN_FLIGHT` bodies exist at a time, whoever puts. The
portions of a call arrive in any order: external versions keep the newest of each message all the same.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import structlog
from prometheus_client import Counter

from backbone.search import DEPENDENCY, ItemFailure
from backbone.search.elasticsearch.answers import Overloaded
from backbone.search.elasticsearch.bulk import Outcome, Portion, bodies, outcome
from schemas.documents import IndexedDocument

IN_FLIGHT = 4
# Who consumes has a longer patience of its own, and tells of the outage: see the consuming loop.
TAKEN_WITHIN_S = 15.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 3.0

Send = Callable[[str, bytes], Awaitable[Any]]
"""Posts a bulk body to a path; returns the decoded answer or raises the errors of the answers."""

log = structlog.get_logger()
sent_again = Counter(
    "maeari_search_sent_again", "Documents that the index had no room for, and that were sent again."
)


class BulkWriter:
    """Puts documents by bulk requests; `send` talks to the server."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    async def put(self, path: str, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
        """Store documents; return those that are refused for good.

        Raises Unavailable, with the requests under way given up: what the server has of them it may store.
        """
        refused: list[ItemFailure] = []
        portions = bodies(documents)
        try:
            async with asyncio.TaskGroup() as sending:
                for _ in range(IN_FLIGHT):
                    sending.create_task(self._send_on(path, portions, refused))
        except BaseExceptionGroup as group:
            raise _first(group) from group
        return refused

    async def _send_on(self, path: str, portions: Iterator[Portion], refused: list[ItemFailure]) -> None:
        """Send portion after portion; the next body is made once there is a slot for it."""
        while True:
            async with self._slots:
                portion = next(portions, None)
                if portion is None:
                    return
                refused += await self._until_taken(path, portion)

    async def _until_taken(self, path: str, portion: Portion) -> list[ItemFailure]:
        """Send a portion, then what was not taken of it, until all is. Raises Unavailable after a while."""
        refused: list[ItemFailure] = []
        until_s = time.monotonic() + TAKEN_WITHIN_S
        pause_s = FIRST_PAUSE_S
        while True:
            found = await self._attempt(path, portion)
            refused += found.refused
            if not found.not_taken:
                return refused
            wait_s = pause_s * random.uniform(0.5, 1.0)
            if time.monotonic() + wait_s > until_s:
                raise Overloaded(DEPENDENCY, f"documents were not taken: {found.reason}")
            log.info("search_overloaded", documents=len(found.not_taken), reason=found.reason)
            await asyncio.sleep(wait_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            sent_again.inc(len(found.not_taken))
            # A part of a portion fits wherever the portion did.
            (portion,) = bodies(found.not_taken)

    async def _attempt(self, path: str, portion: Portion) -> Outcome:
        try:
            return outcome(portion.documents, await self._send(path, portion.body))
        except Overloaded as error:
            return Outcome([], portion.documents, error.detail)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one of the errors: the portions of one call fail for the same reason, by and large."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
