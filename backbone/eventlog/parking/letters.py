"""Records of `dead-letters`, written and read: letters, requests, and the tombstones that end them."""

import base64
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

import msgspec

from backbone.eventlog import MAX_RECORD_BYTES, NewRecord, Record
from schemas.codec import decode_with
from schemas.dead_letters import DeadLetter, LetterRequest
from schemas.topics import DEAD_LETTERS

LONGEST_REASON = 2_000
BEHIND = "waits behind an earlier record of its key"
"""Why a record is parked that could be applied, but for its turn."""

_LONGEST_KEY = 2_000
_JSON = (("content-type", b"application/json"),)


class Source(NamedTuple):
    """Where a parked record lies; `topic` is its full name."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def of_letter(cls, letter: DeadLetter) -> "Source":
        return cls(letter.topic, letter.partition, letter.offset)

    @classmethod
    def of(cls, text: str) -> "Source":
        """Read what `str` wrote. Raises ValueError."""
        topic, partition, offset = text.rsplit("/", 2)
        return cls(topic, int(partition), int(offset))


class Parked(NamedTuple):
    """A record to be parked, and why."""

    record: Record
    ordering_key: str
    alone: bool
    reason: str


_letters: msgspec.json.Decoder[DeadLetter] = msgspec.json.Decoder(DeadLetter)
_requests: msgspec.json.Decoder[LetterRequest] = msgspec.json.Decoder(LetterRequest)


def letter_of(group: str, full_name: str, parked: Parked) -> NewRecord:
    """Return the letter of a record of the topic `full_name`."""
    record = parked.record
    source = Source(full_name, record.partition, record.offset)
    value, encoding = _as_text(record.value)
    letter = DeadLetter(
        group=group,
        topic=full_name,
        partition=record.partition,
        offset=record.offset,
        ordering_key=parked.ordering_key,
        alone=parked.alone,
        error=parked.reason[:LONGEST_REASON],
        key=record.key and record.key[:_LONGEST_KEY],
        value=value,
        encoding=encoding,
        headers=tuple((name, base64.b64encode(value).decode()) for name, value in record.headers),
        timestamp=record.timestamp_ms,
    )
    body = msgspec.json.encode(letter)
    if len(body) > MAX_RECORD_BYTES - 10_000:
        body = msgspec.json.encode(
            msgspec.structs.replace(letter, value=None, encoding="omitted", headers=())
        )
    return NewRecord(DEAD_LETTERS.name, letter_key(group, source), parked.ordering_key, body, _JSON)


def letter_key(group: str, source: Source) -> str:
    """Return the key of a letter in `dead-letters`."""
    return f"{group}/{source}"


def request_record(request: LetterRequest) -> NewRecord:
    """Return the record of a request, which lies where the letters of its ordering key do."""
    return NewRecord(
        DEAD_LETTERS.name, request_key(request), request.ordering_key, msgspec.json.encode(request), _JSON
    )


def request_key(request: LetterRequest) -> str:
    """Return the key of a request in `dead-letters`."""
    return f"{request.group}/request/{request.request_id}"


def named(texts: Sequence[str]) -> tuple[Source, ...]:
    """Return the sources that texts name, each once; what names none is passed over."""
    sources: dict[Source, None] = {}
    for text in texts:
        with suppress(ValueError):
            sources[Source.of(text)] = None
    return tuple(sources)


def tombstones(ordering_key: str, keys: Sequence[str]) -> list[NewRecord]:
    """Return the records that say that letters or requests of one ordering key are dealt with."""
    return [NewRecord(DEAD_LETTERS.name, key, ordering_key, None) for key in keys]


def read(record: Record) -> DeadLetter | LetterRequest | Source | str | None:
    """Return what a record of `dead-letters` says: a letter, a request, or what of these is dealt with.

    Of a letter that is its source, of a request its id; None where the record says nothing known.
    """
    group, slash, rest = (record.key or "").partition("/")
    if not slash or not group:
        return None
    of_request = rest.startswith("request/")
    try:
        if record.value is None:
            return rest.removeprefix("request/") if of_request else Source.of(rest)
        if of_request:
            return decode_with(_requests, record.value)
        return decode_with(_letters, record.value)
    except (msgspec.DecodeError, ValueError):
        return None


def parked_record(letter: DeadLetter, bare_name: str) -> Record:
    """Return the record that a letter keeps; one that is `omitted` has to be read where it lies."""
    value = None if letter.value is None else letter.value.encode()
    return Record(
        bare_name,
        letter.partition,
        letter.offset,
        letter.key,
        base64.b64decode(value) if value is not None and letter.encoding == "base64" else value,
        tuple((name, base64.b64decode(value)) for name, value in letter.headers),
        letter.timestamp,
    )


def _as_text(value: bytes | None) -> tuple[str | None, Literal["utf-8", "base64"]]:
    if value is None:
        return None, "utf-8"
    try:
        return value.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(value).decode(), "base64"
