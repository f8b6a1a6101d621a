"""What is told of a group's member: what keeps it from its work, to the log and the probes; how far it is."""

from collections.abc import Collection, Mapping

import structlog

from backbone.errors import Busy, Unavailable
from backbone.eventlog import DEPENDENCY, Progress, TopicPartition, metrics
from backbone.eventlog.patience import reason_of
from backbone.health import Health

log = structlog.get_logger()


class MemberTeller:
    """Tells of one member; what it said to be down it takes back by itself."""

    def __init__(self, group: str, health: Health) -> None:
        self._group = group
        self._health = health
        # What the probes show as down, by the reasons for that.
        self._down: dict[str, str] = {}
        self._shown: frozenset[TopicPartition] = frozenset()

    def failed(self, error: Exception) -> None:
        """Tell of a failure: a dependency's under its name, a defect under the group's."""
        if isinstance(error, Unavailable):
            log.warning("consumer_waits", group=self._group, dependency=error.dependency, detail=error.detail)
            if not isinstance(error, Busy):
                self._show_down(error, error.dependency, error.detail)
        else:
            log.error("consumer_failed", group=self._group, error=type(error).__name__, exc_info=error)
            self._show_down(error, self._group, f"stands still: {type(error).__name__}")

    def show_up_but_for(self, reasons: Collection[str]) -> None:
        """Show what is up again: the log, and all that was down, but for these reasons."""
        still = {reason: name for reason, name in self._down.items() if reason in reasons}
        for name in {DEPENDENCY, *self._down.values()} - set(still.values()):
            self._health.up(name)
        self._down = still

    def show(self, progress: Mapping[TopicPartition, Progress]) -> None:
        """Set the gauges of the partitions held, and take those of all others away."""
        metrics.forget_progress(self._group, self._shown - progress.keys())
        metrics.show_progress(self._group, progress)
        self._shown = frozenset(progress)

    def _show_down(self, error: Exception, name: str, detail: str) -> None:
        self._health.down(name, detail)
        self._down[reason_of(error)] = name
