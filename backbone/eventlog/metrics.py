"""What the consumers of a process tell of themselves.

The rates in and out of a partition are those at which `maeari_consumer_end_offset` and
`maeari_consumer_position` grow.
"""

from collections.abc import Collection, Mapping

from prometheus_client import Counter, Gauge, Histogram

from backbone.eventlog import Progress, TopicPartition

_GROUP = ("group",)
_TOPIC = ("group", "topic")
_PLACE = ("group", "topic", "partition")

consumed = Counter("maeari_consumer_records", "Records dealt with and committed.", _PLACE)
passed_over = Counter("maeari_consumer_tombstones", "Records without a value, which say nothing.", _TOPIC)
retried = Counter("maeari_consumer_retries", "Batches with records of the partition that failed.", _PLACE)
parked = Counter("maeari_consumer_parked", "Records parked in the dead letters.", _TOPIC)
parked_keys = Gauge("maeari_consumer_parked_keys", "Ordering keys that are stopped.", _GROUP)
parked_records = Gauge("maeari_consumer_parked_records", "Records that are parked.", _GROUP)
rebalances = Counter(
    "maeari_consumer_rebalances", "Times that the member's partitions were given out.", _GROUP
)
batch_seconds = Histogram("maeari_consumer_batch_seconds", "From a batch's records to its commit.", _GROUP)
lag = Gauge("maeari_consumer_lag", "Records that are not dealt with and committed.", _PLACE)
position = Gauge("maeari_consumer_position", "The next offset that is not.", _PLACE)
end_offset = Gauge("maeari_consumer_end_offset", "The offset after the last record.", _PLACE)


def show_progress(group: str, progress: Mapping[TopicPartition, Progress]) -> None:
    """Set the gauges of the partitions held."""
    for place, (at, end) in progress.items():
        labels = (group, place.topic, str(place.partition))
        position.labels(*labels).set(at)
        end_offset.labels(*labels).set(end)
        lag.labels(*labels).set(max(0, end - at))


def forget_progress(group: str, places: Collection[TopicPartition]) -> None:
    """Take away the gauges of partitions that are another member's by now."""
    for place in places:
        for gauge in (lag, position, end_offset):
            gauge.remove(group, place.topic, str(place.partition))
