"""Digests: whether two stores hold the same messages, channel by channel, without holding their text.

A message's hash covers everything that the search index keeps of it, in one canonical encoding; a
channel's digest is the sum of its messages' hashes, so that it does not depend on any order and a
newer version of a message replaces the older one in it.
"""

import hashlib
from dataclasses import dataclass

import msgspec

from schemas.documents import SearchDocument

HASH_BYTES = 16
_MODULUS = 1 << (8 * HASH_BYTES)
_encoder = msgspec.json.Encoder()


def canonical(message_id: str, document: SearchDocument) -> bytes:
    """Return the encoding that is hashed; of a deleted message only what a deletion keeps."""
    identity = (message_id, document.channel, document.author, document.sequence, document.version)
    if document.deleted:
        return _encoder.encode((*identity, True))
    return _encoder.encode(
        (
            *identity,
            False,
            document.private,
            document.content,
            document.mentions,
            document.has_attachment,
            document.parent_id,
            document.created_at,
            document.updated_at,
        )
    )


def message_hash(message_id: str, document: SearchDocument) -> int:
    """Return the 128-bit hash of a message in one version."""
    digest = hashlib.blake2b(canonical(message_id, document), digest_size=HASH_BYTES)
    return int.from_bytes(digest.digest())


@dataclass(slots=True)
class ChannelDigest:
    """One channel's messages: how many, how many of them deleted, and the sum of their hashes."""

    messages: int = 0
    deleted: int = 0
    total: int = 0

    def __str__(self) -> str:
        return f"{self.messages}-{self.deleted}-{self.total:0{2 * HASH_BYTES}x}"


class Digests:
    """The digests of a store's channels; equal when the stores hold the same.

    What was deleted before a moment (RFC 3339, none when empty) does not count: a store that purges such
    messages holds the same as one that has yet to.
    """

    def __init__(self, purged_before: str = "") -> None:
        self._purged_before = purged_before
        self._channels: dict[str, ChannelDigest] = {}

    def counts(self, document: SearchDocument) -> bool:
        """Say whether a message is to be counted in."""
        deleted_at = document.updated_at if document.deleted else None
        return deleted_at is None or deleted_at >= self._purged_before

    def add(self, channel: str, hashed: int, deleted: bool) -> None:
        """Count a message in."""
        digest = self._channels.setdefault(channel, ChannelDigest())
        digest.messages += 1
        digest.deleted += deleted
        digest.total = (digest.total + hashed) % _MODULUS

    def add_all(self, other: "Digests") -> None:
        """Count in what other digests have counted."""
        for channel, theirs in other._channels.items():
            digest = self._channels.setdefault(channel, ChannelDigest())
            digest.messages += theirs.messages
            digest.deleted += theirs.deleted
            digest.total = (digest.total + theirs.total) % _MODULUS

    def remove(self, channel: str, hashed: int, deleted: bool) -> None:
        """Take out a message that was counted in."""
        digest = self._channels[channel]
        digest.messages -= 1
        digest.deleted -= deleted
        digest.total = (digest.total - hashed) % _MODULUS

    def of(self, channel: str) -> ChannelDigest:
        """Return a channel's digest: that of nothing where there is none."""
        return self._channels.get(channel, ChannelDigest())

    def names(self) -> set[str]:
        """Return the channels of which there are messages."""
        return set(self._channels)

    def as_text(self) -> dict[str, str]:
        """Return each channel's digest as text, channels in order."""
        return {channel: str(self._channels[channel]) for channel in sorted(self._channels)}

    def differing(self, other: "Digests") -> list[str]:
        """Return the channels that are not the same in both."""
        nothing = ChannelDigest()
        every = self._channels.keys() | other._channels.keys()
        return sorted(
            channel
            for channel in every
            if self._channels.get(channel, nothing) != other._channels.get(channel, nothing)
        )

    @property
    def channels(self) -> int:
        return len(self._channels)

    @property
    def messages(self) -> int:
        return sum(digest.messages for digest in self._channels.values())

    @property
    def deleted(self) -> int:
        return sum(digest.deleted for digest in self._channels.values())
