"""The records that letters keep, read again when they are to be applied after all."""

from collections.abc import Mapping
from contextlib import aclosing

from backbone.eventlog import EventLog, Record, TopicPartition
from backbone.eventlog.parking.ledger import require_offsets
from backbone.eventlog.parking.letters import Source, parked_record, read
from backbone.eventlog.reading import read_to_end
from schemas.dead_letters import DeadLetter
from schemas.topics import ALL_TOPICS, DEAD_LETTERS, Topic

# What is applied at once; one record may be larger.
SIZE_BYTES = 4_000_000

Contents = dict[Source, Record | None]
"""The records of letters, in order; None for one that lies nowhere any more."""


async def load(eventlog: EventLog, number: int, letters: Mapping[Source, int]) -> Contents:
    """Return the records of the first letters, in order: as many as are applied at once.

    `letters` are sources with their offsets in this partition of the dead letters. Raises Unavailable.
    """
    require_offsets(letters)
    topics = {eventlog.full_name(topic.name): topic for topic in ALL_TOPICS}
    found, passed = await _letters(eventlog, number, letters)
    contents: Contents = {}
    size = 0
    for source in sorted(letters, key=letters.__getitem__):
        letter = found.get(source)
        # What was not read yet is another time's, and what was read and is not there is gone.
        if size >= SIZE_BYTES or letters[source] >= passed:
            break
        record = await _record(eventlog, letter, topics.get(letter.topic)) if letter else None
        contents[source] = record
        size += len(record.value or b"") if record else 0
    return contents


async def _letters(
    eventlog: EventLog, number: int, wanted: Mapping[Source, int]
) -> tuple[dict[Source, DeadLetter], int]:
    """Return the letters at these offsets, as many as are applied at once, and how far it read."""
    place, last = TopicPartition(DEAD_LETTERS.name, number), max(wanted.values())
    found: dict[Source, DeadLetter] = {}
    size = 0
    reader = await eventlog.reader([DEAD_LETTERS], [number])
    try:
        reader.seek({place: min(wanted.values())})
        async with aclosing(read_to_end(reader)) as batches:
            async for records in batches:
                for record in records:
                    letter = read(record)
                    if isinstance(letter, DeadLetter):
                        source = Source.of_letter(letter)
                        if wanted.get(source) == record.offset:
                            found[source] = letter
                            size += len(record.value or b"")
                if size >= SIZE_BYTES or reader.positions()[place] > last:
                    break
        return found, reader.positions()[place]
    finally:
        await reader.close()


async def _record(eventlog: EventLog, letter: DeadLetter, topic: Topic | None) -> Record | None:
    """Return the record of a letter of this topic; a large one is read where it lies."""
    if topic is None:
        return None
    if letter.encoding != "omitted":
        return parked_record(letter, topic.name)
    reader = await eventlog.reader([topic], [letter.partition])
    try:
        reader.seek({TopicPartition(topic.name, letter.partition): letter.offset})
        async with aclosing(read_to_end(reader)) as batches:
            async for records in batches:
                return records[0] if records[0].offset == letter.offset else None
    finally:
        await reader.close()
    return None
