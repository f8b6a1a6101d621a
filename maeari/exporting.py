"""`maeari export`: a channel's messages as lines of JSON."""

from pathlib import Path

import click

from maeari.moments import as_of_option
from maeari.process import run_work, settings_or_exit
from maeari.usage import data_option


@click.command()
@data_option
@click.option("--channel", "channel_id", required=True, help="Whose messages.")
@as_of_option
@click.option(
    "--from",
    "source",
    type=click.Choice(["database", "events", "archive"]),
    default="database",
    show_default=True,
    help="What to read.",
)
@click.option("--output", type=click.Path(path_type=Path), help="A file, in place of stdout.")
def export(
    channel_id: str, as_of_ms: int | None, source: str, output: Path | None, data: Path | None
) -> None:
    """Print a channel's messages, oldest first, one a line; deleted ones as owners see them, without text."""
    from rebuilder.export.command import run  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: run(settings, channel_id, source, as_of_ms, output))
