"""What the database and the index hold of messages, page by page, and what the log has yet to be told.

Guarantees: no page is read in a transaction that outlives it, so nobody waits for it; the rows of all pages
together are not of one moment.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Select, func, select

from backbone.database.engine import Database
from backbone.database.tables import channels, messages, missing_history, outbox
from backbone.errors import Unavailable
from backbone.search import DEPENDENCY, SearchIndex
from indexer.projection import document_of_event
from rebuilder.patience import patiently
from rebuilder.verify.canonical import Facts, facts_of_event, hash_of_document, marks_of, marks_of_document
from rebuilder.verify.folding import Details, Row, row_of
from schemas.clock import format_ms
from schemas.documents import IndexedDocument
from schemas.events import decode_message_event
from schemas.messages import Attachment
from schemas.topics import MESSAGE_TOPICS

PAGE = 1_000
# Of more channels than this all messages are read, and those of others passed over.
ASKED_BY_CHANNEL_MAX = 500

T = TypeVar("T")
_message = messages.c
_COLUMNS = (
    _message.message_id,
    _message.channel_id,
    _message.author_id,
    _message.sequence,
    _message.version,
    channels.c.private,
    _message.content,
    _message.mentions,
    _message.attachments,
    _message.parent_id,
    _message.created_at,
    _message.updated_at,
    _message.deleted_at,
    _message.deleted_by,
)
_mentions: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])
_attachments: msgspec.json.Decoder[tuple[Attachment, ...]] = msgspec.json.Decoder(tuple[Attachment, ...])
_told_topics = [topic.name for topic in MESSAGE_TOPICS]


class DatabaseSource:
    """The write side's messages; every call raises Unavailable once it was down for `patience_s`."""

    def __init__(self, database: Database, patience_s: float) -> None:
        self._database = database
        self._patience_s = patience_s

    async def messages(self, of: Collection[str] | None = None) -> AsyncIterator[tuple[str, Facts]]:
        """Yield all messages, or those of some channels."""
        if of is not None and len(of) <= ASKED_BY_CHANNEL_MAX:
            for channel in sorted(of):
                query = _all().where(_message.channel_id == channel)
                async for each in self._paged(query, _message.sequence, 3):
                    yield each
            return
        async for message_id, facts in self._paged(_all(), _message.message_id, 0):
            if of is None or facts.channel in of:
                yield message_id, facts

    async def _paged(self, query: Select[Any], key: Any, place: int) -> AsyncIterator[tuple[str, Facts]]:
        """Yield what a query finds, in the order of `key`, which stands at `place` among the columns."""
        after: Any = None
        while True:
            page = query if after is None else query.where(key > after)
            rows = await self._rows(page.order_by(key).limit(PAGE))
            for row in rows:
                yield row[0], _facts(*row[1:])
            if len(rows) < PAGE:
                return
            after = rows[-1][place]
            await asyncio.sleep(0)

    async def untold(self, of: Collection[str]) -> dict[str, Row]:
        """Return the newest that the outbox holds of the messages of some channels."""
        newest: dict[str, Row] = {}
        after = 0
        query = select(outbox.c.position, outbox.c.body).where(
            outbox.c.topic.in_(_told_topics), outbox.c.body.is_not(None)
        )
        while rows := await self._rows(
            query.where(outbox.c.position > after).order_by(outbox.c.position).limit(PAGE)
        ):
            for _, body in rows:
                _take(newest, body, of)
            after = rows[-1][0]
        return newest

    async def history_lost(self) -> dict[str, int]:
        """Return the channels that were rebuilt from states, and up to which event."""
        rows = await self._rows(select(missing_history.c.channel_id, missing_history.c.up_to))
        return {row.channel_id: row.up_to for row in rows}

    async def untold_count(self) -> int:
        """Return how many events of messages the log has yet to be told."""
        rows = await self._rows(select(func.count()).where(outbox.c.topic.in_(_told_topics)))
        return int(rows[0][0])

    async def _rows(self, query: Select[Any]) -> Any:
        async def once() -> Any:
            async with self._database.looking() as connection:
                return (await connection.execute(query)).all()

        return await patiently(once, self._patience_s)


def _all() -> Select[Any]:
    return select(*_COLUMNS).join(channels, channels.c.channel_id == _message.channel_id)


def _facts(
    channel: str,
    author: str,
    sequence: int,
    version: int,
    private: bool,
    content: str,
    mentions: str,
    attachments: str,
    parent_id: str | None,
    created_at: int,
    updated_at: int,
    deleted_at: int | None,
    deleted_by: str | None,
) -> Facts:
    gone = deleted_at is not None
    return Facts(
        channel=channel,
        author=author,
        sequence=sequence,
        version=version,
        deleted=gone,
        private=bool(private),
        content=content,
        mentions=() if mentions == "[]" else _decoded(_mentions, mentions),
        attachments=() if attachments == "[]" else _decoded(_attachments, attachments),
        parent_id=None if gone else parent_id,
        created_at=None if gone else _moment(created_at),
        updated_at=_moment(updated_at),
        deleted_at=None if deleted_at is None else _moment(deleted_at),
        deleted_by=deleted_by,
    )


def _moment(epoch_ms: int) -> str:
    try:
        return format_ms(epoch_ms)
    except OverflowError:
        # No event can say that: it differs from every other.
        return str(epoch_ms)


def _decoded(decoder: msgspec.json.Decoder[T], text: str) -> T:
    """Return a list of a row; what is none is taken as it stands, and so differs from every other."""
    try:
        return decoder.decode(text)
    except msgspec.DecodeError:
        return (text,)  # type: ignore[return-value]


def _take(newest: dict[str, Row], body: str, of: Collection[str]) -> None:
    event = decode_message_event(body)
    facts, (message_id, document) = facts_of_event(event), document_of_event(event)
    known = newest.get(message_id)
    if facts.channel in of and (known is None or known.version < facts.version):
        details = Details(marks_of(facts), marks_of_document(document))
        newest[message_id] = row_of(message_id, facts, details, hash_of_document(message_id, document))


class IndexSource:
    """The live index; every call raises Unavailable once it was down for `patience_s`."""

    def __init__(self, search: SearchIndex, patience_s: float) -> None:
        self._search = search
        self._patience_s = patience_s

    async def name(self) -> str | None:
        """Return the name of the index behind the alias, None where there is none."""
        return await patiently(self._search.current, self._patience_s)

    async def documents(self) -> AsyncIterator[IndexedDocument]:
        """Yield what the index holds, all that was put into it before."""
        if await self.name() is None:
            return
        await patiently(self._search.refresh, self._patience_s)
        seen = 0
        try:
            async for indexed in self._search.scan():
                yield indexed
                seen += 1
                if seen % PAGE == 0:
                    await asyncio.sleep(0)
        except msgspec.DecodeError as error:
            raise Unavailable(
                DEPENDENCY, f"a document is none of ours, `maeari rebuild search` leaves it out: {error}"
            ) from error
