"""`maeari rebuild TARGET`: any store made anew out of the log, or out of its archive."""

from pathlib import Path

import click

from maeari.moments import as_of_option
from maeari.process import run_work, settings_or_exit
from maeari.usage import data_option

SIDE = "maeari_rebuild"


@click.command()
@data_option
@click.argument("target", type=click.Choice(["search", "database", "notifications", "analytics"]))
@click.option(
    "--from",
    "source",
    type=click.Choice(["both", "state", "events", "archive"]),
    default="both",
    show_default=True,
    help="Which topics to fold; archive: events out of its files, then out of the log.",
)
@as_of_option
@click.option("--dry-run", is_flag=True, help="Compare the log with what is there; change nothing.")
@click.option("--rollback", is_flag=True, help="Go back to the index before, brought up to date first.")
@click.option("--drop", is_flag=True, help="Drop the old index, too; with --as-of the index of that moment.")
@click.option("--into", default=SIDE, show_default=True, help="database: the side schema, or file.")
@click.option("--compare", is_flag=True, help="The same as --dry-run.")
@click.option("--resume", is_flag=True, help="Go on with what a run left that died.")
@click.option("--skip-poison", is_flag=True, help="Pass over records that cannot be read.")
@click.option("--accept-differences", is_flag=True, help="database: swap in whatever the live tables hold.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def rebuild(
    target: str,
    source: str,
    as_of_ms: int | None,
    dry_run: bool,
    rollback: bool,
    drop: bool,
    into: str,
    compare: bool,
    resume: bool,
    skip_poison: bool,
    accept_differences: bool,
    as_json: bool,
    data: Path | None,
) -> None:
    """Make a store anew out of the log, compare, and put it in place of the old one."""
    from rebuilder.__main__ import run  # noqa: PLC0415
    from rebuilder.database.ways import Ways  # noqa: PLC0415

    foreign = {
        "--rollback": rollback and target != "search",
        "--drop": drop and target != "search",
        "--into": into != SIDE and target != "database",
        "--accept-differences": accept_differences and target != "database",
    }
    if given := [name for name, is_foreign in foreign.items() if is_foreign]:
        raise click.UsageError(f"{given[0]} has no part in rebuild {target}")
    settings = settings_or_exit(data)
    ways = Ways(
        source="events" if source == "both" else source,
        into=into,
        compare=compare or dry_run,
        resume=resume,
        skip_poison=skip_poison,
        accept_differences=accept_differences,
    )
    asked = (target, source, dry_run or compare, as_json, drop, rollback, ways)
    run_work(settings, lambda: run(settings, *asked, skip_poison=skip_poison, as_of_ms=as_of_ms))
