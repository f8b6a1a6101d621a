"""The routes of a channel's members: list, put, remove."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import Body, FromPath

from backbone.database.engine import Database
from backend.api.identity import actor_of, reader_of
from backend.api.paging import list_asked, page_answer
from backend.api.paths import channel_in_path, user_in_path
from backend.api.writing import WriteSide
from backend.domain.commands import PutMember, RemoveMember
from backend.queries.channels import list_members
from schemas.channels import Membership, Role


class PutMemberBody(msgspec.Struct, frozen=True, kw_only=True):
    """The role; without one the user becomes a member, or stays what it is."""

    role: Role | msgspec.UnsetType = msgspec.UNSET


@get("/channels/{channel_id:str}/members", summary="List a channel's members")
async def read_members(
    request: Request[Any, Any, Any], channel_id: FromPath[str], database: NamedDependency[Database]
) -> Response[list[Membership]]:
    """Return the members, by `user_id`; paged."""
    asked = list_asked(request, str)
    found = await list_members(
        database, channel_in_path(request, channel_id), reader_of(request), asked.place, asked.limit
    )
    return page_answer(request, asked, found)


@put("/channels/{channel_id:str}/members/{user_id:str}", summary="Join, add, or change a role")
async def put_member(
    request: Request[Any, Any, Any],
    channel_id: FromPath[str],
    user_id: FromPath[str],
    write_side: NamedDependency[WriteSide],
    data: Annotated[PutMemberBody | None, Body(title="The role; the body may be left out")] = None,
) -> Response[Membership]:
    """Make the user a member of the channel, in the given role; 409 when the last owner steps down."""
    membership = await write_side.executor.execute(
        PutMember(
            event_id=write_side.clock.new_id("evt_"),
            actor_id=actor_of(request),
            channel_id=channel_in_path(request, channel_id),
            user_id=user_in_path(request, user_id),
            role=None if data is None or data.role is msgspec.UNSET else data.role,
        )
    )
    return Response(membership)


@delete("/channels/{channel_id:str}/members/{user_id:str}", summary="Leave, or remove someone")
async def remove_member(
    request: Request[Any, Any, Any],
    channel_id: FromPath[str],
    user_id: FromPath[str],
    write_side: NamedDependency[WriteSide],
) -> None:
    """Take the user out of the channel; once more changes nothing. 409 when the last owner leaves."""
    await write_side.executor.execute(
        RemoveMember(
            event_id=write_side.clock.new_id("evt_"),
            actor_id=actor_of(request),
            channel_id=channel_in_path(request, channel_id),
            user_id=user_in_path(request, user_id),
        )
    )
