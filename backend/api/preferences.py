"""The routes of what a user wants to be told, and of why something was told or was not."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, put
from litestar.di import NamedDependency
from litestar.params import Body, FromPath

from backbone.database.engine import Database
from backbone.muting import is_time_zone
from backbone.preferences import PreferenceBook
from backend.api.identity import actor_of, acts_for_another
from backend.api.paging import parameters_of
from backend.api.paths import channel_in_path
from backend.domain.rejections import Invalid
from backend.limits import WriteLimit
from backend.queries.channels import get_channel
from backend.queries.why import explain
from schemas.messages import Identifier
from schemas.notifications import Why
from schemas.preferences import DoNotDisturb, Level, Preferences


class PreferencesBody(msgspec.Struct, frozen=True, kw_only=True):
    """When the user is not to be disturbed; null: never mind."""

    do_not_disturb: DoNotDisturb | None


class ChannelLevelBody(msgspec.Struct, frozen=True, kw_only=True):
    """Of which of the channel's notifications the user wants to be told."""

    level: Level


@get("/notifications/preferences", summary="Read what the user wants to be told")
async def read_preferences(
    request: Request[Any, Any, Any], preferences: NamedDependency[PreferenceBook]
) -> Response[Preferences]:
    """Return the hours in which the user is not to be disturbed, and the levels of channels."""
    return Response(await preferences.of(actor_of(request)))


@put("/notifications/preferences", summary="Set when the user is not to be disturbed")
async def put_preferences(
    request: Request[Any, Any, Any],
    data: Annotated[PreferencesBody, Body(title="The hours")],
    preferences: NamedDependency[PreferenceBook],
    limit: NamedDependency[WriteLimit],
) -> Response[Preferences]:
    """Set the hours; what comes within them reaches the inbox muted."""
    user_id = actor_of(request)
    hours = data.do_not_disturb
    if hours is not None and not is_time_zone(hours.timezone):
        raise Invalid("do_not_disturb.timezone", "not a time zone of the IANA database, such as Asia/Seoul")
    if hours is not None and hours.start == hours.end:
        raise Invalid("do_not_disturb.end", "is the same as start")
    limit.take(user_id)
    await preferences.set_do_not_disturb(user_id, hours)
    return Response(await preferences.of(user_id))


@put("/channels/{channel_id:str}/notifications", summary="Set what to be told of a channel", status_code=204)
async def put_channel_level(
    request: Request[Any, Any, Any],
    channel_id: FromPath[str],
    data: Annotated[ChannelLevelBody, Body(title="The level")],
    preferences: NamedDependency[PreferenceBook],
    database: NamedDependency[Database],
    limit: NamedDependency[WriteLimit],
) -> None:
    """Set the level: `all`, `mentions` or `nothing`; what is left out reaches the inbox muted."""
    user_id, channel = actor_of(request), channel_in_path(request, channel_id)
    await get_channel(database, channel, user_id)
    limit.take(user_id)
    await preferences.set_level(user_id, channel, data.level)


@get("/notifications/why", summary="Say why a notification was or was not sent")
async def read_why(request: Request[Any, Any, Any], database: NamedDependency[Database]) -> Response[Why]:
    """Return for each reason what became of it; of another user it takes the scope `impersonate`."""
    asked = parameters_of(request, "message_id", "user_id")
    message_id = _id("message_id", asked.get("message_id"))
    user_id = actor_of(request)
    if "user_id" in asked:
        user_id = actor_of(request, _id("user_id", asked["user_id"]))
    return Response(
        await explain(database, message_id, user_id, for_another=acts_for_another(request, user_id))
    )


def _id(name: str, value: str | None) -> str:
    try:
        return msgspec.convert(value, Identifier)
    except msgspec.ValidationError:
        raise Invalid(name, "is missing" if value is None else "is no id") from None
