"""Records as Parquet: any bytes come back as they were, and columns never fail."""

from io import BytesIO
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.archive import Damaged
from backbone.archive.columns import Typed, typed
from backbone.archive.layout import DataName
from backbone.archive.parquet import READ_AT_ONCE, SCHEMA, from_parquet, to_parquet
from backbone.eventlog import Record
from schemas.events import encode
from schemas.states import state_after
from tests.support.archive import some_records
from tests.support.messaging import Talk

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Typed.__struct_fields__, "payload", "data", "timestamp"]), inner, max_size=6
        )
    ),
    max_leaves=12,
)
_RECORDS = st.builds(
    lambda key, value, headers, timestamp_ms: (key, value, headers, timestamp_ms),
    st.none() | st.binary(max_size=8),
    st.none() | st.binary(max_size=40) | _JSON.map(encode),
    st.lists(st.tuples(_TEXTS, st.none() | st.binary(max_size=8)), max_size=4),
    st.integers(-(2**63), 2**63 - 1),
)


def name_of(records: list[Record], first: int = 0) -> DataName:
    return DataName("p.t", "2026-01-31", 3, first, records[-1].offset)


@given(st.lists(_RECORDS, min_size=1, max_size=12), st.integers(0, 2**62))
@settings(max_examples=300, deadline=None)
def test_any_record_comes_back(rows: list[Any], first: int) -> None:
    """Key, value, headers, time and offset, whatever they are."""
    records = [
        Record.of_bytes(
            "t",
            3,
            first + 2 * number,
            key,
            value,
            tuple((name, content or b"") for name, content in headers),
            timestamp_ms,
            tuple(place for place, (_, content) in enumerate(headers) if content is None),
        )
        for number, (key, value, headers, timestamp_ms) in enumerate(rows)
    ]
    name = name_of(records, first)
    assert [each for batch in from_parquet(to_parquet(records, name), name, "t") for each in batch] == records
    assert [each.key_bytes for each in records] == [key for key, *_ in rows]


def test_many_records_come_some_at_a_time() -> None:
    records = [
        Record("t", 3, number, "k", None, (("a", b"1"), ("b", b"%d" % number))[: number % 3], number)
        for number in range(READ_AT_ONCE * 2 + 5)
    ]
    name = name_of(records)
    batches = list(from_parquet(to_parquet(records, name), name, "t"))
    assert max(map(len, batches)) <= READ_AT_ONCE
    assert [each for batch in batches for each in batch] == records


def test_what_people_ask_for() -> None:
    """Events, and states, which have no envelope, fill the same columns."""
    talk = Talk("채널")
    posted = talk.post("안녕")
    row = typed(Record("t", 0, 0, "k", encode(posted), (), 0))
    assert (row.event_type, row.sequence, row.event_timestamp) == ("message.created", 2, posted.timestamp)
    assert (row.channel_id, row.content, row.version) == ("채널", "안녕", 2)
    gone = talk.delete(posted.payload.message_id)
    state = typed(Record("t", 0, 0, "k", encode(state_after(gone)), (("event_type", b"message.deleted"),), 0))
    assert (state.event_type, state.deleted, state.version, state.content) == (
        "message.deleted",
        True,
        3,
        None,
    )


def test_the_file_says_what_it_is() -> None:
    """Its schema has a version and its times a zone; others are refused."""
    records = some_records(10)
    name = name_of(records)
    data = to_parquet(records, name)
    schema = pq.read_schema(BytesIO(data))
    assert schema.metadata[b"maeari.schema_version"] == b"1"
    assert str(schema.field("timestamp").type) == "timestamp[ms, tz=UTC]"
    assert schema.names == SCHEMA.names
    for other in (name._replace(first=1), name._replace(last=name.last + 1), name._replace(partition=4)):
        with pytest.raises(Damaged, match="says that it is"):
            list(from_parquet(data, other, "t"))
    table = pq.read_table(BytesIO(data))
    newer, file = {**table.schema.metadata, b"maeari.schema_version": b"9"}, BytesIO()
    pq.write_table(table.replace_schema_metadata(newer), file)
    with pytest.raises(Damaged, match="of version 9"):
        list(from_parquet(file.getvalue(), name, "t"))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_raises_and_nothing_else(data: st.DataObject) -> None:
    """Truncated anywhere, or with a byte changed: the records as they were, or Damaged."""
    records = some_records(40)
    name = name_of(records)
    whole = to_parquet(records, name)
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if broken:
        broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(0, 255))
    try:
        found = [each for batch in from_parquet(bytes(broken), name, "t") for each in batch]
    except Damaged:
        return
    assert len(found) <= len(records)
