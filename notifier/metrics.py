"""What the notifier counts, for Prometheus."""

from prometheus_client import Counter, Gauge

SOCKETS_OPEN = Gauge("maeari_notifier_sockets_open", "Sockets that are connected to this process.")
ENTRIES_WRITTEN = Counter(
    "maeari_notifier_inbox_entries_written", "Entries that were added to inboxes.", ["kind"]
)
FRAMES_SENT = Counter("maeari_notifier_frames_sent", "Frames that were sent to sockets.", ["type"])
ACKS = Counter("maeari_notifier_acks", "Acknowledgements that clients sent.")
PUSHES = Counter(
    "maeari_notifier_pushes",
    "Pushes, by sender and outcome: taken, not_taken, given_up.",
    ["sender", "outcome"],
)
SOCKETS_CLOSED = Counter("maeari_notifier_sockets_closed", "Sockets that this process closed.", ["code"])
SUBSCRIPTIONS = Gauge(
    "maeari_notifier_subscriptions", "Subscriptions to channels that sockets of this process have."
)
FELL_BEHIND = Counter(
    "maeari_notifier_fell_behind", "Events that a subscribed socket had no room for: it was sent them later."
)
