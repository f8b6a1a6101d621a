"""`maeari`: the command line. Each process and each tool loads when it is called."""

import time
from pathlib import Path

import click

from backbone.errors import SetupError
from backbone.wiring import open_ports
from maeari.archive import archive
from maeari.dead_letters import dead_letters
from maeari.exporting import export
from maeari.listening import listen, notifications
from maeari.moments import as_of_option
from maeari.process import WRONG_SETUP, embedded_only, fail, run_service, run_work, settings_or_exit
from maeari.usage import OneLineGroup, data_option
from maeari.verify import verify
from schemas.topics import TOPICS_OF_GROUP


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="maeari")
def main() -> None:
    """A collaboration backend: one write resounds into search, alerts and archive.

    Settings are MAEARI_… variables, or lines of a file .env; docs/operating.md lists them.
    """


@main.command()
@data_option
def dev(data: Path | None) -> None:
    """Run everything in one process, on files, without a server."""
    from maeari.dev import run  # noqa: PLC0415

    settings = settings_or_exit(data)
    files = embedded_only(settings)
    for name in ("database_url", "eventlog_url", "search_url"):
        if getattr(settings, name) != getattr(files, name):
            click.echo(f"maeari dev runs on files: MAEARI_{name.upper()} is not used", err=True)
    if settings.archive.chosen:
        # Another log's archive, where two would be mixed up.
        click.echo("maeari dev runs on files: MAEARI_ARCHIVE_URL is not used", err=True)
    run_service(files, run)


@main.command()
@data_option
def backend(data: Path | None) -> None:
    """Run the REST API and the relay to the event log."""
    from backend.__main__ import run  # noqa: PLC0415

    run_service(settings_or_exit(data), run)


@main.command()
@data_option
def indexer(data: Path | None) -> None:
    """Run the projection of messages into the search index."""
    from indexer.__main__ import run  # noqa: PLC0415

    run_service(settings_or_exit(data), run)


@main.command()
@data_option
def notifier(data: Path | None) -> None:
    """Run the inbox and the WebSockets."""
    from notifier.__main__ import run  # noqa: PLC0415

    run_service(settings_or_exit(data), run)


@main.command()
@data_option
def archiver(data: Path | None) -> None:
    """Run the archive of all topics, in Parquet files."""
    from archiver.__main__ import run  # noqa: PLC0415

    run_service(settings_or_exit(data), run)


@main.command()
@data_option
def migrate(data: Path | None) -> None:
    """Bring the database's tables to the newest revision."""
    from backbone.database import migrations  # noqa: PLC0415

    settings = settings_or_exit(data)

    async def work() -> None:
        async with open_ports(settings) as ports:
            before, after = await migrations.migrate(ports.database)
        click.echo(
            f"database: revision {after}" + (" already" if before == after else f", was {before or 'empty'}")
        )

    run_work(settings, work)


@main.command()
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
@click.option(
    "--into", default="maeari_rebuild", show_default=True, help="database: the side schema, or file."
)
@click.option("--compare", is_flag=True, help="database: the same as --dry-run.")
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
    from rebuilder.database.rebuild import Ways  # noqa: PLC0415

    settings = settings_or_exit(data)
    ways = Ways(
        source="events" if source == "both" else source,
        into=into,
        compare=compare or dry_run,
        resume=resume,
        skip_poison=skip_poison,
        accept_differences=accept_differences,
    )
    asked = (target, source, dry_run, as_json, drop, rollback, ways)
    run_work(settings, lambda: run(settings, *asked, skip_poison=skip_poison, as_of_ms=as_of_ms))


@main.command()
@data_option
@click.option("--user", "user_id", required=True, help="Whose token it is.")
@click.option("--scope", "scopes", multiple=True, help="A scope, such as impersonate; may be repeated.")
@click.option("--expires-in", default="24h", show_default=True, help="Seconds, or such as 15m, 1h, 7d.")
def token(user_id: str, scopes: tuple[str, ...], expires_in: str, data: Path | None) -> None:
    """Print a token for development, signed with MAEARI_JWT_SECRET."""
    from backbone.clock import SystemClock  # noqa: PLC0415
    from maeari.token import token as new_token  # noqa: PLC0415

    try:
        click.echo(new_token(settings_or_exit(data), user_id, scopes, expires_in, SystemClock()))
    except SetupError as error:
        fail(str(error), WRONG_SETUP)


@main.group()
def topics() -> None:
    """The topics of the event log."""


@topics.command("apply")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@data_option
def topics_apply(dry_run: bool, data: Path | None) -> None:
    """Make the topics that are missing, alter those that are kept otherwise than they should be."""
    from maeari.topics import apply  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: apply(settings, dry_run))


