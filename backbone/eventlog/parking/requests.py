"""What people ask of the parked records: to apply them after all, in order, or to drop them.

A request lies in the partition of the letters that it is about, so that their owner finds it; it is
carried out bit by bit between batches, while new events of its key still queue behind, one request of a
key at a time (`turns.py`). It ends with its outcome and a tombstone: a key is stopped until no letter of
it is left. What keeps one request from being done keeps no other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile

import msgspec
import structlog

from backbone.eventlog import EventLog, Record
from backbone.eventlog.applying import APPLIED_WITHIN_S, Overdue
from backbone.eventlog.parking import Parking
from backbone.eventlog.parking.contents import load
from backbone.eventlog.parking.ledger import require_offsets
from backbone.eventlog.parking.letters import (
    LONGEST_REASON,
    Source,
    letter_key,
    request_key,
    request_record,
    tombstones,
)
from backbone.eventlog.parking.turns import Pending, Turns
from schemas.dead_letters import Outcome

# More than a batch brings: a key that is written to all the time is caught up with.
AT_ONCE = 1_000
# Batches are not kept waiting longer than this takes, and one bit of a request.
_ATTEND_S = 1.0
# Twice as many letters as were applied in this time are applied in time.
_QUICK_S = APPLIED_WITHIN_S / 4

Apply = Callable[[Sequence[Record], bool], Awaitable[Mapping[Source, str]]]
"""Applies records, which stand alone or not; returns those refused for good, with the reason.

Raises Unavailable; Overdue where that takes too long.
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Attended:
    """What came of it: how many letters and requests were dealt with, and what kept others from being."""

    done: int
    troubles: Sequence[Exception]


@dataclass(frozen=True, slots=True)
class _Progress:
    """What was done of a request until now, what was refused, and how many letters are tried at once."""

    at_once: int
    replayed: int = 0
    dropped: int = 0
    refused: Mapping[Source, str] = field(default_factory=dict)


