"""The projection of messages into documents: events and states give the same ones."""

import msgspec
import pytest

from indexer.projection import document_of_event, document_of_state
from schemas.documents import IndexedDocument, SearchDocument
from schemas.events import MessageCreated, MessageDeleted, MessagesEvent, MessageUpdated, decode, encode
from schemas.messages import Attachment, DeletedMessage, Message, MessageState
from schemas.states import decode_state, state_after

CREATED_AT = "2026-01-31T09:00:00.000Z"
EDITED_AT = "2026-01-31T09:00:01.000Z"
MESSAGE = Message(
    message_id="msg_1",
    channel_id="팀 배포",
    author_id="kim",
    content="배포를 완료했습니다",
    mentions=("lee", "@channel"),
    attachments=(Attachment("log.txt", "https://files.example/log.txt"),),
    parent_id="msg_0",
    sequence=7,
    version=9,
    created_at=CREATED_AT,
    updated_at=EDITED_AT,
)
GONE = DeletedMessage(
    message_id="msg_1",
    channel_id="팀 배포",
    author_id="kim",
    sequence=7,
    version=11,
    deleted_at=EDITED_AT,
    deleted_by="owner",
)
CREATED = MessageCreated(event_id="evt_1", timestamp=1, sequence=9, private=True, payload=MESSAGE)
UPDATED = MessageUpdated(event_id="evt_2", timestamp=2, sequence=9, private=False, payload=MESSAGE)
DELETED = MessageDeleted(event_id="evt_3", timestamp=3, sequence=11, payload=GONE)


def test_a_message_becomes_a_document_under_its_id() -> None:
    """Every field of the document comes from the message, its privacy from the event."""
    assert document_of_event(CREATED) == IndexedDocument(
        "msg_1",
        SearchDocument(
            content="배포를 완료했습니다",
            author="kim",
            channel="팀 배포",
            created_at=CREATED_AT,
            updated_at=EDITED_AT,
            mentions=("lee", "@channel"),
            has_attachment=True,
            parent_id="msg_0",
            private=True,
            sequence=7,
            version=9,
            deleted=False,
        ),
    )


def test_a_deleted_message_keeps_neither_text_nor_mentions() -> None:
    """What remains is whose it was, where, and the version that guards against late writes."""
    _, document = document_of_event(DELETED)
    assert document == SearchDocument(
        content="",
        author="kim",
        channel="팀 배포",
        created_at=None,
        updated_at=EDITED_AT,
        sequence=7,
        version=11,
        deleted=True,
    )


@pytest.mark.parametrize("event", [CREATED, UPDATED, DELETED], ids=lambda event: type(event).__name__)
def test_event_and_state_give_the_same_document(event: MessagesEvent) -> None:
    """An index rebuilt from the state topic equals one made of the events, through the wire as well."""
    decoded = decode(encode(event))
    state = decode_state(encode(state_after(event)))
    assert isinstance(decoded, MessageCreated | MessageUpdated | MessageDeleted)
    assert document_of_event(decoded) == document_of_state(state) == document_of_event(event)
    assert document_of_state(state_after(event)) == document_of_event(event)


def test_an_incomplete_state_is_an_error_that_can_be_parked() -> None:
    """A message without a text is no message, unless it is deleted."""
    state = MessageState(message_id="msg_1", channel_id="c", author_id="kim", sequence=1, version=1)
    with pytest.raises(msgspec.ValidationError, match="content"):
        document_of_state(state)
    with pytest.raises(msgspec.ValidationError, match="deleted_at"):
        document_of_state(msgspec.structs.replace(state, deleted=True))
