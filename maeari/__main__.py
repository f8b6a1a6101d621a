"""`maeari`: the command line. Each process and each tool loads when it is called."""

from pathlib import Path

import click

from backbone.errors import SetupError
from backbone.wiring import open_ports
from maeari.archive import archive
from maeari.benchmarks import bench
from maeari.dead_letters import dead_letters
from maeari.exporting import export
from maeari.listening import listen, notifications
from maeari.process import WRONG_SETUP, embedded_only, fail, run_service, run_work, settings_or_exit
from maeari.rebuilding import rebuild
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
main.add_command(bench)
main.add_command(dead_letters)
main.add_command(export)
main.add_command(listen)
main.add_command(notifications)
main.add_command(rebuild)
main.add_command(verify)


if __name__ == "__main__":
    main()
