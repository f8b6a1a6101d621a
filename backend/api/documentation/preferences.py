"""The operations of what a user wants to be told, and of why something was told, described."""

from backend.api.documentation.examples import PREFERENCES, WHY
from backend.api.documentation.operation import Answer, Operation, RequestBody
from backend.api.documentation.parts import PARAMETERS, parameter
from backend.api.preferences import ChannelLevelBody, PreferencesBody
from schemas.notifications import Why
from schemas.preferences import Preferences

_IDENTIFIER = PARAMETERS["message_id"]["schema"]

PREFERENCES_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get",
        "/notifications/preferences",
        "readPreferences",
        "reading",
        "Read what the user wants to be told",
        "When the user is not to be disturbed, and the levels of channels that differ from `all`.",
        {200: Answer("Preferences.", Preferences, examples={"korean": PREFERENCES})},
        actor="required",
    ),
    Operation(
        "put",
        "/notifications/preferences",
        "setPreferences",
        "reading",
        "Set when the user is not to be disturbed",
        "What happens within these hours reaches the inbox `muted`, and is not pushed elsewhere. They "
        "go past midnight where they end before they start; null: never mind.",
        {200: Answer("The preferences now.", Preferences, examples={"korean": PREFERENCES})},
        actor="required",
        body=RequestBody(PreferencesBody, {"night": {"do_not_disturb": PREFERENCES["do_not_disturb"]}}),
    ),
    Operation(
        "put",
        "/channels/{channel_id}/notifications",
        "setChannelLevel",
        "reading",
        "Set what to be told of a channel",
        "`all`: mentions and replies; `mentions`: replies are muted; `nothing`: all is muted.",
        {204: Answer("It is noted.")},
        actor="required",
        parameters=("channel_id",),
        body=RequestBody(ChannelLevelBody, {"quiet": {"level": "mentions"}}),
        refusals=(404,),
    ),
    Operation(
        "get",
        "/notifications/why",
        "explainNotification",
        "reading",
        "Say why a notification was or was not sent",
        "For each reason: what became of it, and because of what. Of another user it takes the scope "
        "`impersonate`, which is also told of messages that the user may not read.",
        {200: Answer("Reasons.", Why, examples={"korean": WHY})},
        actor="required",
        parameters=(
            parameter("query", "message_id", _IDENTIFIER, "The message.", required=True,
                      example=WHY["message_id"]),
            parameter("query", "user_id", _IDENTIFIER, "The user; who asks, unless told."),
        ),
        refusals=(404,),
    ),
)  # fmt: skip
