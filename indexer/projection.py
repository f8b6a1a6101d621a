"""What the search index holds of a message: a pure function of its newest event, or of its state.

Guarantees: an event and the state after it give the same document, so that an index rebuilt from
either equals the live one; a deleted message keeps neither text nor mentions. Texts are in Unicode's
composed form (NFC): an adapter's analysis need not know that syllables may come as separate letters.
"""

from typing import assert_never
from unicodedata import normalize

import msgspec
from msgspec import UNSET

from schemas.documents import IndexedDocument, SearchDocument
from schemas.events import MessageCreated, MessageDeleted, MessagesEvent, MessageUpdated
from schemas.messages import DeletedMessage, Message, MessageState


def document_of_event(event: MessagesEvent) -> IndexedDocument:
    """Return the document of the message as `event` left it."""
    private = event.private is True
    match event:
        case MessageCreated() | MessageUpdated():
            return _document(event.payload, private)
        case MessageDeleted():
            return _tombstone(event.payload, private)
        case _:
            assert_never(event)


def document_of_state(state: MessageState) -> IndexedDocument:
    """Return the document of a value of the state topic.

    Raises msgspec.ValidationError when a message that is not deleted lacks a field.
    """
    if state.deleted:
        if state.deleted_at is UNSET or state.deleted_by is UNSET:
            raise msgspec.ValidationError("a deleted message lacks `deleted_at` or `deleted_by`")
        gone = DeletedMessage(
            message_id=state.message_id,
            channel_id=state.channel_id,
            author_id=state.author_id,
            sequence=state.sequence,
            version=state.version,
            deleted_at=state.deleted_at,
            deleted_by=state.deleted_by,
        )
        return _tombstone(gone, state.private)
    if state.content is UNSET or state.created_at is UNSET or state.updated_at is UNSET:
        raise msgspec.ValidationError("a message lacks `content`, `created_at` or `updated_at`")
    message = Message(
        message_id=state.message_id,
        channel_id=state.channel_id,
        author_id=state.author_id,
        content=state.content,
        mentions=() if state.mentions is UNSET else state.mentions,
        attachments=() if state.attachments is UNSET else state.attachments,
        parent_id=None if state.parent_id is UNSET else state.parent_id,
        sequence=state.sequence,
        version=state.version,
        created_at=state.created_at,
        updated_at=state.updated_at,
    )
    return _document(message, state.private)


def _document(message: Message, private: bool) -> IndexedDocument:
    document = SearchDocument(
        content=normalize("NFC", message.content),
        author=message.author_id,
        channel=message.channel_id,
        created_at=message.created_at,
        updated_at=message.updated_at,
        mentions=message.mentions,
        has_attachment=bool(message.attachments),
        parent_id=message.parent_id,
        private=private,
        sequence=message.sequence,
        version=message.version,
    )
    return IndexedDocument(message.message_id, document)


def _tombstone(gone: DeletedMessage, private: bool) -> IndexedDocument:
    """`updated_at` is the moment of the deletion: what is to be purged one day is chosen by it."""
    document = SearchDocument(
        content="",
        author=gone.author_id,
        channel=gone.channel_id,
        created_at=None,
        updated_at=gone.deleted_at,
        private=private,
        sequence=gone.sequence,
        version=gone.version,
        deleted=True,
    )
    return IndexedDocument(gone.message_id, document)
