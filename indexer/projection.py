"""What the search index holds of a message: a pure function of its newest event, or of its state.

Guarantees: an event and the state after it give the same document, so that an index rebuilt from
either equals the live one; a deleted message keeps neither text nor mentions. Texts are in Unicode's
composed form (NFC): an adapter's analysis need not know that syllables may come as separate letters.
"""

from typing import assert_never
from unicodedata import normalize

import msgspec

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
        return _tombstone(msgspec.convert(_fields(state), DeletedMessage), state.private)
    return _document(msgspec.convert(_fields(state), Message), state.private)


def _fields(state: MessageState) -> dict[str, object]:
    values = {name: getattr(state, name) for name in state.__struct_fields__}
    return {name: value for name, value in values.items() if value is not msgspec.UNSET}


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
