"""Who is to be told of a message, and what is to be taken back: decided from events and what is stored.

Guarantees: the events of one message lead to the same notifications (user, message, reason, retracted)
in whatever order and however often they come, as long as the channel's members stay the same:

- A user has one notification per message and reason, ever. Each event that mentions the user makes it,
  where there is none yet; an event that was applied before makes none, whoever has joined since.
- It is retracted when a later version no longer mentions the user, or deletes the message. When that
  version is known already, the notification is born retracted. A mention that comes back changes nothing.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import assert_never

import msgspec

from schemas.events import MessageCreated, MessageDeleted, MessagesEvent, MessageUpdated
from schemas.messages import MENTION_CHANNEL


class Mentioning(msgspec.Struct, frozen=True, array_like=True):
    """One list of mentions, and the versions of the message that carried it, rising."""

    mentions: tuple[str, ...]
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """All that is kept of a message: which version mentioned whom, and whether it was deleted."""

    history: tuple[Mentioning, ...] = ()
    deleted: bool = False

    @property
    def version(self) -> int:
        """The newest version applied, 0 for none."""
        return max((entry.versions[-1] for entry in self.history), default=0)

    def applied(self, version: int) -> bool:
        """Say whether the event of this version was applied before."""
        return any(version in entry.versions for entry in self.history)

    def dropped(self, user_id: str) -> bool:
        """Say whether a version that mentions the user is followed by one that does not.

        `@channel` is taken to mention everyone who has a notification of the message: whoever leaves
        the channel keeps what was sent.
        """
        mentioned = [entry.versions[0] for entry in self.history if _covers(entry.mentions, user_id)]
        unmentioned = [entry.versions[-1] for entry in self.history if not _covers(entry.mentions, user_id)]
        return bool(mentioned and unmentioned) and min(mentioned) < max(unmentioned)

    def after(self, event: MessagesEvent) -> "Known":
        """Return what is known once `event` is applied too."""
        mentions = mentions_of(event)
        entries = {entry.mentions: entry.versions for entry in self.history}
        entries[mentions] = tuple(sorted({*entries.get(mentions, ()), event.sequence}))
        history = tuple(Mentioning(*entry) for entry in sorted(entries.items()))
        return Known(history, self.deleted or isinstance(event, MessageDeleted))


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may be told of a channel's messages: everyone where it is public, else its members."""

    private: bool
    members: AbstractSet[str]


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification to be made; `retracted` ones are born without a text."""

    user_id: str
    content: str
    retracted: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be stored: `retract` names users whose notification is taken back.

    One that was read is taken back only when `even_read`: the text of a deleted message goes
    everywhere, whereas a mention that was edited away takes nothing from those who saw it.
    """

    known: Known
    notify: tuple[NewNotification, ...] = ()
    retract: tuple[str, ...] = ()
    even_read: bool = False


def decide(
    known: Known, live: Mapping[str, bool], events: Sequence[MessagesEvent], audience: Audience
) -> Decision:
    """Decide what `events` of one message change.

    `live` tells of each user who has a notification of the message whether it still stands
    (True) or was retracted (False).
    """
    contents: dict[str, str] = {}
    for event in events:
        if known.applied(event.sequence):
            continue
        known = known.after(event)
        if not isinstance(event, MessageDeleted):
            for user_id in recipients(event, audience):
                contents.setdefault(user_id, event.payload.content)
    return Decision(
        known=known,
        notify=tuple(
            NewNotification(user_id, content, known.dropped(user_id))
            for user_id, content in contents.items()
            if user_id not in live
        ),
        retract=tuple(user_id for user_id, stands in live.items() if stands and known.dropped(user_id)),
        even_read=known.deleted,
    )


def recipients(event: MessageCreated | MessageUpdated, audience: Audience) -> list[str]:
    """Return whom the event mentions and who may know of it, its author never among them."""
    mentioned = set(event.payload.mentions)
    if MENTION_CHANNEL in mentioned:
        mentioned |= audience.members
    if audience.private:
        mentioned &= audience.members
    return sorted(mentioned - {event.payload.author_id, MENTION_CHANNEL})


def mentions_of(event: MessagesEvent) -> tuple[str, ...]:
    """Return what the event leaves mentioned, sorted; nothing after a deletion."""
    match event:
        case MessageCreated() | MessageUpdated():
            return tuple(sorted(set(event.payload.mentions)))
        case MessageDeleted():
            return ()
        case _:
            assert_never(event)


def _covers(mentions: tuple[str, ...], user_id: str) -> bool:
    return user_id in mentions or MENTION_CHANNEL in mentions
