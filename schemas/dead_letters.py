"""What `dead-letters` carries: letters, which keep a record that was parked, and requests about them.

A letter's key says where its record came from: `group/topic/partition/offset`; a request's is
`group/request/id`. A letter that was dealt with, or a request that was carried out, is followed by a
tombstone of the same key; the record before a request's tombstone tells its outcome.
"""

from typing import Literal

import msgspec

Action = Literal["replay", "drop"]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a record that a group could not apply, or that waits behind one.

    `ordering_key` is what the record has a place among, or its source where that is not known; records of
    one ordering key are parked in order, except for those `alone`, which stop no others. `value` is the
    record's text, base64 where that is no UTF-8, null for a tombstone or (`omitted`) where the letter would
    be too large: the record itself is where topic (its full name), partition and offset say. `headers` are
    names and base64. `timestamp` is the record's, in epoch milliseconds.
    """

    group: str
    topic: str
    partition: int
    offset: int
    ordering_key: str
    alone: bool
    error: str
    key: str | None
    value: str | None
    encoding: Literal["utf-8", "base64", "omitted"]
    headers: tuple[tuple[str, str], ...] = ()
    timestamp: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request: how many letters were dealt with, how many are left, why it stopped.

    A drop of a whole key replays what came to lie behind its letters since it was asked for.
    """

    replayed: int
    dropped: int
    left: int
    error: str | None = None


class LetterRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks a group to do with an ordering key's letters: with all of them, or just `sources`.

    A source is `topic/partition/offset`, the topic by its full name. With its outcome it names none.
    """

    request_id: str
    action: Action
    group: str
    ordering_key: str
    sources: tuple[str, ...] | None = None
    outcome: Outcome | None = None
