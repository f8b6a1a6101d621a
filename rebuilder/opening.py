"""Opens what a rebuild reads: the log, or the archive that goes on in it."""

from backbone.archive.reading import Archive
from backbone.settings import Settings
from backbone.wiring import Ports, open_archive
from rebuilder.archived import ArchivedLog
from rebuilder.patience import patiently
from rebuilder.readers import Log


async def open_log(settings: Settings, ports: Ports, source: str) -> Log:
    """Return what `source` reads. Raises Unfit, Unavailable or SetupError."""
    if source != "archive":
        return ports.eventlog
    storage = open_archive(settings.archive)
    log = ArchivedLog(ports.eventlog, Archive(storage, ports.eventlog.full_name), storage.url)
    await patiently(log.check)
    return log
