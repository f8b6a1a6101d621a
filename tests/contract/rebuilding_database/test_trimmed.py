"""A log that was trimmed below its start: what cannot be restored is said, and nothing is swapped in."""

from backbone.settings import Settings
from rebuilder.database.ways import Ways
from schemas.events import decode_stream_event
from schemas.topics import MESSAGES_CREATED
from tests.contract.rebuilding_database.conftest import rebuild
from tests.support.backend import Backend
from tests.support.trimming import trim, trim_all
from tests.support.write_side import Users, lose, tables_of


async def test_it_says_what_cannot_be_restored(backend: Backend, users: Users, settings: Settings) -> None:
    """Given a log without its first post, the topic's beginning, the channel and the number are named."""
    first = (await backend.told(MESSAGES_CREATED))[0]
    event = decode_stream_event(first.value or b"")
    await trim(settings, first.partition, first.offset + 1)
    before = await tables_of(backend.ports.database)
    report = await rebuild(backend)
    assert report.outcome == "refused"
    assert report.beginnings["messages.created"][first.partition] == first.offset + 1
    lost = f"channel {event.payload.channel_id!r}: event {event.sequence:,} is missing"
    assert report.gaps == (lost,)
    assert "messages.created begins at offsets" in str(report.reason)
    assert await tables_of(backend.ports.database) == before


async def test_whole_channels_may_be_lost_with_a_beginning(
    backend: Backend, users: Users, settings: Settings
) -> None:
    """Given a trimmed log and no live table that could name what it lacks, only the told to goes on."""
    await trim_all(settings)
    await backend.post("later", "bora", "the only one that is left")
    await backend.relay()
    database = backend.ports.database
    await lose(database)
    nothing = await tables_of(database)
    refused = await rebuild(backend)
    assert (refused.outcome, refused.exit_code) == ("refused", 1)
    assert "perhaps with whole channels" in str(refused.reason)
    assert "messages.created begins at offsets" in str(refused.reason)
    assert await tables_of(database) == nothing
    accepted = await rebuild(backend, Ways(accept_differences=True))
    assert (accepted.outcome, accepted.counts.messages) == ("swapped", 1)
    assert any(line.startswith("the log lacks its beginning: ") for line in accepted.lines())
