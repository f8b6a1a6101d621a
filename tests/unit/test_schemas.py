"""Events, states and schema files: what is written today is read the same way for ever."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas import generate
from schemas.clock import format_ms, parse_ms
from schemas.documents import SearchDocument
from schemas.events import (
    MessageDeleted,
    MessageUpdated,
    decode,
    decode_message_event,
    decode_stream_event,
    encode,
    event_type,
)
from schemas.frames import Hello, NotificationFrame, Read, decode_client_frame, decode_server_frame
from schemas.messages import Attachment, Identifier
from schemas.states import decode_state, state_after
from schemas.topics import TOPIC_OF_EVENT, murmur2, partition_of

GOLDEN = Path(__file__).parent.parent / "golden"
EVENT_TYPES = sorted(generate.event_structs())
SCHEMAS = generate.FOLDER / "json"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_every_event_type_has_a_golden_file_a_schema_and_a_topic() -> None:
    """An event type that is added without its files, or its topic, is found here."""
    files = {path.stem for path in GOLDEN.glob("*.json")} - {"murmur2"}
    assert sorted(files) == EVENT_TYPES
    assert sorted(TOPIC_OF_EVENT) == EVENT_TYPES
    assert set(EVENT_TYPES) <= {path.stem for path in SCHEMAS.glob("*.json")}


@pytest.mark.parametrize("name", EVENT_TYPES)
class TestGoldenEvents:
    def test_is_read_and_written_back_byte_for_byte(self, name: str) -> None:
        event = decode(golden(name))
        assert isinstance(event, generate.event_structs()[name])
        assert event_type(event) == name
        assert encode(event) == golden(name)

    def test_fits_its_json_schema(self, name: str) -> None:
        validator(name).validate(json.loads(golden(name)))

    def test_unknown_fields_are_ignored_by_readers_and_by_the_schema(self, name: str) -> None:
        with_more = json.loads(golden(name))
        with_more["added_later"] = {"deep": [1, "둘", None]}
        with_more["payload"]["added_later"] = "또"
        validator(name).validate(with_more)
        assert encode(decode(json.dumps(with_more))) == golden(name)

    def test_a_missing_payload_is_refused_by_reader_and_schema(self, name: str) -> None:
        without = json.loads(golden(name))
        del without["payload"]
        assert not validator(name).is_valid(without)
        with pytest.raises(msgspec.ValidationError):
            decode(json.dumps(without))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"event_type":"message.renamed"}',
        b'{"event_type":7}',
        b'{"event_type":"message.created","event_id":"\xed\xa0\x80"}',
        b'{"event_type":"message.created","added_later":' + b"[" * 200_000,
        golden("message.created")[:-40],
        golden("message.created").replace(b'"sequence":42', b'"sequence":0'),
        golden("message.created").replace(b'"sequence":42', b'"sequence":"42"'),
    ],
)
def test_what_is_not_an_event_is_a_decode_error_and_nothing_else(data: bytes) -> None:
    """A consumer parks on DecodeError; any other exception would stop it."""
    for read in (decode, decode_stream_event, decode_message_event, decode_state, decode_server_frame):
        with pytest.raises(msgspec.DecodeError):
            read(data)


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_input_decodes_or_is_a_decode_error(data: bytes | str) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        decode(data)


class TestStates:
    def test_after_an_edit_it_is_the_whole_message(self) -> None:
        event = decode_message_event(golden("message.updated"))
        assert isinstance(event, MessageUpdated)
        state = state_after(event)
        assert msgspec.to_builtins(state) == {
            **msgspec.to_builtins(event.payload),
            "private": False,
            "deleted": False,
        }

    def test_after_a_deletion_it_is_what_remains(self) -> None:
        event = decode_message_event(golden("message.deleted"))
        assert isinstance(event, MessageDeleted)
        state = state_after(event)
        assert state.deleted
        assert state.version == event.sequence == event.payload.version
        assert state.content is msgspec.UNSET
        assert state.deleted_by == "지훈"

    @pytest.mark.parametrize("private", [True, False, msgspec.UNSET])
    def test_keeps_the_channel_s_privacy(self, private: bool | msgspec.UnsetType) -> None:
        event = decode_message_event(golden("message.created"))
        state = state_after(msgspec.structs.replace(event, private=private))
        assert state.private is (private is True)

    @pytest.mark.parametrize("name", ["message.created", "message.updated", "message.deleted"])
    def test_survives_the_wire_and_fits_its_schema(self, name: str) -> None:
        state = state_after(decode_message_event(golden(name)))
        assert decode_state(encode(state)) == state
        validator("message-state").validate(json.loads(encode(state)))


def test_documents_and_frames_fit_their_schemas() -> None:
    """The files that are not of an event describe what is really sent."""
    document = SearchDocument(
        content="안녕", author="a", channel="c", created_at=None, updated_at=None, sequence=1, version=2
    )
    validator("search-document").validate(json.loads(encode(document)))
    note = json.loads(golden("notification.sent"))["payload"]
    validator("notification").validate(note)
    frame = {"type": "notification", "seq": 7, "notification": note}
    validator("server-frame").validate(frame)
    assert isinstance(decode_server_frame(json.dumps(frame)), NotificationFrame)
    hello = Hello(user_id="u", epoch=1, latest_seq=0, heartbeat_s=30)
    validator("server-frame").validate(json.loads(encode(hello)))
    validator("client-frame").validate({"type": "read", "up_to": 3})
    assert decode_client_frame('{"type":"read","up_to":3}') == Read(up_to=3)
    assert not validator("client-frame").is_valid({"type": "hello"})


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("general", True),
        ("일반 대화", True),
        ("👩‍💻", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a/b", False),
        ("a\n", False),
        ("a\nb", False),
        ("\x7f", False),
        ("\x9f", False),
        ("\x00", False),
        (".", False),
        ("..", False),
        ("...", True),
        (".a", True),
        ("a.", True),
        ("..a", True),
        (".\n", False),
    ],
)
def test_identifiers_are_one_path_segment(text: str, fits: bool) -> None:
    """The struct and the JSON Schema agree on every case, a last newline included."""
    schema = generate.json_schema(Identifier)
    assert Draft202012Validator(schema).is_valid(text) is fits
    try:
        msgspec.convert(text, Identifier)
    except msgspec.ValidationError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize("url", ["ftp://x/y", "http://", "http://x y", "http://x\n", "javascript:alert(1)"])
def test_an_attachment_s_url_is_http(url: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "n", "url": url}, Attachment)


class TestPartitions:
    @pytest.mark.parametrize(
        ("key", "signed"),
        [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ],
    )
    def test_murmur2_is_java_s(self, key: str, signed: int) -> None:
        """The vectors of Kafka's own UtilsTest."""
        assert murmur2(key.encode()) == signed & 0xFFFFFFFF

    @given(st.binary(max_size=40))
    def test_murmur2_is_aiokafka_s_on_any_bytes(self, data: bytes) -> None:
        assert murmur2(data) == murmur2_of_aiokafka(data) & 0xFFFFFFFF

    @given(
        st.text(alphabet="가나다라마바사아자차카타파하힣일반 대화-a1👩‍💻", min_size=1, max_size=30),
        st.integers(1, 50),
    )
    def test_a_key_lies_where_kafka_s_own_partitioner_puts_it(self, key: str, partitions: int) -> None:
        everywhere = list(range(partitions))
        chosen = DefaultPartitioner()(key.encode(), everywhere, everywhere)
        assert partition_of(key, partitions) == chosen


