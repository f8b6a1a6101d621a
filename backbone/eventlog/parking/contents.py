"""The records that letters keep, read again when they are to be applied after all."""

from collections.abc import Mapping
from contextlib import aclosing

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, EventLog, Record, TopicPartition
from backbone.eventlog.parking.ledger import UNKNOWN_OFFSET
from backbone.eventlog.parking.letters import Source, parked_record, read
from backbone.eventlog.reading import read_to_end
from schemas.dead_letters import DeadLetter
from schemas.topics import ALL_TOPICS, DEAD_LETTERS

# What is applied at once; one record may be larger.
SIZE_BYTES = 4_000_000

Contents = dict[Source, Record | None]
"""The records of letters, in order; None for one that lies nowhere any more."""


async def load(eventlog: EventLog, number: int, letters: Mapping[Source, int]) -> Contents:
    """Return the records of the first letters, in order: as many as are applied at once.

    `letters` are sources with their offsets in this partition of the dead letters. Raises Unavailable.
    """
    if UNKNOWN_OFFSET in letters.values():
        raise Unavailable(DEPENDENCY, "letters that were just written are not read yet")
    found, passed = await _letters(eventlog, number, letters)
    contents: Contents = {}
    size = 0
    for source in sorted(letters, key=letters.__getitem__):
        letter = found.get(source)
        # What was not read yet is another time's, and what was read and is not there is gone.
        if size >= SIZE_BYTES or letters[source] >= passed:
            break
        contents[source] = None if letter is None else await _record(eventlog, letter)
        size += len((contents[source] and contents[source].value) or b"")  # type: ignore[union-attr]
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


async def _record(eventlog: EventLog, letter: DeadLetter) -> Record | None:
    """Return the record of a letter; a large one is read where it lies."""
    topics = {eventlog.full_name(topic.name): topic for topic in ALL_TOPICS}
    topic = topics.get(letter.topic)
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
