"""`maeari dead-letters replay` and `drop`: requests are appended to the log, their outcomes waited for."""

import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from backbone.eventlog import EventLog, Reader
from backbone.eventlog.parking.letters import Source, read, request_record
from backbone.eventlog.reading import READ_AT_ONCE
from backbone.settings import Settings
from backbone.wiring import open_ports
from maeari.columns import plain
from maeari.dead_letters.letters import Letter, living, without_content
from schemas.dead_letters import Action, DeadLetter, LetterRequest, Outcome
from schemas.topics import DEAD_LETTERS

DONE, FAILED = 0, 1
_SOURCES_MAX = 1_000


class Choice(NamedTuple):
    """Letters of one key, or of all where that is None; only `sources` where there are some."""

    group: str
    key: str | None
    sources: Sequence[str]


async def ask(settings: Settings, action: Action, choice: Choice, timeout_s: float, sure: bool = True) -> int:
    """Ask the group, wait for its answers, print them; return the exit code."""
    async with open_ports(settings) as ports:
        letters = await living(ports.eventlog, choice.group, choice.key, without_content)
        requests = requests_for(action, choice, letters)
        if requests is None:
            return FAILED
        number = len(choice.sources or letters)
        if not sure and sys.stdin.isatty():
            keys = len({each.ordering_key for each in requests})
            what = f"{number} record{'s' * (number != 1)} of {keys} key{'s' * (keys != 1)}"
            click.confirm(f"{choice.group} will never apply {what}. Drop?", abort=True)
        reader = await ports.eventlog.reader([DEAD_LETTERS])
        try:
            await reader.seek_to_end()
            await _append(ports.eventlog, requests)
            if not timeout_s:
                click.echo("asked: the group does it in its own time")
                return DONE
            outcomes = await _outcomes(reader, {each.request_id for each in requests}, timeout_s)
        finally:
            await reader.close()
    return _told(requests, outcomes, timeout_s)


def requests_for(action: Action, choice: Choice, letters: Sequence[Letter]) -> list[LetterRequest] | None:
    """Return a request for each ordering key; say what is wrong, and return None, where there is none."""
    found = {str(Source.of_letter(each)): each for each, _ in letters}
    unknown = [source for source in choice.sources if source not in found]
    if unknown or not found:
        of_key = "" if choice.key is None else f" of the key {choice.key!r}"
        what = f"the record {unknown[0]}{of_key}" if unknown else f"a record{of_key}"
        click.echo(f"maeari: {choice.group} has not parked {what}: see `maeari dead-letters list`", err=True)
        return None
    # In the order in which they were parked, in whichever they were named.
    asked = frozenset(choice.sources or found)
    by_key: dict[str, dict[str, DeadLetter]] = {}
    for source, each in found.items():
        if source in asked:
            by_key.setdefault(each.ordering_key, {})[source] = each
    requests = []
    for key, its_own in by_key.items():
        # Letters alone are asked for by name: the key's queue, where it has one, is another matter.
        alone = [source for source, each in its_own.items() if each.alone]
        queued = [source for source, each in its_own.items() if not each.alone]
        named = alone + (queued if choice.sources else [])
        lots: list[Sequence[str] | None] = list(batched(named))
        if queued and not choice.sources:
            lots.append(None)
        requests += [
            LetterRequest(
                request_id=uuid.uuid4().hex,
                action=action,
                group=choice.group,
                ordering_key=key,
                sources=None if lot is None else tuple(lot),
            )
            for lot in lots
        ]
    return requests


def batched(sources: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield as many at a time as one request names."""
    for start in range(0, len(sources), _SOURCES_MAX):
        yield sources[start : start + _SOURCES_MAX]


async def _append(eventlog: EventLog, requests: Sequence[LetterRequest]) -> None:
    producer = await eventlog.producer()
    try:
        await producer.send([request_record(each) for each in requests])
    finally:
        await producer.close()


async def _outcomes(reader: Reader, wanted: set[str], timeout_s: float) -> dict[str, Outcome]:
    """Return what became of the requests until then. Raises Unavailable."""
    outcomes: dict[str, Outcome] = {}
    give_up_at = time.monotonic() + timeout_s
    while outcomes.keys() != wanted and (left_s := give_up_at - time.monotonic()) > 0:
        for record in await reader.read(READ_AT_ONCE, min(left_s, 1.0)):
            said = read(record)
            if isinstance(said, LetterRequest) and said.outcome is not None and said.request_id in wanted:
                outcomes[said.request_id] = said.outcome
    return outcomes


def _told(requests: Sequence[LetterRequest], outcomes: dict[str, Outcome], timeout_s: float) -> int:
    """Print what became of each request; return the exit code."""
    code = DONE
    for request in requests:
        outcome = outcomes.get(request.request_id)
        if outcome is None:
            code = FAILED
            click.echo(
                f"maeari: {plain(request.ordering_key)}: no member of {request.group} has done it within"
                f" {timeout_s:g} s; the request stays in the log, and is done as soon as one can",
                err=True,
            )
            continue
        done = [f"dropped {outcome.dropped}"] if request.action == "drop" else []
        done += [f"replayed {outcome.replayed}"] if request.action == "replay" or outcome.replayed else []
        left = f"{outcome.left} still parked" if outcome.left else "none parked any more"
        click.echo(plain(f"{request.ordering_key}: {', '.join(done)}, {left}"))
        if outcome.error is not None:
            code = FAILED
            click.echo(
                plain(f"maeari: {request.ordering_key}: stopped at {outcome.error};")
                + " mend the cause and replay again, or drop that record",
                err=True,
            )
    return code
