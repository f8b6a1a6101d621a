"""`maeari verify`: whether the stores hold the same, and where they do not, what differs."""

from pathlib import Path

import click

from maeari.process import run_work, settings_or_exit
from maeari.usage import data_option, timeout_option


@click.command()
@timeout_option(60.0, "Seconds to wait for a store that is behind.")
@click.option(
    "--digests", is_flag=True, help="With --json: the digests of all channels, not of the first 100."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@data_option
def verify(timeout_s: float, digests: bool, as_json: bool, data: Path | None) -> None:
    """Compare database, log, index and archive; exit code 1 where they differ.

    Changes nothing, and may run while writes go on: what is merely behind is no difference.
    """
    from rebuilder.verify.command import run  # noqa: PLC0415

    settings = settings_or_exit(data)
    run_work(settings, lambda: run(settings, timeout_s, as_json, digests))
