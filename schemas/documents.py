"""The document of the search index: the read side's copy of a message."""

from typing import NamedTuple

import msgspec

from schemas.messages import Rfc3339


class SearchDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One message in the index, under `_id` = message_id with `version` as its external version.

    A deleted message stays as a document with `deleted: true` and no text: a removed document's
    version would soon be forgotten, and a late write could bring the message back.
    """

    content: str
    author: str
    channel: str
    created_at: Rfc3339 | None
    updated_at: Rfc3339 | None
    mentions: tuple[str, ...] = ()
    has_attachment: bool = False
    parent_id: str | None = None
    private: bool = False
    sequence: int
    version: int
    deleted: bool = False


class IndexedDocument(NamedTuple):
    """A document and the id it lies under; its external version is `document.version`."""

    message_id: str
    document: SearchDocument

    def guarded_by(self, version: int) -> "IndexedDocument":
        """Return it with the version by which the index keeps older ones off, whatever its source says."""
        if version == self.document.version:
            return self
        return self._replace(document=msgspec.structs.replace(self.document, version=version))
