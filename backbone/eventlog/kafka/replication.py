"""Which brokers are to hold partitions that have too few replicas."""

from collections import Counter
from collections.abc import Mapping

from backbone.eventlog.kafka.admin import ClusterView

Assignments = Mapping[tuple[str, int], tuple[int, ...]]
"""The brokers of each partition, by full name of its topic and number; the preferred leader comes first."""


def to_reassign(view: ClusterView, replication: int) -> Assignments:
    """Return new brokers for each partition with fewer replicas: those that it has, and more.

    Brokers with the fewest replicas come first, those of other racks before them; and the preferred
    leaders are spread, for a cluster that grew has all of them on its first broker.
    """
    held = Counter(broker for places in view.topics.values() for place in places for broker in place.replicas)
    led = Counter(
        place.replicas[0]
        for places in view.topics.values()
        for place in places
        if len(place.replicas) >= replication
    )
    assignments = {}
    for topic, places in view.topics.items():
        for place in places:
            if len(place.replicas) >= replication:
                continue
            chosen = list(place.replicas)
            while len(chosen) < replication and (others := view.brokers.keys() - set(chosen)):
                racks = {view.brokers.get(broker) for broker in chosen} - {None}
                best = min(others, key=lambda broker: (view.brokers[broker] in racks, held[broker], broker))
                chosen.append(best)
                held[best] += 1
            first = min(chosen, key=lambda broker: (led[broker], broker))
            led[first] += 1
            assignments[topic, place.number] = (first, *(broker for broker in chosen if broker != first))
    return assignments
