"""Rows of messages, more than memory holds: the newest ones at hand, the others in a temporary file.

Guarantees: no more than `at_hand` rows are in memory. What asks or changes them raises NoRoom where the
file cannot be written.
"""

from collections.abc import Iterator, MutableMapping
from sys import intern

import msgspec

from backbone.database.temporary import TemporaryValues
from rebuilder.digest import HASH_BYTES
from rebuilder.verify.folding import Row

AT_HAND = 100_000

# Version, hash, channel, topic, when it was deleted, hash of what an index holds.
_Packed = tuple[int, bytes, str, str, str | None, bytes]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


class SpillingRows(MutableMapping[str, Row]):
    """Rows without details, by message. To be closed."""

    def __init__(self, at_hand: int = AT_HAND) -> None:
        self._at_hand = at_hand
        self._newest: dict[str, Row] = {}
        self._spilled: TemporaryValues | None = None

    def close(self) -> None:
        """Give the file up."""
        if self._spilled is not None:
            self._spilled.close()

    def __getitem__(self, message_id: str) -> Row:
        row = self._newest.get(message_id)
        if row is None and self._spilled is not None:
            value = self._spilled.get((message_id,)).get(message_id)
            row = None if value is None else _unpacked(value)
        if row is None:
            raise KeyError(message_id)
        return row

    def __setitem__(self, message_id: str, row: Row) -> None:
        self._newest[message_id] = row
        if len(self._newest) >= self._at_hand:
            self._spill()

    def __delitem__(self, message_id: str) -> None:
        there = self._newest.pop(message_id, None) is not None
        if self._spilled is not None and self._spilled.remove(message_id):
            there = True
        if not there:
            raise KeyError(message_id)

    def __iter__(self) -> Iterator[str]:
        if self._spilled is None:
            yield from self._newest
            return
        self._spill()
        for message_id, _ in self._spilled.items():
            yield message_id

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all messages."""
        if self._spilled is None:
            yield from self._newest.values()
            return
        self._spill()
        for _, value in self._spilled.items():
            yield _unpacked(value)

    def _spill(self) -> None:
        if self._spilled is None:
            self._spilled = TemporaryValues()
        self._spilled.put({message_id: _packed(row) for message_id, row in self._newest.items()})
        self._newest.clear()


def _packed(row: Row) -> bytes:
    hashed, indexed = row.hashed.to_bytes(HASH_BYTES), row.indexed.to_bytes(HASH_BYTES)
    return _encode((row.version, hashed, row.channel, row.topic, row.deleted_at, indexed))


def _unpacked(value: bytes) -> Row:
    version, hashed, channel, topic, deleted_at, indexed = _decode(value)
    return Row(
        version=version,
        hashed=int.from_bytes(hashed),
        channel=intern(channel),
        topic=topic,
        deleted_at=deleted_at,
        indexed=int.from_bytes(indexed),
    )
