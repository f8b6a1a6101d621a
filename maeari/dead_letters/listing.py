"""`maeari dead-letters list` and `show`: reads only."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import click
import msgspec

from backbone.eventlog.parking.letters import BEHIND, Source
from backbone.settings import Settings
from backbone.wiring import open_ports
from maeari.columns import aligned, plain
from maeari.dead_letters.letters import Letter, living, without_content
from schemas.clock import format_ms

_LONGEST_ERROR = 70


class StoppedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The letters of one ordering key of a group; those `alone` stop nothing, and are a line each."""

    group: str
    ordering_key: str
    alone: bool
    records: int
    since: str
    first: str
    error: str


async def print_keys(settings: Settings, group: str | None, key: str | None, as_json: bool) -> None:
    """Print a line for each key that is stopped, and for each letter alone."""
    async with open_ports(settings) as ports:
        letters = await living(ports.eventlog, group, key, without_content)
    keys = list(stopped_keys(letters))
    if as_json:
        click.echo(msgspec.json.encode(keys))
        return
    rows = [("group", "key", "first record", "since", "error", "records")]
    for each in keys:
        name = f"{each.ordering_key} (alone)" if each.alone else each.ordering_key
        error = each.error
        cut = error if len(error) <= _LONGEST_ERROR else f"{error[: _LONGEST_ERROR - 1]}…"
        rows.append((each.group, plain(name), each.first, each.since, plain(cut), str(each.records)))
    lines = aligned(rows, numbers_from=5) if keys else ["nothing is parked"]
    click.echo("\n".join(lines))


def stopped_keys(letters: Sequence[Letter]) -> Iterator[StoppedKey]:
    """Yield what is parked, by group and ordering key."""
    for (group, key), found in groupby(letters, lambda each: (each.letter.group, each.letter.ordering_key)):
        of_key = list(found)
        behind = [each for each in of_key if not each.letter.alone]
        lots = [behind] if behind else []
        lots += [[each] for each in of_key if each.letter.alone]
        for lot in lots:
            first = lot[0].letter
            yield StoppedKey(
                group=group,
                ordering_key=key,
                alone=first.alone,
                records=len(lot),
                since=format_ms(lot[0].parked_ms),
                first=str(Source.of_letter(first)),
                # What it waited behind is dealt with by now.
                error="waits for a replay, which will say what stops it"
                if first.error == BEHIND
                else first.error,
            )


async def print_letters(settings: Settings, group: str | None, key: str | None, as_json: bool) -> None:
    """Print the letters whole."""
    async with open_ports(settings) as ports:
        letters = await living(ports.eventlog, group, key, lambda letter: letter)
    if as_json:
        click.echo(msgspec.json.encode([_as_json(each) for each in letters]))
        return
    if not letters:
        click.echo("nothing is parked")
    for number, each in enumerate(letters):
        click.echo("\n".join((*([""] if number else []), *map(plain, _lines(each)))))


def _lines(each: Letter) -> Iterable[str]:
    letter = each.letter
    yield str(Source.of_letter(letter))
    yield f"  group     {letter.group}"
    yield f"  key       {letter.ordering_key}{' (alone: it stops nothing)' if letter.alone else ''}"
    yield f"  error     {letter.error}"
    yield f"  parked    {format_ms(each.parked_ms)}, written {_moment(letter.timestamp)}"
    for name, value in letter.headers:
        yield f"  header    {name}: {base64.b64decode(value).decode(errors='replace')}"
    match letter.encoding:
        case "omitted":
            yield "  value     too large to be kept here: it lies in its topic"
        case "base64":
            yield f"  value     base64 {letter.value}"
        case _:
            yield f"  value     {letter.value}"


def _as_json(each: Letter) -> dict[str, Any]:
    letter = each.letter
    source = str(Source.of_letter(letter))
    return {"source": source, "parked_at": format_ms(each.parked_ms), **msgspec.to_builtins(letter)}


def _moment(timestamp_ms: int) -> str:
    """Return a record's time, which may be anything that a producer wrote."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"at {timestamp_ms} ms"
