"""`maeari verify`: wiring only. Settings and wishes in, the report out, an exit code back."""

import gc
import os
import sys

from backbone.clock import SystemClock
from backbone.progress import shown_progress
from backbone.settings import Settings
from backbone.wiring import open_archive, open_ports
from rebuilder.verify.reading import ArchiveSource
from rebuilder.verify.verification import Verification, Ways
from rebuilder.verify.workers import Workers
from schemas.events import encode


async def run(settings: Settings, timeout_s: float, as_json: bool, every_digest: bool = False) -> int:
    """Compare the stores; return the exit code: 0 where nothing differs, 1 where something does.

    The report goes to stdout, progress to stderr. Raises SetupError or Unavailable, alone or in a group.
    """
    # Rows by the thousand live for one batch: walks of the collector through them would find nothing.
    gc.set_threshold(100_000, 20, 50)
    ways = Ways(timeout_s=timeout_s, now_ms=SystemClock().now_ms(), every_digest=every_digest)
    workers = Workers(settings, cpus) if (cpus := os.cpu_count() or 1) > 1 else None
    async with open_ports(settings) as ports:
        archive = None
        # On servers those archive who say where to; the folder of files may hold another log's archive.
        if settings.archive.chosen or settings.eventlog_url.startswith("embedded:"):
            archive = ArchiveSource(open_archive(settings.archive), ports.eventlog.full_name)
        with shown_progress() as progress:
            report = await Verification(ports, archive, ways, progress, workers).run()
    lines = "".join(f"{line}\n" for line in report.lines())
    sys.stdout.write(encode(report).decode() + "\n" if as_json else lines)
    return report.exit_code
