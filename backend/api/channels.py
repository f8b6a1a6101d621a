"""The routes of channels: make, list, read."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import Body, FromPath

from backbone.database.engine import Database
from backend.api.identity import actor_of, reader_of
from backend.api.paging import list_asked, page_answer
from backend.api.paths import channel_in_path, path_to
from backend.api.versions import versioned
from backend.api.writing import WriteSide
from backend.domain.commands import MakeChannel
from backend.queries.channels import get_channel, list_channels, view_of
from schemas.channels import ChannelName, ChannelView
from schemas.messages import Identifier


class MakeChannelBody(msgspec.Struct, frozen=True, kw_only=True):
    """The channel to be made; without a `channel_id` it gets one. `private` is fixed for its life."""

    name: ChannelName
    channel_id: Identifier | msgspec.UnsetType = msgspec.UNSET
    author_id: Identifier | None = None
    private: bool = False


@post("/channels", summary="Make a channel", status_code=201)
async def make_channel(
    request: Request[Any, Any, Any],
    data: Annotated[MakeChannelBody, Body(title="The channel")],
    write_side: NamedDependency[WriteSide],
) -> Response[ChannelView]:
    """Make a channel, owned by the one who asks; 409 when its id is taken."""
    clock = write_side.clock
    made = await write_side.executor.execute(
        MakeChannel(
            event_id=clock.new_id("evt_"),
            actor_id=actor_of(request, data.author_id),
            channel_id=clock.new_id("ch_") if data.channel_id is msgspec.UNSET else data.channel_id,
            name=data.name,
            private=data.private,
        )
    )
    view = view_of(made, "owner")
    location = {"Location": path_to("channels", made.channel_id)}
    return versioned(request, view, _version(view), status_code=201, headers=location)


@get("/channels", summary="List channels")
async def read_channels(
    request: Request[Any, Any, Any], database: NamedDependency[Database]
) -> Response[list[ChannelView]]:
    """Return the channels that the reader may read, by `channel_id`; paged."""
    asked = list_asked(request, str)
    found = await list_channels(database, reader_of(request), asked.place, asked.limit)
    return page_answer(request, asked, found)


@get("/channels/{channel_id:str}", summary="Read a channel")
async def read_channel(
    request: Request[Any, Any, Any], channel_id: FromPath[str], database: NamedDependency[Database]
) -> Response[ChannelView]:
    """Return the channel, its last event's number and the reader's role in it."""
    channel = await get_channel(database, channel_in_path(request, channel_id), reader_of(request))
    return versioned(request, channel, _version(channel))


def _version(channel: ChannelView) -> str:
    """Return the version of what this reader sees: the role is a part of it."""
    return f"{channel.last_sequence}-{channel.role or 'none'}"