class TestTimes:
    @given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))
    def test_what_is_written_is_read_back(self, moment: datetime) -> None:
        epoch_ms = int((moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1000
        for ms in (epoch_ms, epoch_ms + 1, epoch_ms + 999):
            text = format_ms(ms)
            assert parse_ms(text) == ms
            assert len(text) == len("2026-01-31T09:00:00.000Z")
            assert text.endswith("Z")

    @pytest.mark.parametrize(
        ("text", "utc"),
        [
            ("2026-01-31T18:00:00+09:00", "2026-01-31T09:00:00.000Z"),
            ("2026-01-31T09:00:00Z", "2026-01-31T09:00:00.000Z"),
            ("2026-01-31t09:00:00.5z", "2026-01-31T09:00:00.500Z"),
            ("2026-01-31T09:00:00.123999999Z", "2026-01-31T09:00:00.123Z"),
            ("0999-12-31T23:30:00-01:00", "1000-01-01T00:30:00.000Z"),
        ],
    )
    def test_any_offset_is_understood(self, text: str, utc: str) -> None:
        assert format_ms(parse_ms(text)) == utc

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "yesterday",
            "2026-01-31",
            "2026-01-31T09:00:00",
            "2026-01-31 09:00:00Z",
            "20260131T090000Z",
            "2026-W05-6T09:00:00Z",
            "2026-01-31T09Z",
            "2026-02-30T09:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T09:00:00,5Z",
            "2026-01-31T09:00:00+09:00:30",
            "٢٠٢٦-01-31T09:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59.999-01:00",
            "2026-01-31T09:00:00Z\n",
        ],
    )
    def test_anything_else_is_a_value_error(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"is not|outside|must be|day|offset"):
            parse_ms(text)
