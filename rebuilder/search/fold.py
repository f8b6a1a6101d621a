"""The fold of the log: which version of each message is the newest read so far, and the digests of that.

It keeps two numbers a message and never its text, and those in a temporary file: memory does not grow with
the messages, only with their channels.
"""

from collections.abc import Collection, Iterator, Sequence
from enum import Enum, auto

import msgspec

from backbone.database.temporary import TemporaryValues
from rebuilder.digest import HASH_BYTES, Digests, message_hash
from schemas.documents import IndexedDocument


class Taken(Enum):
    """What a document is to the fold."""

    NEWER = auto()
    """The newest of its message so far: it belongs in the index."""
    OLDER = auto()
    """Known already, in this version or a newer one."""
    CONTRADICTION = auto()
    """Another content under a version that is known: one of the two records is wrong."""


class _Known(msgspec.Struct, array_like=True, gc=False):
    """What is kept of a message; `channel` is the one whose digest counts it, if one does."""

    version: int
    hashed: bytes
    deleted: bool
    channel: str | None

    @property
    def number(self) -> int:
        return int.from_bytes(self.hashed)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Known).decode


class Fold:
    """Takes documents in any order, any number of times; for `purged_before` see Digests. To be closed.

    What takes or tells of messages raises NoRoom where the temporary file cannot be written.
    """

    def __init__(self, purged_before: str = "") -> None:
        self.digests = Digests(purged_before)
        self.messages = 0
        """How many messages were read, those too that the digests leave out."""
        self._kept = TemporaryValues()

    def close(self) -> None:
        """Give the temporary file up."""
        self._kept.close()

    def undeleted(self, message_ids: Collection[str]) -> frozenset[str]:
        """Return those messages of which the newest version read so far is not their deletion."""
        return frozenset(each for each, known in self._known(message_ids).items() if not known.deleted)

    def counted(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield id, version, hash and channel of each message that the digests count."""
        for message_id, value in self._kept.items():
            known = _decode(value)
            if known.channel is not None:
                yield message_id, known.version, known.number, known.channel

    def take(self, documents: Sequence[IndexedDocument]) -> list[Taken]:
        """Fold documents in, in their order; return what each of them is."""
        known = self._known({each.message_id for each in documents})
        before = len(known)
        changed: dict[str, _Known] = {}
        taken = [self._take(each, known, changed) for each in documents]
        self._kept.put({message_id: _encode(new) for message_id, new in changed.items()})
        self.messages += len(known) - before
        return taken

    def _take(self, indexed: IndexedDocument, known: dict[str, _Known], changed: dict[str, _Known]) -> Taken:
        message_id, document = indexed
        newest = known.get(message_id)
        if newest is not None and document.version < newest.version:
            return Taken.OLDER
        hashed = message_hash(message_id, document)
        if newest is not None:
            if document.version == newest.version:
                return Taken.OLDER if hashed == newest.number else Taken.CONTRADICTION
            if newest.channel is not None:
                self.digests.remove(newest.channel, newest.number, newest.deleted)
        counts = self.digests.counts(document)
        if counts:
            self.digests.add(document.channel, hashed, document.deleted)
        channel = document.channel if counts else None
        new = _Known(document.version, hashed.to_bytes(HASH_BYTES), document.deleted, channel)
        known[message_id] = changed[message_id] = new
        return Taken.NEWER

    def _known(self, message_ids: Collection[str]) -> dict[str, _Known]:
        return {message_id: _decode(value) for message_id, value in self._kept.get(message_ids).items()}
