"""The routes that list what a channel holds: its messages and events, a message's history and its thread."""

from typing import Any, cast

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from backbone.database.engine import Database
from backend.api.identity import reader_of
from backend.api.paging import list_asked, number_of, page_answer
from backend.api.paths import channel_in_path, message_in_path
from backend.queries.lists import events_after, history_of, messages_after, newest_messages, replies_to
from schemas.events import MessagesEvent, StreamEvent
from schemas.messages import Message

_AFTER = "after_sequence"


@get("/channels/{channel_id:str}/messages", summary="List a channel's messages")
async def read_channel_messages(
    request: Request[Any, Any, Any], channel_id: FromPath[str], database: NamedDependency[Database]
) -> Response[list[Message]]:
    """Return the live messages, newest first; with `after_sequence` those created after it, oldest first."""
    asked = list_asked(request, int, _AFTER)
    channel_id, reader_id = channel_in_path(request, channel_id), reader_of(request)
    if _AFTER in asked.parameters:
        after = max(number_of(_AFTER, asked.parameters[_AFTER]), asked.place or 0)
        found = await messages_after(database, channel_id, reader_id, after, asked.limit)
    else:
        found = await newest_messages(database, channel_id, reader_id, asked.place, asked.limit)
    return page_answer(request, asked, found)


@get("/channels/{channel_id:str}/events", summary="List a channel's events")
async def read_channel_events(
    request: Request[Any, Any, Any], channel_id: FromPath[str], database: NamedDependency[Database]
) -> Response[list[StreamEvent]]:
    """Return every event after `after_sequence`, oldest first, no gap.

    Of messages that are deleted, all but owners get events without text, marked `"redacted": true`.
    """
    asked = list_asked(request, int, _AFTER)
    after = max(number_of(_AFTER, asked.parameters.get(_AFTER, "0")), asked.place or 0)
    channel_id = channel_in_path(request, channel_id)
    found = await events_after(database, channel_id, reader_of(request), after, asked.limit)
    return cast(Response[list[StreamEvent]], page_answer(request, asked, found))


@get("/messages/{message_id:str}/history", summary="List a message's events")
async def read_history(
    request: Request[Any, Any, Any], message_id: FromPath[str], database: NamedDependency[Database]
) -> Response[list[MessagesEvent]]:
    """Return every event of the message, oldest first; 410 when it is deleted, except to channel owners."""
    asked = list_asked(request, int)
    message_id = message_in_path(request, message_id)
    found = await history_of(database, message_id, reader_of(request), asked.place or 0, asked.limit)
    return cast(Response[list[MessagesEvent]], page_answer(request, asked, found))


@get("/messages/{message_id:str}/replies", summary="List the replies to a message")
async def read_replies(
    request: Request[Any, Any, Any], message_id: FromPath[str], database: NamedDependency[Database]
) -> Response[list[Message]]:
    """Return the live replies, oldest first, also where the message itself is deleted."""
    asked = list_asked(request, int)
    message_id = message_in_path(request, message_id)
    found = await replies_to(database, message_id, reader_of(request), asked.place or 0, asked.limit)
    return page_answer(request, asked, found)
