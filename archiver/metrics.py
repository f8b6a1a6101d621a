"""What the archiver tells of itself, beside what all consumers tell."""

from prometheus_client import Counter, Gauge

_TOPIC = ("topic",)

files = Counter("maeari_archive_files", "Files that were put into the archive.", _TOPIC)
records = Counter("maeari_archive_records", "Records in them.", _TOPIC)
stored = Counter("maeari_archive_bytes", "Bytes of them.", _TOPIC)
lost = Counter(
    "maeari_archive_lost_offsets", "Offsets that the log had dropped before they were read.", _TOPIC
)
overtaken = Counter(
    "maeari_archive_overtaken", "Files that were refused, for another had their place.", _TOPIC
)
waiting_records = Gauge("maeari_archive_waiting_records", "Records that wait for their file.")
waiting_bytes = Gauge("maeari_archive_waiting_bytes", "Memory of the records that wait for their file.")
