"""`maeari dead-letters`: what the consumer groups have parked, and what is to become of it."""

from pathlib import Path

import click

from maeari.process import run_work, settings_or_exit
from maeari.usage import data_option, timeout_option
from schemas.topics import TOPICS_OF_GROUP

_some_group = click.option(
    "--group", type=click.Choice(list(TOPICS_OF_GROUP)), help="Of this consumer group only."
)
_some_key = click.option("--key", help="Of this ordering key only: a channel_id, or a user_id.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_group = click.option(
    "--group", required=True, type=click.Choice(list(TOPICS_OF_GROUP)), help="The consumer group."
)
_key = click.option("--key", help="The ordering key: a channel_id, or a user_id.")
_all = click.option("--all", "every_key", is_flag=True, help="All ordering keys of the group.")
_sources = click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="TOPIC/PARTITION/OFFSET",
    callback=lambda _context, _option, values: tuple(_source(value) for value in values),
    help="Only this record, as `show` names it; may be repeated.",
)
_timeout = timeout_option(30.0, "Seconds to wait for the group; 0: leave the request and go.")


@click.group()
def dead_letters() -> None:
    """Records that a consumer group could not apply, and those that wait behind them.

    A record that cannot be applied stops its ordering key: it and every later one of that key are parked,
    in order, until they are replayed or dropped. Other keys go on.
    """


@dead_letters.command("list")
@_some_group
@_some_key
@_json
@data_option
def list_(group: str | None, key: str | None, as_json: bool, data: Path | None) -> None:
    """Print the keys that are stopped: how many records wait, since when, behind what."""
    from maeari.dead_letters.listing import print_keys  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: print_keys(settings, group, key, as_json))


@dead_letters.command()
@_some_group
@_some_key
@_json
@data_option
def show(group: str | None, key: str | None, as_json: bool, data: Path | None) -> None:
    """Print the parked records whole, in the order in which they would be applied."""
    from maeari.dead_letters.listing import print_letters  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: print_letters(settings, group, key, as_json))


@dead_letters.command()
@_group
@_key
@_all
@_sources
@_timeout
@data_option
def replay(
    group: str,
    key: str | None,
    every_key: bool,
    sources: tuple[str, ...],
    timeout_s: float,
    data: Path | None,
) -> None:
    """Have the group apply what is parked, in order; a key whose records are all applied goes on.

    It stops at the first record that still cannot be applied, and says why. The group's own process does it:
    where none runs, the request waits in the log. With --source, only the first records of a key's queue can
    be named: none is applied before one that is older.
    """
    from maeari.dead_letters.asking import Choice, ask  # noqa: PLC0415

    settings = settings_or_exit(data)
    choice = Choice(group, _keys(key, every_key, sources), sources)
    run_work(settings, lambda: ask(settings, "replay", choice, timeout_s))


@dead_letters.command()
@_group
@_key
@_all
@_sources
@click.option("--yes", is_flag=True, help="Do not ask first, as it does on a terminal.")
@_timeout
@data_option
def drop(
    group: str,
    key: str | None,
    every_key: bool,
    sources: tuple[str, ...],
    yes: bool,
    timeout_s: float,
    data: Path | None,
) -> None:
    """Have the group forget parked records: it will never apply them.

    Without --source that is all of the key's, those that merely wait behind a bad one included. To lose the
    bad one only, drop it by its --source and replay the rest.
    """
    from maeari.dead_letters.asking import Choice, ask  # noqa: PLC0415

    settings = settings_or_exit(data)
    choice = Choice(group, _keys(key, every_key, sources), sources)
    run_work(settings, lambda: ask(settings, "drop", choice, timeout_s, sure=yes))


def _source(text: str) -> str:
    topic, *numbers = text.rsplit("/", 2)
    if not topic or len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise click.BadParameter(f"{text!r} is not TOPIC/PARTITION/OFFSET, as `show` names a record")
    return text


def _keys(key: str | None, every_key: bool, sources: tuple[str, ...]) -> str | None:
    """Return the key that was chosen, None for all or for those of the sources."""
    if (key is not None) + every_key > 1 or (every_key and sources):
        raise click.UsageError("choose --key, --source, or --all")
    if key is None and not every_key and not sources:
        raise click.UsageError("say which: --key KEY, --source TOPIC/PARTITION/OFFSET, or --all")
    return key
