"""Which documents an index can take at all; pure.

Elasticsearch refuses a whole bulk request for one document with such an id or version, so they are
kept out before; the embedded index refuses the same ones.
"""

from collections.abc import Sequence

from backbone.search import IndexedDocument, ItemFailure

ID_MAX_BYTES = 512
VERSION_MAX = 2**63 - 1


def admitted(
    documents: Sequence[IndexedDocument],
) -> tuple[Sequence[IndexedDocument], list[ItemFailure]]:
    """Return the documents that can be sent, and why each other one cannot."""
    refused = [
        ItemFailure(message_id, reason)
        for message_id, document in documents
        if (reason := _objection(message_id, document.version, document.sequence)) is not None
    ]
    if not refused:
        return documents, refused
    unfit = {failure.message_id for failure in refused}
    return [document for document in documents if document.message_id not in unfit], refused


def _objection(message_id: str, version: int, sequence: int) -> str | None:
    try:
        size_bytes = len(message_id.encode())
    except UnicodeEncodeError:
        return "the id is not text"
    if not 1 <= size_bytes <= ID_MAX_BYTES:
        return f"the id has {size_bytes} bytes, not 1 to {ID_MAX_BYTES}"
    if not (1 <= version <= VERSION_MAX and 0 <= sequence <= VERSION_MAX):
        return f"version {version} or sequence {sequence} is out of range"
    return None
