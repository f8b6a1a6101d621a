"""`maeari rebuild TARGET`: any store made anew out of the log, or out of its archive."""

from collections.abc import Callable
from pathlib import Path

import click

from maeari.moments import as_of_option
from maeari.process import run_work, settings_or_exit
from maeari.usage import Command, data_option
from rebuilder.readers import Source

SIDE = "maeari_rebuild"


@click.group()
def rebuild() -> None:
    """Make a store anew out of the log, prove it, and put it in place of the old one."""


def _source_option(*sources: str) -> Callable[[Command], Command]:
    return click.option(
        "--from",
        "source",
        type=click.Choice(sources),
        default=sources[0],
        show_default=True,
        help="What is folded; archive: events out of its files, then out of the log.",
    )


def _shared(command: Command) -> Command:
    """What all targets understand."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
        click.option("--skip-poison", is_flag=True, help="Pass over records that cannot be read."),
        click.option("--resume", is_flag=True, help="Go on with what a run left that died."),
        click.option(
            "--dry-run", "--compare", is_flag=True, help="Compare the log with what is there; change nothing."
        ),
        data_option,
    ):
        command = option(command)
    return command


@rebuild.command()
@_shared
@_source_option("both", "state", "events", "archive")
@as_of_option
@click.option("--rollback", is_flag=True, help="Go back to the index before, brought up to date first.")
@click.option("--drop", is_flag=True, help="Drop the old index, too; with --as-of the index of that moment.")
def search(
    source: Source,
    as_of_ms: int | None,
    rollback: bool,
    drop: bool,
    dry_run: bool,
    resume: bool,
    skip_poison: bool,
    as_json: bool,
    data: Path | None,
) -> None:
    """Rebuild the search index beside the live one, and swap the alias once they agree."""
    from rebuilder.search.command import run  # noqa: PLC0415
    from rebuilder.search.ways import Ways  # noqa: PLC0415

    settings = settings_or_exit(data)
    ways = Ways(
        source=source,
        until_ms=as_of_ms,
        compare=dry_run,
        rollback=rollback,
        drop=drop,
        resume=resume,
        skip_poison=skip_poison,
    )
    run_work(settings, lambda: run(settings, ways, as_json=as_json))


@rebuild.command()
@_shared
@_source_option("events", "state", "archive")
@click.option("--into", default=SIDE, show_default=True, help="The side schema, or file.")
@click.option("--accept-differences", is_flag=True, help="Swap in whatever the live tables hold.")
def database(
    source: str,
    into: str,
    accept_differences: bool,
    dry_run: bool,
    resume: bool,
    skip_poison: bool,
    as_json: bool,
    data: Path | None,
) -> None:
    """Rebuild the tables of the write side in a side schema, and swap them in once they agree."""
    from rebuilder.database.command import run  # noqa: PLC0415
    from rebuilder.database.ways import Ways  # noqa: PLC0415

    settings = settings_or_exit(data)
    ways = Ways(
        source=source,
        into=into,
        compare=dry_run,
        resume=resume,
        skip_poison=skip_poison,
        accept_differences=accept_differences,
    )
    run_work(settings, lambda: run(settings, ways, as_json=as_json))


@rebuild.command()
@_shared
@_source_option("events", "archive")
def notifications(
    source: str, dry_run: bool, resume: bool, skip_poison: bool, as_json: bool, data: Path | None
) -> None:
    """Rehearse the notifier over the log, and put inboxes right that differ."""
    from rebuilder.notifications.command import run  # noqa: PLC0415
    from rebuilder.notifications.rebuild import Ways  # noqa: PLC0415

    settings = settings_or_exit(data)
    ways = Ways(source=source, compare=dry_run, resume=resume, skip_poison=skip_poison)
    run_work(settings, lambda: run(settings, ways, as_json=as_json))
