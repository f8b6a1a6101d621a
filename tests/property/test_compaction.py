"""The embedded log's compaction, whenever it happens between appends and reads: no last state is missed."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.eventlog import NewRecord, Record
from backbone.eventlog.embedded import EmbeddedEventLog
from schemas.topics import DAY_MS, MESSAGES_STATE, REPLAY_HORIZON_MS
from tests.support.eventlog import append, read_all, read_to_end

Append = tuple[str, bytes | None]
Step = Append | int | str

APPENDS = st.tuples(st.sampled_from("abcd"), st.sampled_from((b"1", b"2", None)))
STEPS = st.lists(APPENDS | st.integers(1, 8) | st.sampled_from(("compact", "read")), max_size=25)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_compaction_at_any_moment(steps: list[Step]) -> None:
    """What is left are each key's last records, where they were, without tombstones past the horizon.

    Once more changes nothing, and a reader that began before knows each last state that is left.
    """
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_check(Path(folder) / "log.sqlite3", steps))


async def _check(path: Path, steps: list[Step]) -> None:
    now_ms = 1_800_000_000_000
    log = EmbeddedEventLog(path, "platform", now_ms=lambda: now_ms)
    await log.apply_topics([MESSAGES_STATE], 1)
    reader = await log.reader([MESSAGES_STATE])
    appended: list[tuple[int, bytes | None, int]] = []
    last: dict[str, tuple[int, bytes | None, int]] = {}
    seen: list[Record] = []
    for step in (*steps, "compact"):
        match step:
            case (key, value):
                last[key] = (len(appended), value, now_ms)
                appended.append(last[key])
                await append(log, [NewRecord(MESSAGES_STATE.name, key, "channel", value)])
            case int(days):
                now_ms += days * DAY_MS
            case "read":
                seen += await reader.read(2, 0.0)
            case _:
                await log.compact(MESSAGES_STATE)
    seen += await read_to_end(reader, max_records=2)
    expected = {
        key: place
        for key, place in last.items()
        if place[1] is not None or place[2] >= now_ms - REPLAY_HORIZON_MS
    }
    left = await read_all(log, MESSAGES_STATE)
    assert {r.key: (r.offset, r.value, r.timestamp_ms) for r in left} == expected
    assert len(left) == len(expected)
    known = {record.key: record.value for record in seen}
    assert {key: known[key] for key in expected} == {key: place[1] for key, place in expected.items()}
    await log.compact(MESSAGES_STATE)
    assert await read_all(log, MESSAGES_STATE) == left
    assert list((await reader.end_offsets()).values()) == [len(appended)]
    await log.close()