@topics.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
@data_option
def topics_show(as_json: bool, data: Path | None) -> None:
    """Print the topics with their partitions, sizes and offsets."""
    from maeari.topics import show  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: show(settings, as_json))


@main.command()
@click.option("--group", type=click.Choice(list(TOPICS_OF_GROUP)), help="This group only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables: a line each time.")
@click.option("--watch", is_flag=True, help="Go on every 2 s until interrupted.")
@data_option
def lag(group: str | None, as_json: bool, watch: bool, data: Path | None) -> None:
    """Print how far the consumer groups are behind, and how fast they read."""
    from maeari.lag import run  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: run(settings, group, as_json, watch))


main.add_command(archive)
main.add_command(dead_letters)
main.add_command(export)
main.add_command(listen)
main.add_command(notifications)
main.add_command(verify)


@main.group()
def bench() -> None:
    """Measurements, on scratch stores beside those of the settings."""


@bench.command("write")
@click.option(
    "--connections",
    default="1,16,64,256",
    show_default=True,
    callback=lambda _context, _option, value: _numbers(value),
    help="Numbers of connections, each with one request in flight.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Of each load.")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    help="Pairs with and without group commit.  [default: 3 at 64 connections, else 1]",
)
@click.option("--channels", type=click.IntRange(1), default=100, show_default=True)
@click.option("--authors", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--hot/--no-hot", default=True, help="Also the load of all authors on one channel.")
@click.option(
    "--csv",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the figures are written.  [default: bench-results/write-TIME.csv]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_write(
    connections: tuple[int, ...],
    seconds: float,
    repeats: int | None,
    channels: int,
    authors: int,
    hot: bool,
    csv: Path | None,
    as_json: bool,
) -> None:
    """Measure acknowledged posts, with group commit and without, in turns."""
    from bench.write import Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    plan = Plan(connections, seconds, repeats, channels, authors, hot)
    path = csv or Path("bench-results") / f"write-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.csv"
    run_work(settings, lambda: run(settings, plan, path, as_json))


@bench.command("index")
@click.option("--messages", type=click.IntRange(10), default=20_000, show_default=True, help="The backlog.")
@click.option(
    "--one-by-one",
    type=click.IntRange(2),
    default=2_000,
    show_default=True,
    help="How many of them the indexer reads that awaits a request for each.",
)
@click.option("--pairs", type=click.IntRange(1), default=3, show_default=True, help="Runs of each.")
@click.option(
    "--rate", type=click.FloatRange(1, 500), default=50.0, show_default=True, help="Posts a second."
)
@click.option("--seconds", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Of posting.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_index(
    messages: int, one_by_one: int, pairs: int, rate: float, seconds: float, as_json: bool
) -> None:
    """Measure the indexer, in bulk and one by one in turns, and the lag from POST to searchable."""
    from bench.index import Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    plan = Plan(messages, min(one_by_one, messages), pairs, rate, seconds)
    run_work(settings, lambda: run(settings, plan, as_json))


@bench.command("notify")
@click.option("--sockets", type=click.IntRange(1, 3_000), default=2_000, show_default=True, help="The crowd.")
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True, help="Of each fan-out.")
@click.option(
    "--rates",
    default="50,500",
    show_default=True,
    callback=lambda _context, _option, value: _numbers(value),
    help="Mentions a second.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Of each rate.")
@click.option("--node", is_flag=True, help="Compare with a bare `ws` server: needs Node.js and npm.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_notify(
    sockets: int, rounds: int, rates: tuple[int, ...], seconds: float, node: bool, as_json: bool
) -> None:
    """Measure from POST to the frame at a socket, fan-outs to a crowd, and what an idle socket costs."""
    from bench.notify import Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    plan = Plan(sockets, rounds, rates, seconds, node)
    run_work(settings, lambda: run(settings, plan, as_json))


@bench.command("rebuild")
@click.option(
    "--messages",
    default="10000,100000",
    show_default=True,
    callback=lambda _context, _option, value: _numbers(value, 10_000_000),
    help="Sizes of the log.",
)
@click.option("--pairs", type=click.IntRange(1), default=5, show_default=True, help="Of reading and folding.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_rebuild(messages: tuple[int, ...], pairs: int, as_json: bool) -> None:
    """Measure rebuilds of each store from each source, beside reading with nothing done."""
    from bench.rebuild import Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    run_work(settings, lambda: run(settings, Plan(messages, pairs), as_json))


def _numbers(text: str, most: int = 10_000) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in text.split(",") if number.strip().isdecimal())
    if len(numbers) != text.count(",") + 1 or not all(1 <= number <= most for number in numbers):
        raise click.BadParameter(f"{text!r} is not a list of numbers from 1 to {most}, with commas between")
    return numbers


if __name__ == "__main__":
    main()
