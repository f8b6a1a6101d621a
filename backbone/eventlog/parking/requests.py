"""What people ask of the parked records: to apply them after all, in order, or to drop them.

A request lies in the partition of the letters that it is about, so that their owner finds it; it is
carried out bit by bit between batches, while new events of its key still queue behind. It ends with its
outcome and a tombstone: a key is stopped until no letter of it is left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
import structlog

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, EventLog, Record
from backbone.eventlog.parking import Parking
from backbone.eventlog.parking.contents import load
from backbone.eventlog.parking.ledger import Ledger, require_offsets
from backbone.eventlog.parking.letters import (
    LONGEST_REASON,
    Source,
    letter_key,
    request_key,
    request_record,
    tombstones,
)
from schemas.dead_letters import LetterRequest, Outcome

# More than a batch brings: a key that is written to all the time is caught up with.
AT_ONCE = 1_000
# Batches are not kept waiting longer than this takes, and one bit of a request.
_ATTEND_S = 1.0

Apply = Callable[[Sequence[Record]], Awaitable[Mapping[Source, str]]]
"""Applies records and returns those that are refused for good, with the reason. Raises Unavailable."""

log = structlog.get_logger()


class _Pending(NamedTuple):
    """A request, where it lies, and the letters that it is about."""

    number: int
    offset: int
    request: LetterRequest
    ledger: Ledger

    @property
    def queue(self) -> Mapping[Source, int]:
        """All letters of the key that wait for one another."""
        return self.ledger.by_key.get(self.request.ordering_key, {})

    @property
    def letters(self) -> dict[Source, int]:
        return self.ledger.letters(self.request)

    @property
    def only_drops(self) -> bool:
        """Whether the next bit of it has no effect that may fail."""
        if self.request.action == "replay":
            return False
        letters = self.letters
        whole = self.request.sources is None
        return not (whole and letters) or min(letters.values()) < self.offset


class Clerk:
    """Carries out the requests that fall to one member of a group."""

    def __init__(self, eventlog: EventLog, parking: Parking, apply: Apply) -> None:
        self._eventlog = eventlog
        self._parking = parking
        self._apply = apply
        self._turn = 0
        # What was done of each request until now: replayed, dropped.
        self._done: dict[str, tuple[int, int]] = {}

    async def attend(self) -> int:
        """Look for requests and do some of what they ask; return how many letters or requests were done.

        Raises Unavailable, or what a handler raised: what is not done then is done the next time.
        """
        await self._parking.look()
        if not any(ledger.requests for ledger in self._parking.ledgers.values()):
            return 0
        await self._parking.catch_up()
        pending = [
            _Pending(number, offset, request, ledger)
            for number, ledger in self._parking.ledgers.items()
            for request, offset in ledger.requests.values()
        ]
        self._forget_others(pending)
        drops = [each for each in pending if each.only_drops]
        replays = [each for each in pending if not each.only_drops]
        self._turn += 1
        turn = self._turn % len(replays) if replays else 0
        return await self._do_some([*drops, *replays[turn:], *replays[:turn]])

    def _forget_others(self, pending: Sequence[_Pending]) -> None:
        """Forget what was done of requests that ended elsewhere, or are another member's by now."""
        live = {each.request.request_id for each in pending}
        self._done = {each: sums for each, sums in self._done.items() if each in live}

    async def _do_some(self, pending: Sequence[_Pending]) -> int:
        """Do a bit of each while there is time; what keeps one from being done is raised at the end."""
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + _ATTEND_S
        done, trouble = 0, list[Exception]()
        for each in pending:
            try:
                done += 1 + await (self._drop if each.request.action == "drop" else self._replay)(each)
            except Unavailable as error:
                # Where the log fails nothing can be done; where an effect's dependency does, drops can.
                if error.dependency == DEPENDENCY:
                    raise
                trouble.append(error)
                break
            except Exception as error:  # noqa: BLE001 - a defect that one letter meets concerns no other request
                trouble.append(error)
            if now_s() > until_s:
                break
        if trouble:
            raise trouble[0]
        return done

    async def _drop(self, pending: _Pending) -> int:
        letters = pending.letters
        if pending.request.sources is None:
            require_offsets(letters)
            before = [source for source, offset in letters.items() if offset < pending.offset]
            if not before and letters:
                # What came to lie behind since is not what was to be dropped: it is applied.
                return await self._replay(pending)
        else:
            before = list(letters)
        dropped = before[:AT_ONCE]
        last = len(dropped) == len(letters)
        return await self._settle(pending, letters, dropped, dropped=len(dropped), last=last)

    async def _replay(self, pending: _Pending) -> int:
        letters = pending.letters
        reason = _out_of_order(letters, pending.queue)
        applied: list[Source] = []
        if letters and reason is None:
            chunk = dict(islice(letters.items(), AT_ONCE))
            applied, reason = await self._apply_after_all(pending.number, chunk)
        last = reason is not None or len(applied) == len(letters)
        return await self._settle(pending, letters, applied, replayed=len(applied), reason=reason, last=last)

    async def _apply_after_all(
        self, number: int, letters: Mapping[Source, int]
    ) -> tuple[list[Source], str | None]:
        """Apply letters in order; return those that could be, and why the first of the others could not."""
        records: dict[Source, Record] = {}
        reason = None
        for source, record in (await load(self._eventlog, number, letters)).items():
            if record is None:
                reason = f"{source}: the record itself is gone from the log"
                break
            records[source] = record
        refused = await self._apply(list(records.values())) if records else {}
        applied: list[Source] = []
        for source in records:
            if source in refused:
                return applied, f"{source}: {refused[source]}"
            applied.append(source)
        return applied, reason

    async def _settle(
        self,
        pending: _Pending,
        letters: Mapping[Source, int],
        sources: Sequence[Source],
        *,
        replayed: int = 0,
        dropped: int = 0,
        reason: str | None = None,
        last: bool,
    ) -> int:
        """Write the end of these letters and, with the `last` ones, of the request: all or nothing."""
        number, _, request, ledger = pending
        before = self._done.get(request.request_id, (0, 0))
        sums = (before[0] + replayed, before[1] + dropped)
        records = tombstones(request.ordering_key, [letter_key(request.group, each) for each in sources])
        if last:
            left = len((pending.queue.keys() | letters.keys()) - set(sources))
            error = reason and reason[:LONGEST_REASON]
            outcome = Outcome(replayed=sums[0], dropped=sums[1], left=left, error=error)
            told = msgspec.structs.replace(request, sources=None, outcome=outcome)
            records += [request_record(told), *tombstones(request.ordering_key, [request_key(request)])]
        await self._parking.send(number, records)
        for source in sources:
            ledger.remove(source)
        self._done[request.request_id] = sums
        if last:
            ledger.requests.pop(request.request_id, None)
            del self._done[request.request_id]
            key, action = request.ordering_key, request.action
            log.info(
                "dead_letters_request_done",
                group=request.group,
                action=action,
                ordering_key=key,
                error=reason,
            )
        return len(sources)


def _out_of_order(letters: Mapping[Source, int], queue: Mapping[Source, int]) -> str | None:
    """Say what is wrong with applying just these letters: one of the same key would have to come before."""
    queued = [source for source in letters if source in queue]
    for wanted, first in zip(queued, queue, strict=False):
        if wanted != first:
            return f"{wanted}: records of a key are applied in order, and {first} comes before"
    return None
