"""The routes of what a user has read and has not: read marks of channels, unread counts, the inbox."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import Body, FromPath

from backbone.database.engine import Database
from backbone.mailbox import Mailbox, Place
from backend.api.identity import actor_of
from backend.api.paging import Number, list_asked, number_of, page_answer
from backend.api.paths import channel_in_path
from backend.api.writing import WriteSide
from backend.domain.commands import MarkRead
from backend.domain.rejections import Invalid
from backend.limits import WriteLimit
from backend.queries.pages import Page
from backend.queries.unread import list_unread
from schemas.channels import Unread
from schemas.notifications import NumberedNotification

# An empty value says nothing: forms send the fields that were left empty, too.
_FLAGS = {"": False, "false": False, "0": False, "true": True, "1": True}


class ReadChannelBody(msgspec.Struct, frozen=True, kw_only=True):
    """Up to which event the channel is read."""

    sequence: Number


class ReadNotificationsBody(msgspec.Struct, frozen=True, kw_only=True):
    """Up to which `seq` the inbox is read."""

    up_to: Number


@put("/channels/{channel_id:str}/read", summary="Mark a channel as read", status_code=204)
async def mark_channel_read(
    request: Request[Any, Any, Any],
    channel_id: FromPath[str],
    data: Annotated[ReadChannelBody, Body(title="The mark")],
    write_side: NamedDependency[WriteSide],
) -> None:
    """Note that the channel is read up to `sequence`; a mark never goes back, nor beyond the last event."""
    command = MarkRead(actor_of(request), channel_in_path(request, channel_id), data.sequence)
    await write_side.executor.execute(command)


@get("/unread", summary="Count what is unread")
async def read_unread(
    request: Request[Any, Any, Any], database: NamedDependency[Database]
) -> Response[list[Unread]]:
    """Return unread messages and mentions of each channel that the user is in or has read; paged."""
    asked = list_asked(request, str)
    found = await list_unread(database, actor_of(request), asked.place, asked.limit)
    return page_answer(request, asked, found)


@get("/notifications", summary="Read the inbox")
async def read_notifications(
    request: Request[Any, Any, Any], mailbox: NamedDependency[Mailbox]
) -> Response[list[NumberedNotification]]:
    """Return notifications, newest first; with `after` those after that `seq`, oldest first."""
    asked = list_asked(request, int, "unread", "after")
    unread = _flag("unread", asked.parameters.get("unread", ""))
    place = Place(before=asked.place)
    if "after" in asked.parameters:
        place = Place(after=max(number_of("after", asked.parameters["after"]), asked.place or 0))
    found, more = await mailbox.page(actor_of(request), place, asked.limit, unread=unread)
    return page_answer(request, asked, Page([(each.seq, each) for each in found], more))


@post("/notifications/read", summary="Mark notifications as read", status_code=204)
async def mark_notifications_read(
    request: Request[Any, Any, Any],
    data: Annotated[ReadNotificationsBody, Body(title="The mark")],
    mailbox: NamedDependency[Mailbox],
    limit: NamedDependency[WriteLimit],
) -> None:
    """Mark everything up to `up_to` as read; a mark never goes back, nor beyond what the inbox holds."""
    user_id = actor_of(request)
    # This is no command, which would be counted where it is taken on.
    limit.take(user_id)
    await mailbox.mark_read(user_id, data.up_to)


def _flag(field: str, text: str) -> bool:
    if text not in _FLAGS:
        raise Invalid(field, "true or false")
    return _FLAGS[text]
