"""What people ask of the parked records: to apply them after all, in order, or to drop them.

A request lies in the partition of the letters that it is about, so that their owner finds it; it is
carried out bit by bit between batches, while new events of its key still queue behind. It ends with its
outcome and a tombstone: a key is stopped until no letter of it is left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import structlog

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, Reader, Record, TopicPartition
from backbone.eventlog.parking import Parking
from backbone.eventlog.parking.ledger import UNKNOWN_OFFSET, Ledger
from backbone.eventlog.parking.letters import (
    Source,
    letter_key,
    parked_record,
    read,
    request_key,
    request_record,
    tombstones,
)
from schemas.dead_letters import DeadLetter, LetterRequest, Outcome
from schemas.topics import ALL_TOPICS, DEAD_LETTERS

# More than a batch brings: a key that is written to all the time is caught up with.
AT_ONCE = 1_000
# Batches are not kept waiting longer than this takes, and one bit of a request.
_ATTEND_S = 1.0

Apply = Callable[[Sequence[Record]], Awaitable[Mapping[Source, str]]]
"""Applies records and returns those that are refused for good, with the reason. Raises Unavailable."""

log = structlog.get_logger()


class Clerk:
    """Carries out the requests that fall to one member of a group."""

    def __init__(self, eventlog: EventLog, parking: Parking, apply: Apply) -> None:
        self._eventlog = eventlog
        self._parking = parking
        self._apply = apply
        self._settled: dict[str, int] = {}
        self._bare_names = {eventlog.full_name(topic.name): topic for topic in ALL_TOPICS}

    async def attend(self) -> int:
        """Look for requests and do some of what they ask; return how many letters or requests were done.

        Raises Unavailable, or what a handler raised: what is not done then is done the next time.
        """
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + _ATTEND_S
        await self._parking.look()
        pending = [
            (number, request, offset)
            for number, ledger in self._parking.ledgers.items()
            for request, offset in list(ledger.requests.values())
        ]
        if pending:
            await self._parking.catch_up()
        done, defect = 0, None
        for number, request, offset in pending:
            try:
                done += 1 + await self._do(number, request, offset)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - raised below, once the other requests had their turn
                defect = error
            if now_s() > until_s:
                break
        if defect is not None:
            raise defect
        return done

    async def _do(self, number: int, request: LetterRequest, offset: int) -> int:
        ledger = self._parking.ledgers[number]
        letters = ledger.letters(request)
        if request.action == "drop":
            asked = letters if request.sources is not None else _before(letters, offset)
            if asked:
                done = len(asked) <= AT_ONCE and (request.sources is not None or len(asked) == len(letters))
                return await self._settle(number, request, list(asked)[:AT_ONCE], None, done=done)
            # What came to lie behind since is not what was to be dropped: it is applied.
        chunk = dict(list(letters.items())[:AT_ONCE])
        applied, reason = await self._replay(number, chunk)
        done = reason is not None or len(applied) == len(letters)
        return await self._settle(number, request, applied, reason, done=done)

    async def _replay(self, number: int, letters: Mapping[Source, int]) -> tuple[list[Source], str | None]:
        """Apply letters in order; return those that could be, and why the first of the others could not."""
        if not letters:
            return [], None
        records, gone = await self._load(number, letters)
        refused = {**gone, **await self._apply(list(records.values()))}
        applied: list[Source] = []
        for source in letters:
            if source in refused:
                return applied, f"{source}: {refused[source]}"
            applied.append(source)
        return applied, None

    async def _settle(
        self,
        number: int,
        request: LetterRequest,
        sources: Sequence[Source],
        reason: str | None,
        *,
        done: bool,
    ) -> int:
        """Write the end of these letters and, where the request is `done`, of it; all of that or nothing."""
        ledger = self._parking.ledgers[number]
        settled = self._settled.get(request.request_id, 0) + len(sources)
        records = tombstones(request.ordering_key, [letter_key(request.group, each) for each in sources])
        if done:
            outcome = Outcome(settled=settled, left=_left(ledger, request, sources), error=reason)
            told = msgspec.structs.replace(request, outcome=outcome)
            records += [request_record(told), *tombstones(request.ordering_key, [request_key(request)])]
        await self._parking.send(number, records)
        for source in sources:
            ledger.remove(source)
        self._settled[request.request_id] = settled
        if done:
            ledger.requests.pop(request.request_id, None)
            del self._settled[request.request_id]
            log.info(
                "dead_letters_request_done",
                group=request.group,
                action=request.action,
                ordering_key=request.ordering_key,
                settled=settled,
                error=reason,
            )
        return len(sources)

    async def _load(
        self, number: int, letters: Mapping[Source, int]
    ) -> tuple[dict[Source, Record], dict[Source, str]]:
        """Return the records of the letters, in order, and those that lie nowhere any more."""
        first, last = min(letters.values()), max(letters.values())
        if first == UNKNOWN_OFFSET:
            raise Unavailable("eventlog", "letters are not read yet")
        place = TopicPartition(DEAD_LETTERS.name, number)
        found: dict[Source, DeadLetter] = {}
        reader = await self._eventlog.reader([DEAD_LETTERS], [number])
        try:
            reader.seek({place: first})
            while reader.positions()[place] <= last:
                for record in await reader.read(AT_ONCE, 1.0):
                    letter = read(record)
                    if (
                        isinstance(letter, DeadLetter)
                        and letters.get(Source.of_letter(letter)) == record.offset
                    ):
                        found[Source.of_letter(letter)] = letter
        finally:
            await reader.close()
        records = {source: await self._record(found.get(source)) for source in letters}
        gone = {source: "the record itself is gone from the log" for source in letters if not records[source]}
        return {source: record for source, record in records.items() if record is not None}, gone

    async def _record(self, letter: DeadLetter | None) -> Record | None:
        """Return the record of a letter; a large one is read where it lies."""
        topic = None if letter is None else self._bare_names.get(letter.topic)
        if letter is None or topic is None:
            return None
        if letter.encoding != "omitted":
            return parked_record(letter, topic.name)
        reader = await self._eventlog.reader([topic], [letter.partition])
        try:
            reader.seek({TopicPartition(topic.name, letter.partition): letter.offset})
            return await _record_at(reader, letter.offset)
        finally:
            await reader.close()


async def _record_at(reader: Reader, offset: int) -> Record | None:
    ((place, end),) = (await reader.end_offsets()).items()
    while reader.positions()[place] <= offset < end:
        for record in await reader.read(1, 1.0):
            return record if record.offset == offset else None
    return None


def _before(letters: Mapping[Source, int], offset: int) -> dict[Source, int]:
    return {source: at for source, at in letters.items() if at < offset}


def _left(ledger: Ledger, request: LetterRequest, settled: Sequence[Source]) -> int:
    present = ledger.by_key.get(request.ordering_key, {})
    return len(present.keys() - set(settled))
