"""The routes of single messages: post, read, edit, delete."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import Body, FromPath

from backbone.database.engine import Database
from backend.api.attachments import NewAttachments, attachments_of
from backend.api.headers import header_text, single_header
from backend.api.identity import actor_of, reader_of
from backend.api.moments import moment_of
from backend.api.paging import parameters_of
from backend.api.paths import message_in_path
from backend.api.versions import etag, if_match, versioned
from backend.api.writing import WriteSide
from backend.commands.answers import Posted
from backend.consistency import ConsistencyToken
from backend.domain.commands import DeleteMessage, EditMessage, PostMessage
from backend.domain.rejections import Invalid
from backend.queries.messages import get_former_message, get_message
from schemas.messages import (
    IDEMPOTENCY_KEY_MAX_CHARACTERS,
    Content,
    FormerMessage,
    Identifier,
    Mentions,
    Message,
)


class PostMessageBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted; `author_id` may stand in the header `X-User-Id` instead."""

    channel_id: Identifier
    content: Content
    author_id: Identifier | None = None
    mentions: Mentions = ()
    attachments: NewAttachments = ()
    parent_id: Identifier | None = None


class EditMessageBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is changed; what is left out stays as it is."""

    content: Content | msgspec.UnsetType = msgspec.UNSET
    mentions: Mentions | msgspec.UnsetType = msgspec.UNSET
    attachments: NewAttachments | msgspec.UnsetType = msgspec.UNSET
    author_id: Identifier | None = None


EDITABLE = ("content", "mentions", "attachments")


@post("/messages", summary="Post a message", status_code=201)
async def post_message(
    request: Request[Any, Any, Any],
    data: Annotated[PostMessageBody, Body(title="The message")],
    write_side: NamedDependency[WriteSide],
) -> Response[Message]:
    """Store a message and its event; 201, or 200 with the first answer for a repeated Idempotency-Key."""
    header = single_header(request, "Idempotency-Key")
    key = None if header is None else idempotency_key(header)
    command = command_of(write_side, data, actor_of(request, data.author_id), key)
    status, message, headers = answer_to(await write_side.executor.execute(command))
    return Response(message, status_code=status, headers=headers)


def command_of(
    write_side: WriteSide, data: PostMessageBody, actor_id: str, idempotency_key: str | None
) -> PostMessage:
    """Return what a body asks for, under ids of its own."""
    clock = write_side.clock
    return PostMessage(
        event_id=clock.new_id("evt_"),
        channel_event_id=clock.new_id("evt_") if write_side.posts_make_channels else None,
        message_id=clock.new_id("msg_"),
        actor_id=actor_id,
        channel_id=data.channel_id,
        content=data.content,
        mentions=data.mentions,
        attachments=attachments_of(data.attachments),
        parent_id=data.parent_id,
        idempotency_key=idempotency_key,
    )


def answer_to(outcome: Posted) -> tuple[int, Message, dict[str, str]]:
    """Return status, body and headers of the answer to a post."""
    message = outcome.message
    # Ids of messages are our own: nothing in them is to be quoted.
    headers = {**_version_headers(message), "Location": f"/messages/{message.message_id}"}
    return 200 if outcome.repeated else 201, message, headers


@get("/messages/{message_id:str}", summary="Read a message")
async def read_message(
    request: Request[Any, Any, Any], message_id: FromPath[str], database: NamedDependency[Database]
) -> Response[FormerMessage]:
    """Return the message as it is, or as it was at `as_of`; 404 when unknown then, 410 when deleted.

    Owners of the channel see with `as_of` what was deleted, and with a time after that, when and by whom.
    """
    as_of = parameters_of(request, "as_of").get("as_of")
    message_id, reader_id = message_in_path(request, message_id), reader_of(request)
    if as_of is None:
        message = await get_message(database, message_id, reader_id)
    else:
        message = await get_former_message(database, message_id, reader_id, moment_of("as_of", as_of))
    return versioned(request, message, message.version)


@patch("/messages/{message_id:str}", summary="Edit a message")
async def edit_message(
    request: Request[Any, Any, Any],
    message_id: FromPath[str],
    data: Annotated[EditMessageBody, Body(title="The changes")],
    write_side: NamedDependency[WriteSide],
) -> Response[Message]:
    """Change a message; 403 for others than its author, 412 when `If-Match` names another version."""
    actor_id = actor_of(request, data.author_id)
    if all(getattr(data, name) is msgspec.UNSET for name in EDITABLE):
        raise Invalid("body", "nothing to change: give content, mentions or attachments")
    record = await write_side.executor.execute(
        EditMessage(
            event_id=write_side.clock.new_id("evt_"),
            message_id=message_in_path(request, message_id),
            actor_id=actor_id,
            content=data.content,
            mentions=data.mentions,
            attachments=data.attachments
            if data.attachments is msgspec.UNSET
            else attachments_of(data.attachments),
            if_match=if_match(request),
        )
    )
    return Response(record.message, headers=_version_headers(record.message))


@delete("/messages/{message_id:str}", summary="Delete a message", status_code=204)
async def delete_message(
    request: Request[Any, Any, Any], message_id: FromPath[str], write_side: NamedDependency[WriteSide]
) -> Response[None]:
    """Delete a message, as its author or an owner of the channel; once more changes nothing."""
    record = await write_side.executor.execute(
        DeleteMessage(
            event_id=write_side.clock.new_id("evt_"),
            message_id=message_in_path(request, message_id),
            actor_id=actor_of(request),
            if_match=if_match(request),
        )
    )
    token = ConsistencyToken(message_id, record.message.version)
    return Response(None, status_code=204, headers={"Consistency-Token": token.encode()})


def _version_headers(message: Message) -> dict[str, str]:
    token = ConsistencyToken(message.message_id, message.version)
    return {"ETag": etag(message.version), "Consistency-Token": token.encode()}


def idempotency_key(header: str) -> str:
    """Return the key in the header's value. Raises Invalid for what is none."""
    try:
        # Blanks around a header's value are no part of it.
        key = header_text(header).strip(" \t")
    except UnicodeError:
        raise Invalid("Idempotency-Key", "not UTF-8") from None
    if not 1 <= len(key) <= IDEMPOTENCY_KEY_MAX_CHARACTERS:
        raise Invalid("Idempotency-Key", f"1 to {IDEMPOTENCY_KEY_MAX_CHARACTERS} characters")
    return key
