"""`maeari bench node` as a whole: what it needs, the measuring, and what it says and writes in the end."""

import sys
from dataclasses import dataclass
from pathlib import Path

from backbone.errors import SetupError
from backbone.progress import shown_progress
from backbone.settings import Settings
from bench.against_node.figures import Figure
from bench.against_node.instructions import supported
from bench.against_node.loads import Track
from bench.against_node.page import page
from bench.against_node.plan import Plan
from bench.against_node.run import SOURCES, Measuring
from bench.against_node.told import as_json, table
from bench.cores import own_core
from bench.failure import MeasurementFailed
from bench.npm import NotInstalled, installed
from bench.report import csv_sheet, machine

FAILED = 1


@dataclass(frozen=True)
class Files:
    """Where the figures are written: each run's as they come, and a page of plots in the end."""

    csv: Path
    html: Path


async def run(settings: Settings, plan: Plan, files: Files, json: bool) -> int:
    """Measure; print the table or JSON on stdout. Return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    figures: list[Figure] = []
    try:
        _require_servers(settings)
        with csv_sheet(files.csv, Figure) as sheet, shown_progress() as progress, own_core() as cores:
            progress.step("install what is measured in Node.js")
            async with installed(SOURCES, "ci") as folder:
                track = Track(cores, await supported())
                surroundings = {
                    **machine("PostgreSQL", "Kafka", str(cores)),
                    "search": "Elasticsearch",
                    "instructions": "perf stat" if track.instructions else "not counted on this machine",
                }

                def write_down(figure: Figure) -> None:
                    sheet.add(figure)
                    figures.append(figure)

                await Measuring(settings, plan, folder, track, progress, write_down).run()
    except (MeasurementFailed, NotInstalled) as error:
        sys.stderr.write(f"maeari: {error}\n")
        return FAILED
    _write(files.html, page(surroundings, figures))
    lines = [as_json(surroundings, figures)] if json else table(surroundings, figures)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stderr.write(f"written to {files.csv} and {files.html}\n")
    return 0


def _require_servers(settings: Settings) -> None:
    """Raise MeasurementFailed where a store is a file: Node.js would have nothing to work on."""
    stores = {
        "MAEARI_DATABASE_URL": settings.database_url.startswith("postgresql"),
        "MAEARI_EVENTLOG_URL": settings.eventlog_url.startswith("kafka://"),
        "MAEARI_SEARCH_URL": settings.search_url.startswith("http"),
    }
    missing = [name for name, server in stores.items() if not server]
    if missing:
        raise MeasurementFailed(f"{', '.join(missing)} must name a server: `export $(make -s stack-up)`")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"--html: cannot write {path}: {error.strerror}; name another file") from error
