"""`maeari archive`: what the archive holds, if all of it is there and whole, and its manifest made anew."""

from pathlib import Path

import click

from maeari.process import run_work, settings_or_exit
from maeari.usage import data_option

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")


@click.group()
def archive() -> None:
    """The archive of all topics, at MAEARI_ARCHIVE_URL."""


@archive.command("list")
@json_option
@data_option
def list_(as_json: bool, data: Path | None) -> None:
    """Print what the archive holds of each partition; with --json each file."""
    from maeari.archive.showing import list_held  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: list_held(settings, as_json))


@archive.command("check")
@json_option
@data_option
def check(as_json: bool, data: Path | None) -> None:
    """Read all files, and say which offsets lack and which files are damaged; exit code 1 where some are."""
    from maeari.archive.showing import check_all  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: check_all(settings, as_json))


@archive.command("mend")
@data_option
def mend(data: Path | None) -> None:
    """Enter files into the manifest that it lacks; while no archiver runs."""
    from maeari.archive.showing import mend_manifest  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: mend_manifest(settings))
