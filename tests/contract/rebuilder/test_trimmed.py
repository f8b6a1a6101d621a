"""A log that was trimmed below its start, or holds garbage: it is named, and nothing is swapped in."""

from backbone.eventlog import NewRecord
from backbone.settings import Settings
from schemas.events import decode_message_event, encode
from schemas.topics import CHANNELS_CHANGED, MESSAGES_CREATED, MESSAGES_UPDATED
from tests.support.eventlog import read_all
from tests.support.histories import History, Platform, history
from tests.support.rebuilding import rebuild
from tests.support.trimming import trim


async def make_channels(platform: Platform, made: History) -> None:
    """Tell the first event of each channel, as much of it as takes its number."""
    for talk in made.talks:
        name = talk.channel_id
        value = encode({"sequence": 1, "payload": {"channel_id": name}})
        await platform.append(NewRecord(CHANNELS_CHANGED.name, name, name, value))


async def test_it_says_exactly_what_cannot_be_restored(platform: Platform, settings: Settings) -> None:
    """Given a log without some of its posts, channels, numbers and the topic's beginning are named."""
    made = history(71)
    await make_channels(platform, made)
    await platform.tell(made.events)
    records = await read_all(platform.eventlog, MESSAGES_CREATED)
    partition = records[0].partition
    of_partition = [record for record in records if record.partition == partition]
    lost = [decode_message_event(record.value or b"") for record in of_partition[:7]]
    left = {event.payload.channel_id for event in made.events if event not in lost}
    await trim(settings, partition, of_partition[7].offset)
    report = await rebuild(platform, "events")
    assert (report.outcome, report.exit_code) == ("refused", 1)
    text = " ".join(report.gaps)
    for event in lost:
        assert event.payload.channel_id in left
        assert f"channel {event.payload.channel_id!r}: event" in text
    assert "event 1 is" not in text
    assert f"messages.created begins at offsets {'0, ' * partition}{of_partition[7].offset}" in str(
        report.reason
    )
    assert "--from archive has what was archived, --from state the last states" in str(report.reason)
    assert len(await platform.search.indices()) == 1
    assert (await rebuild(platform, "state")).outcome == "swapped"
    assert await platform.documents() == made.expected


async def test_a_trimmed_log_of_which_nothing_lacks(platform: Platform, settings: Settings) -> None:
    """Given records that were there twice, and lost once, all is there: it is swapped in."""
    made = history(72, messages=20)
    await make_channels(platform, made)
    await platform.tell(made.events)
    await platform.tell(made.events)
    records = await read_all(platform.eventlog, MESSAGES_CREATED)
    partition = records[0].partition
    ours = [record for record in records if record.partition == partition]
    await trim(settings, partition, ours[len(ours) // 2].offset)
    assert (await rebuild(platform, "events")).outcome == "swapped"
    assert await platform.documents() == made.expected


async def test_garbage_is_left_out_where_that_is_asked_for(platform: Platform) -> None:
    """Given records that nobody can read, they are told and refused, or with `skip_poison` left out."""
    made = history(73, messages=30)
    # At a glance it is the newest of its message.
    beyond = {"message_id": next(iter(made.expected)), "version": 10_000}
    await platform.append(NewRecord(MESSAGES_UPDATED.name, "c", "c", encode({"payload": beyond})))
    await platform.tell(made.events)
    await platform.append(
        NewRecord(MESSAGES_CREATED.name, "c", "c", b"\xff garbage"),
    )
    for source in ("both", "events"):
        refused = await rebuild(platform, source)
        assert (refused.outcome, refused.counts.problems, refused.exit_code) == ("refused", 2, 1)
        assert "--skip-poison leaves them out" in str(refused.reason)
        told = len(made.expected) + 1
        report = await rebuild(platform, source, skip_poison=True, told=told)
        assert (report.outcome, report.counts.problems, report.exit_code) == ("swapped", 2, 0)
        assert {problem.topic for problem in report.problems} == {"messages.created", "messages.updated"}
        assert await platform.documents() == made.expected


async def test_a_contradiction_is_not_left_out(platform: Platform) -> None:
    """Given two texts under one version, no flag says which of them is right."""
    made = history(74, messages=5)
    await platform.tell(made.events)
    created = {
        event.payload.message_id: record
        for record in await read_all(platform.eventlog, MESSAGES_CREATED)
        if (event := decode_message_event(record.value or b"")).payload.version
        == made.expected[event.payload.message_id].version
    }
    record = next(iter(created.values()))  # of a message that never changed
    forged = (record.value or b"").replace(b'"content":"', b'"content":"forged ')
    await platform.append(NewRecord(MESSAGES_CREATED.name, record.key or "", record.key or "", forged))
    report = await rebuild(platform, "events", skip_poison=True)
    assert (report.outcome, report.counts.problems) == ("refused", 1)