class Clerk:
    """Carries out the requests that fall to one member of a group."""

    def __init__(self, eventlog: EventLog, parking: Parking, apply: Apply) -> None:
        self._eventlog = eventlog
        self._parking = parking
        self._apply = apply
        self._turns = Turns()
        self._progress: dict[str, _Progress] = {}

    @property
    def reasons(self) -> set[str]:
        """What kept things that are asked for from being done the last time, see `reason_of`."""
        return self._turns.reasons

    async def attend(self) -> Attended:
        """Look for requests and do some of what they ask; what cannot be done now is tried again by itself.

        Raises Unavailable where the dead letters themselves are not to be read or written.
        """
        await self._parking.look()
        if any(ledger.requests for ledger in self._parking.ledgers.values()):
            await self._parking.catch_up()
        pending = [
            Pending(number, asked, ledger)
            for number, ledger in self._parking.ledgers.items()
            for asked in ledger.requests.values()
        ]
        self._forget_others(pending)
        return await self._do_some(self._turns.order(pending))

    def _forget_others(self, pending: Sequence[Pending]) -> None:
        """Forget what was done of requests that ended elsewhere, or are another member's by now."""
        live = {each.asked.request.request_id for each in pending}
        self._progress = {each: progress for each, progress in self._progress.items() if each in live}

    async def _do_some(self, pending: Sequence[Pending]) -> Attended:
        """Do a bit of each while there is time."""
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + _ATTEND_S
        done, troubles = 0, list[Exception]()
        for each in pending:
            if not self._turns.may_try(each, now_s()):
                continue
            only_drops = each.only_drops
            try:
                done += await (self._drop if only_drops else self._replay)(each)
            except Exception as error:  # what one request meets concerns no other
                if not self._parking.owns:
                    raise
                self._turns.failed(each, error, now_s())
                troubles.append(error)
            else:
                self._turns.succeeded(each, only_dropped=only_drops)
            if now_s() > until_s:
                break
        return Attended(done, troubles)

    async def _drop(self, pending: Pending) -> int:
        asked, ledger = pending.asked, pending.ledger
        if asked.sources is None:
            first = dict(islice(pending.queue.items(), AT_ONCE))
            require_offsets(first)
            dropped = [source for source, offset in first.items() if offset < asked.offset]
            last = len(dropped) == len(pending.queue)
        else:
            letters = {**ledger.queued(asked), **ledger.standing_alone(asked)}
            dropped = list(islice(letters, AT_ONCE))
            last = len(dropped) == len(letters)
        progress = self._progress_of(pending)
        progress = replace(progress, dropped=progress.dropped + len(dropped))
        return len(dropped) + await self._settle(pending, dropped, progress, last=last)

    async def _replay(self, pending: Pending) -> int:
        """Apply letters of the queue, up to the first that is refused; after these those that stand alone."""
        progress = self._progress_of(pending)
        queued = pending.ledger.queued(pending.asked)
        alone = {
            source: offset
            for source, offset in pending.ledger.standing_alone(pending.asked).items()
            if source not in progress.refused
        }
        in_queue = bool(queued) and not any(source in queued for source in progress.refused)
        letters = queued if in_queue else alone
        applied: Sequence[Source] = ()
        refused = _out_of_order(pending, queued) if in_queue else {}
        began_s = asyncio.get_running_loop().time()
        if letters and not refused:
            chunk = dict(islice(letters.items(), progress.at_once))
            applied, refused = await self._apply_after_all(pending, chunk, alone=not in_queue)
        tried = len(applied) + len(refused)
        untried = 0 if in_queue and refused else len(letters) - tried
        if in_queue:
            untried += len(alone)
        quick = asyncio.get_running_loop().time() - began_s < _QUICK_S
        progress = replace(
            progress,
            # What took too long is tried in smaller bits; that may have been the dependency's trouble.
            at_once=min(AT_ONCE, 2 * progress.at_once) if quick else progress.at_once,
            replayed=progress.replayed + len(applied),
            refused={**progress.refused, **refused},
        )
        return tried + await self._settle(pending, applied, progress, last=not untried)

    async def _apply_after_all(
        self, pending: Pending, letters: Mapping[Source, int], *, alone: bool
    ) -> tuple[list[Source], dict[Source, str]]:
        """Apply letters in order; return those that could be, and why others could not.

        Of letters that do not stand alone only the first can be among the latter: what is behind waits.
        """
        records: list[Record] = []
        refused: dict[Source, str] = {}
        contents = await load(self._eventlog, pending.number, letters)
        for source, record in contents.items():
            if record is not None:
                records.append(record)
                continue
            refused[source] = "the record itself is gone from the log"
            if not alone:
                break
        if records:
            try:
                refused |= await self._apply(records, alone)
            except Overdue:
                smaller = replace(self._progress_of(pending), at_once=max(1, len(records) // 2))
                self._progress[pending.asked.request.request_id] = smaller
                raise
        if alone:
            return [source for source in contents if source not in refused], refused
        applied = list(takewhile(lambda source: source not in refused, contents))
        first = next((source for source in contents if source in refused), None)
        return applied, {} if first is None else {first: refused[first]}

    async def _settle(
        self, pending: Pending, sources: Sequence[Source], progress: _Progress, *, last: bool
    ) -> int:
        """Write the end of these letters and, with the `last` ones, of the request: all or nothing.

        Return how many requests ended.
        """
        number, asked, ledger = pending
        request = asked.request
        records = tombstones(request.ordering_key, [letter_key(request.group, each) for each in sources])
        if last:
            left = len(pending.queue) + len(ledger.standing_alone(asked)) - len(sources)
            error = _told(progress.refused)
            outcome = Outcome(replayed=progress.replayed, dropped=progress.dropped, left=left, error=error)
            told = msgspec.structs.replace(request, sources=None, outcome=outcome)
            records += [request_record(told), *tombstones(request.ordering_key, [request_key(request)])]
        if records:
            await self._parking.send(number, records)
        for source in sources:
            ledger.remove(source)
        self._progress[request.request_id] = progress
        if last:
            ledger.requests.pop(request.request_id, None)
            log.info(
                "dead_letters_request_done",
                group=request.group,
                action=request.action,
                ordering_key=request.ordering_key,
                error=error,
            )
        return int(last)

    def _progress_of(self, pending: Pending) -> _Progress:
        return self._progress.get(pending.asked.request.request_id) or _Progress(at_once=AT_ONCE)


def _out_of_order(pending: Pending, letters: Mapping[Source, int]) -> dict[Source, str]:
    """Say what is wrong with applying just these letters: one of the same key would have to come before."""
    if pending.asked.sources is not None:
        for wanted, first in zip(letters, pending.queue, strict=False):
            if wanted != first:
                return {wanted: f"records of a key are applied in order, and {first} comes before"}
    return {}


def _told(refused: Mapping[Source, str]) -> str | None:
    """Return the first of the reasons why letters were refused, and how many others there are."""
    if not refused:
        return None
    source, reason = next(iter(refused.items()))
    others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return f"{source}: {reason}"[: LONGEST_REASON - len(others)] + others
