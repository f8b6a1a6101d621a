"""What is told of a group's parking: in the log, to the probes, and in the metrics."""

from collections.abc import Sequence

import structlog

from backbone.eventlog import metrics
from backbone.eventlog.parking import Parking
from backbone.eventlog.parking.letters import BEHIND, Parked
from backbone.health import Health

log = structlog.get_logger()


class ParkingTeller:
    """Tells of the parking of one member."""

    def __init__(self, parking: Parking, health: Health) -> None:
        self._parking = parking
        self._health = health

    def parked(self, parked: Sequence[Parked]) -> None:
        """Tell of records that were parked just now."""
        for record, ordering_key, alone, reason in parked:
            metrics.parked.labels(self._parking.group, record.topic).inc()
            # What only waits behind another was told of with that one.
            if reason != BEHIND:
                log.error(
                    "record_parked",
                    group=self._parking.group,
                    source=str(self._parking.source(record)),
                    ordering_key=ordering_key,
                    alone=alone,
                    reason=reason,
                )
        self.show()

    def show(self) -> None:
        """Show how much is parked."""
        group, keys, records = self._parking.group, self._parking.stopped_keys, self._parking.parked_records
        metrics.parked_keys.labels(group).set(keys)
        metrics.parked_records.labels(group).set(records)
        dependency = f"dead letters of {group}"
        if records:
            told = f"{records} parked records, {keys} stopped keys: see `maeari dead-letters list`"
            self._health.down(dependency, told)
        else:
            self._health.up(dependency)
