"""The fold of the log: which version of each message is the newest read so far, and the digests of that.

It keeps two numbers a message and never its text: about 250 bytes a message.
"""

from collections.abc import Iterator
from enum import Enum, auto

from rebuilder.digest import Digests, message_hash
from schemas.documents import IndexedDocument


class Taken(Enum):
    """What a document is to the fold."""

    NEWER = auto()
    """The newest of its message so far: it belongs in the index."""
    OLDER = auto()
    """Known already, in this version or a newer one."""
    CONTRADICTION = auto()
    """Another content under a version that is known: one of the two records is wrong."""


class Fold:
    """Takes documents in any order, any number of times; for `purged_before` see Digests."""

    def __init__(self, purged_before: str = "") -> None:
        self.digests = Digests(purged_before)
        # By id: version, hash, whether it is deleted, and the channel whose digest counts it, if one does.
        self._newest: dict[str, tuple[int, int, bool, str | None]] = {}

    @property
    def messages(self) -> int:
        """How many messages were read, those too that the digests leave out."""
        return len(self._newest)

    def holds_undeleted(self, message_id: str) -> bool:
        """Say whether the newest version read so far of the message is not its deletion."""
        known = self._newest.get(message_id)
        return known is not None and not known[2]

    def counted(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield id, version, hash and channel of each message that the digests count."""
        for message_id, (version, hashed, _, channel) in self._newest.items():
            if channel is not None:
                yield message_id, version, hashed, channel

    def take(self, indexed: IndexedDocument) -> Taken:
        """Fold one document in."""
        message_id, document = indexed
        known = self._newest.get(message_id)
        if known is not None and document.version < known[0]:
            return Taken.OLDER
        hashed = message_hash(message_id, document)
        if known is not None:
            version, known_hash, known_deleted, counted = known
            if document.version == version:
                return Taken.OLDER if hashed == known_hash else Taken.CONTRADICTION
            if counted is not None:
                self.digests.remove(counted, known_hash, known_deleted)
        counts = self.digests.counts(document)
        if counts:
            self.digests.add(document.channel, hashed, document.deleted)
        channel = document.channel if counts else None
        self._newest[message_id] = (document.version, hashed, document.deleted, channel)
        return Taken.NEWER
