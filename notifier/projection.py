"""Who is to be told of a message, and what is to be taken back: decided from events and what is stored.

Guarantees: the events of one message lead to the same notifications (user, message, reason, retracted)
in whatever order and however often they come:

- A user has one notification per message and reason, ever. Each event that mentions the user makes it,
  where there is none yet; an event that was applied before makes none.
- Whoever may know of it is told: in a private channel those who were members at that very event.
- A mention that told the user is retracted when a later version no longer mentions the user, or deletes the
  message; what is told of a reply only when that is deleted. When that version is known already, the
  notification is born retracted. A mention that comes back changes nothing.
- `@channel` is announced: to all members at that event, some at a time, see the announcements.
"""

from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, assert_never

import msgspec

from schemas.events import MessageCreated, MessageDeleted, MessagesEvent, MessageUpdated
from schemas.messages import MENTION_CHANNEL
from schemas.notifications import Reason


class Mentioning(msgspec.Struct, frozen=True, array_like=True):
    """One list of mentions, and the versions of the message that carried it, rising."""

    mentions: tuple[str, ...]
    versions: tuple[int, ...]


class Told(NamedTuple):
    """Who is told, and why."""

    user_id: str
    reason: Reason


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

    def dropped(self, user_id: str) -> Iterator[tuple[int, bool]]:
        """Yield the versions that mention the user and are followed by one that does not.

        With each it says whether that is by name: `@channel` mentions everyone. Not every mention reached
        the user: see `in_doubt`.
        """
        unmentioned = [entry.versions[-1] for entry in self.history if not _covers(entry.mentions, user_id)]
        for entry in self.history:
            if unmentioned and _covers(entry.mentions, user_id):
                for version in entry.versions:
                    if version < max(unmentioned):
                        yield version, user_id in entry.mentions

    @property
    def withdraws_any(self) -> bool:
        """Say whether anything might have to be taken back: the mentions changed, or the message is gone."""
        return self.deleted or len(self.history) > 1

    def in_doubt(self, told: Told, *, private: bool) -> Iterator[int]:
        """Yield the versions by which what was told is taken back only if the user was a member at them.

        By name everyone is told in a public channel; else, and by `@channel`, those who are in.
        """
        if told.reason == "mention" and not self.deleted:
            yield from (version for version, named in self.dropped(told.user_id) if private or not named)

    def withdraws(self, told: Told, *, private: bool, member_at: Container[int]) -> bool:
        """Say whether what the user was told, or is yet to be told, is to be taken back.

        `member_at` holds those of the versions `in_doubt` at which the user was a member: a mention that told
        the user nothing takes nothing back when it goes. What was read is taken back only when the message is
        deleted: its text goes everywhere, whereas a mention that was edited away takes nothing from those who
        saw it.
        """
        if told.reason != "mention" or self.deleted:
            return self.deleted
        reached = (
            (named and not private) or version in member_at for version, named in self.dropped(told.user_id)
        )
        return any(reached)

    def after(self, event: MessagesEvent) -> "Known":
        """Return what is known once `event` is applied too."""
        mentions = mentions_of(event)
        entries = {entry.mentions: entry.versions for entry in self.history}
        entries[mentions] = tuple(sorted({*entries.get(mentions, ()), event.sequence}))
        history = tuple(Mentioning(*entry) for entry in sorted(entries.items()))
        return Known(history, self.deleted or isinstance(event, MessageDeleted))


_What = tuple[str, int]
"""What is told: a content, and when it was written."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is there to be told of one event: everyone where the channel is public, else its `members`.

    `members` holds at least those of the members who might be told; `thread` those who wrote before in the
    thread that the message is a reply in.
    """

    private: bool
    members: AbstractSet[str] = frozenset()
    thread: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification to be made. It happened at an epoch ms."""

    user_id: str
    reason: Reason
    content: str
    happened_at: int

    @property
    def told(self) -> Told:
        """Return who is told, and why."""
        return Told(self.user_id, self.reason)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is to be told to all members of the channel as they were at an event, but for its author."""

    sequence: int
    author_id: str
    content: str
    happened_at: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What is then known of a message, and what is to be told of it."""

    known: Known
    notify: tuple[NewNotification, ...] = ()
    announce: tuple[Announcement, ...] = ()


def decide(
    known: Known, told: Collection[Told], events: Sequence[MessagesEvent], audiences: Mapping[int, Audience]
) -> Decision:
    """Decide what `events` of one message tell; what they take back, `Known.withdraws` says.

    `told` holds who of those whom they concern has a notification already; `audiences` are those of the
    events, by their sequence.
    """
    contents: dict[Told, _What] = {}
    announcements: list[Announcement] = []
    for event in events:
        if known.applied(event.sequence):
            continue
        known = known.after(event)
        if isinstance(event, MessageDeleted):
            continue
        for each in recipients(event, audiences[event.sequence]):
            contents.setdefault(each, (event.payload.content, event.timestamp))
        if MENTION_CHANNEL in event.payload.mentions:
            author_id, content = event.payload.author_id, event.payload.content
            announcements.append(Announcement(event.sequence, author_id, content, event.timestamp))
    return Decision(
        known=known,
        notify=_new(told, contents),
        announce=tuple(announcements),
    )


def announced(
    told: Collection[Told], announcement: Announcement, members: Collection[str]
) -> tuple[NewNotification, ...]:
    """Return what some of the members are told, of whom `told` have it already."""
    wanted = (Told(user_id, "mention") for user_id in members if user_id != announcement.author_id)
    return _new(told, dict.fromkeys(wanted, (announcement.content, announcement.happened_at)))


def _new(told: Collection[Told], contents: Mapping[Told, _What]) -> tuple[NewNotification, ...]:
    return tuple(NewNotification(*each, *what) for each, what in contents.items() if each not in told)


def concerned(event: MessageCreated | MessageUpdated, thread: AbstractSet[str]) -> dict[Reason, set[str]]:
    """Return whom the event concerns by name, may they know of it or not; its author never among them."""
    nobody = {event.payload.author_id, MENTION_CHANNEL}
    replied = thread if isinstance(event, MessageCreated) and event.payload.parent_id else frozenset[str]()
    return {"mention": {*event.payload.mentions} - nobody, "reply": {*replied} - nobody}


def recipients(event: MessageCreated | MessageUpdated, audience: Audience) -> list[Told]:
    """Return whom the event concerns by name, and who may know of it."""
    return [
        Told(user_id, reason)
        for reason, users in concerned(event, audience.thread).items()
        for user_id in sorted(users & audience.members if audience.private else users)
    ]


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
