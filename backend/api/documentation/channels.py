"""The operations of channels and their members, described."""

from backend.api.channels import MakeChannelBody
from backend.api.documentation.examples import CHANNEL, CREATED, DELETED, MEMBERSHIP, MESSAGE, REDACTED
from backend.api.documentation.operation import Answer, Operation, RequestBody
from backend.api.members import PutMemberBody
from schemas.channels import ChannelView, Membership
from schemas.events import StreamEvent
from schemas.messages import Message

_PAGE = ("limit", "cursor")

CHANNEL_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "post",
        "/channels",
        "makeChannel",
        "channels",
        "Make a channel",
        "The one who asks is its first owner. Without a `channel_id` it gets one; `private` is fixed.",
        {201: Answer("It is made.", ChannelView, always=("Location", "ETag"),
                     examples={"korean": CHANNEL})},
        body=RequestBody(
            MakeChannelBody,
            {
                "korean": {"channel_id": "개발", "name": "개발팀"},
                "english": {"name": "Incident 42", "private": True},
            },
        ),
        refusals=(409,),
    ),
    Operation(
        "get",
        "/channels",
        "listChannels",
        "channels",
        "List channels",
        "Those that the reader may read, by `channel_id`.",
        {200: Answer("Channels.", list[ChannelView], sometimes=("Link",), examples={"korean": [CHANNEL]})},
        parameters=_PAGE,
    ),
    Operation(
        "get",
        "/channels/{channel_id}",
        "readChannel",
        "channels",
        "Read a channel",
        "The channel, the number of its last event, and the reader's role in it.",
        {
            200: Answer("The channel.", ChannelView, always=("ETag",), examples={"korean": CHANNEL}),
            304: Answer("Its last event still is that of `If-None-Match`.", always=("ETag",)),
        },
        parameters=("channel_id", "If-None-Match"),
        refusals=(404,),
    ),
    Operation(
        "get",
        "/channels/{channel_id}/messages",
        "listChannelMessages",
        "channels",
        "List a channel's messages",
        "The live messages, newest first; with `after_sequence` those created after it, oldest first.",
        {200: Answer("Messages.", list[Message], sometimes=("Link",), examples={"korean": [MESSAGE]})},
        parameters=("channel_id", "after_sequence", *_PAGE),
        refusals=(404,),
    ),
    Operation(
        "get",
        "/channels/{channel_id}/events",
        "listChannelEvents",
        "channels",
        "List a channel's events",
        "Every event after `after_sequence`, oldest first, without a gap. Of messages that were deleted "
        "since, all but owners get events without text, marked `redacted`.",
        {200: Answer("Events.", list[StreamEvent], sometimes=("Link",),
                     examples={"owner": [CREATED, DELETED], "others": [REDACTED, DELETED]})},
        parameters=("channel_id", "after_sequence", *_PAGE),
        refusals=(404, 409),
    ),
    Operation(
        "get",
        "/channels/{channel_id}/members",
        "listMembers",
        "channels",
        "List a channel's members",
        "By `user_id`.",
        {200: Answer("Members.", list[Membership], sometimes=("Link",),
                     examples={"korean": [MEMBERSHIP]})},
        parameters=("channel_id", *_PAGE),
        refusals=(404,),
    ),
    Operation(
        "put",
        "/channels/{channel_id}/members/{user_id}",
        "putMember",
        "channels",
        "Join, add someone, or change a role",
        "Anyone may join a public channel; the rest is the owners'. Without a role, or a body, the user "
        "becomes a member, or stays what it is.",
        {200: Answer("The membership as it is now.", Membership, examples={"korean": MEMBERSHIP})},
        actor="required",
        parameters=("channel_id", "user_id"),
        body=RequestBody(PutMemberBody | None, {"owner": {"role": "owner"}, "member": {}}, required=False),
        refusals=(404, 409),
    ),
    Operation(
        "delete",
        "/channels/{channel_id}/members/{user_id}",
        "removeMember",
        "channels",
        "Leave, or remove someone",
        "Once more changes nothing. The last owner stays (409).",
        {204: Answer("The user is no member.")},
        actor="required",
        parameters=("channel_id", "user_id"),
        refusals=(404, 409),
    ),
)  # fmt: skip
