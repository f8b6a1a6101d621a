"""What of a user's notifications is pushed once more: as it was told, out of the log.

Guarantees: ids, bodies and order are those of the first time; what nobody may see any more is left out.
"""

from backbone.errors import Poison
from backbone.eventlog import EventLog
from backbone.eventlog.reading import read_to_end
from backbone.eventlog.topic_state import require
from backbone.mailbox import Mailbox
from notifier.senders import Push, push_of
from notifier.senders.pushing import read_notification
from schemas.topics import NOTIFICATIONS_SENT, partition_of

_ASKED_AT_ONCE = 500


async def pushes_of(eventlog: EventLog, mailbox: Mailbox, user_id: str, after: int) -> list[Push]:
    """Return what a user was to be sent after the number `after`, in order, as far back as the log goes.

    Raises Unavailable, or SetupError where the topic is missing.
    """
    topics = await eventlog.topics()
    require(topics, [NOTIFICATIONS_SENT], eventlog.full_name)
    partition = partition_of(user_id, len(topics[NOTIFICATIONS_SENT.name].end))
    found: dict[str, Push] = {}
    reader = await eventlog.reader([NOTIFICATIONS_SENT], {partition})
    try:
        async for records in read_to_end(reader):
            for record in records:
                if record.key != user_id or record.value is None:
                    continue
                try:
                    push = push_of(read_notification(record))
                except Poison:
                    continue  # nothing that was ever sent
                if push is not None and push.seq > after:
                    found.setdefault(push.push_id, push)
    finally:
        await reader.close()
    return await _visible(mailbox, list(found.values()))


async def _visible(mailbox: Mailbox, pushes: list[Push]) -> list[Push]:
    withdrawn: set[str] = set()
    for start in range(0, len(pushes), _ASKED_AT_ONCE):
        some = pushes[start : start + _ASKED_AT_ONCE]
        withdrawn |= await mailbox.withdrawn([(push.user_id, push.seq) for push in some])
    return [push for push in pushes if push.push_id not in withdrawn]
