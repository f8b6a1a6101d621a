"""The operations of read marks, counts and the inbox, described."""

from backend.api.documentation.examples import NOTIFICATION, UNREAD
from backend.api.documentation.operation import Answer, Operation, RequestBody
from backend.api.documentation.parts import number, parameter
from backend.api.paging import NUMBER_MAX
from backend.api.reading import ReadChannelBody, ReadNotificationsBody
from schemas.channels import Unread
from schemas.notifications import NumberedNotification

_PAGE = ("limit", "cursor")

READING_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "put",
        "/channels/{channel_id}/read",
        "markChannelRead",
        "reading",
        "Mark a channel as read",
        "Up to `sequence`; a mark never goes back, nor beyond the channel's last event.",
        {204: Answer("It is noted.")},
        actor="required",
        parameters=("channel_id",),
        body=RequestBody(ReadChannelBody, {"all": {"sequence": 42}}),
        refusals=(404,),
    ),
    Operation(
        "get",
        "/unread",
        "countUnread",
        "reading",
        "Count what is unread",
        "Unread messages and mentions of each channel that the user is in or has read, among the newest "
        "10,000 events of each.",
        {200: Answer("Counts.", list[Unread], sometimes=("Link",), examples={"korean": [UNREAD]})},
        actor="required",
        parameters=_PAGE,
    ),
    Operation(
        "get",
        "/notifications",
        "readInbox",
        "reading",
        "Read the inbox",
        "Newest first; with `after` those after that `seq`, oldest first. What was retracted keeps its "
        "place, with `title` and `body` null, and so does what the user may not read any more.",
        {200: Answer("Notifications.", list[NumberedNotification], sometimes=("Link",),
                     examples={"korean": [NOTIFICATION]})},
        actor="required",
        parameters=(
            parameter("query", "unread", {"type": "string", "enum": ["true", "false", "1", "0", ""]},
                      "Only what is neither read nor retracted.", example="true"),
            parameter("query", "after", number(0, NUMBER_MAX), "Only what follows this `seq`."),
            *_PAGE,
        ),
    ),
    Operation(
        "post",
        "/notifications/read",
        "markNotificationsRead",
        "reading",
        "Mark notifications as read",
        "Up to `up_to`; a mark never goes back, nor beyond what the inbox holds.",
        {204: Answer("It is noted.")},
        actor="required",
        body=RequestBody(ReadNotificationsBody, {"all": {"up_to": 7}}),
    ),
)  # fmt: skip
