"""A message in one canonical encoding, whichever store tells it: what is hashed and compared. Pure.

Guarantees: an event, the state after it and the row that it left give the same facts. Of a deleted message
these are what its deletion tells, and that no text, mention or attachment is left.
"""

import hashlib
from array import array
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from rebuilder.digest import HASH_BYTES, message_hash
from schemas.codec import decode_with
from schemas.documents import SearchDocument
from schemas.events import MessagesEvent
from schemas.messages import Attachment, DeletedMessage, Message

_MARK_BYTES = 8
_encode = msgspec.json.Encoder().encode


class Facts(NamedTuple):
    """What is compared of a message, beside its id; moments as on the wire."""

    channel: str
    author: str
    sequence: int
    version: int
    deleted: bool
    private: bool
    content: str
    mentions: tuple[str, ...]
    attachments: tuple[Attachment, ...]
    parent_id: str | None
    created_at: str | None
    updated_at: str
    deleted_at: str | None
    deleted_by: str | None


FACTS = Facts._fields
INDEXED = SearchDocument.__struct_fields__


class _Kind(msgspec.Struct):
    """What tells how the rest of a state is to be read."""

    deleted: bool = False
    private: bool = False


_kind: msgspec.json.Decoder[_Kind] = msgspec.json.Decoder(_Kind)
_whole: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_gone: msgspec.json.Decoder[DeletedMessage] = msgspec.json.Decoder(DeletedMessage)


def facts_of_event(event: MessagesEvent) -> Facts:
    """Return what an event says of its message."""
    return _facts(event.payload, event.private is True)


def facts_of_state(value: bytes) -> tuple[str, Facts]:
    """Return the id and the facts of a value of the state topic. Raises msgspec.DecodeError."""
    kind = decode_with(_kind, value)
    payload = decode_with(_gone, value) if kind.deleted else decode_with(_whole, value)
    return payload.message_id, _facts(payload, kind.private)


def _facts(payload: Message | DeletedMessage, private: bool) -> Facts:
    identity = (payload.channel_id, payload.author_id, payload.sequence, payload.version)
    if isinstance(payload, DeletedMessage):
        at, by = payload.deleted_at, payload.deleted_by
        return Facts(*identity, True, private, "", (), (), None, None, at, at, by)
    return Facts(
        *identity,
        False,
        private,
        payload.content,
        payload.mentions,
        payload.attachments,
        payload.parent_id,
        payload.created_at,
        payload.updated_at,
        None,
        None,
    )


def hash_of(message_id: str, facts: Facts) -> int:
    """Return the 128-bit hash of a message."""
    encoded = _encode((message_id, *facts))
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=HASH_BYTES).digest())


def hash_of_document(message_id: str, document: SearchDocument) -> int:
    """Return the hash of what an index keeps of a message; of a deleted one nothing should be left."""
    hashed = message_hash(message_id, document)
    left = (document.content, document.mentions, document.has_attachment)
    if not document.deleted or not any(left):
        return hashed
    return hashed ^ int.from_bytes(hashlib.blake2b(_encode(left), digest_size=HASH_BYTES).digest())


def marks_of(values: Iterable[Any]) -> bytes:
    """Return some bytes for each value, so that it can be said which of them differ without keeping any.

    They mean nothing to another process.
    """
    return array("q", map(hash, values)).tobytes()


def marks_of_document(document: SearchDocument) -> bytes:
    """Return the marks of what the index keeps."""
    return marks_of(msgspec.structs.astuple(document))


def differing(names: tuple[str, ...], one: bytes, other: bytes) -> tuple[str, ...]:
    """Return the names of the values whose marks are not the same."""
    places = range(0, len(one), _MARK_BYTES)
    return tuple(
        name
        for name, at in zip(names, places, strict=True)
        if one[at : at + _MARK_BYTES] != other[at : at + _MARK_BYTES]
    )
