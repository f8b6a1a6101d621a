"""The operations of messages, described."""

from backend.api.documentation.examples import CREATED, DELETED, EDITED, MESSAGE, REPLY
from backend.api.documentation.operation import Answer, Operation, RequestBody
from backend.api.documentation.parts import parameter
from backend.api.messages import EditMessageBody, PostMessageBody
from schemas.events import MessagesEvent
from schemas.messages import FormerMessage, Message

_VERSIONED = ("ETag", "Consistency-Token")
_PAGE = ("limit", "cursor")

MESSAGE_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "post",
        "/messages",
        "postMessage",
        "messages",
        "Post a message",
        "Stores the message together with its event. With MAEARI_AUTH=off a channel that does not exist is "
        "made, public, by its first post. `parent_id` makes the message a reply; threads have one level.",
        {
            201: Answer("It is stored.", Message, always=("Location", *_VERSIONED),
                        examples={"korean": MESSAGE, "english": REPLY}),
            200: Answer("This key's post was stored before: the message as it was first answered.", Message,
                        always=("Location", *_VERSIONED), examples={"korean": MESSAGE}),
        },
        parameters=("Idempotency-Key",),
        body=RequestBody(
            PostMessageBody,
            {
                "korean": {
                    "channel_id": "개발",
                    "author_id": "철수",
                    "content": "배포를 완료했습니다 🚀",
                    "mentions": ["영희"],
                },
                "english": {
                    "channel_id": "engineering",
                    "author_id": "minsu",
                    "content": "Deployed to production.",
                    "mentions": ["@channel"],
                    "attachments": [{"name": "log.txt", "url": "https://files.example/deploys/42.txt"}],
                },
            },
        ),
        refusals=(404, 422),
    ),
    Operation(
        "get",
        "/messages/{message_id}",
        "readMessage",
        "messages",
        "Read a message",
        "The message as it is, from the database; with `as_of` as it was then. Deleted messages are gone "
        "(410), except to the channel's owners with `as_of`.",
        {
            200: Answer("The message.", FormerMessage, always=("ETag",), examples={"korean": MESSAGE}),
            304: Answer("It still is the version of `If-None-Match`.", always=("ETag",)),
        },
        parameters=(
            "message_id",
            parameter(
                "query",
                "as_of",
                {"type": "string", "format": "date-time"},
                "A moment, RFC 3339: the state at that time, inclusive.",
                example="2026-01-31T09:00:00Z",
            ),
            "If-None-Match",
        ),
        refusals=(404, 409, 410),
    ),
    Operation(
        "patch",
        "/messages/{message_id}",
        "editMessage",
        "messages",
        "Edit a message",
        "By its author only. What is left out stays as it is; lists are replaced as a whole. An edit that "
        "changes nothing is no event.",
        {200: Answer("The message after the edit.", Message, always=_VERSIONED,
                     examples={"korean": EDITED})},
        parameters=("message_id", "If-Match"),
        body=RequestBody(
            EditMessageBody,
            {
                "korean": {"content": "배포를 되돌렸습니다"},
                "english": {"content": "Rolled back.", "mentions": ["minsu"], "attachments": []},
            },
        ),
        refusals=(404, 410, 412),
    ),
    Operation(
        "delete",
        "/messages/{message_id}",
        "deleteMessage",
        "messages",
        "Delete a message",
        "By its author or an owner of the channel. Once more changes nothing, and is answered the same.",
        {204: Answer("It is deleted.", always=("Consistency-Token",))},
        actor="required",
        parameters=("message_id", "If-Match"),
        refusals=(404, 412),
    ),
    Operation(
        "get",
        "/messages/{message_id}/history",
        "readMessageHistory",
        "messages",
        "List a message's events",
        "Every event of the message, oldest first. Of a deleted message only the channel's owners see it.",
        {200: Answer("Events.", list[MessagesEvent], sometimes=("Link",),
                     examples={"deleted": [CREATED, DELETED]})},
        parameters=("message_id", *_PAGE),
        refusals=(404, 409, 410),
    ),
    Operation(
        "get",
        "/messages/{message_id}/replies",
        "readReplies",
        "messages",
        "List the replies to a message",
        "The live replies, oldest first, also where the message itself is deleted.",
        {200: Answer("Messages.", list[Message], sometimes=("Link",), examples={"english": [REPLY]})},
        parameters=("message_id", *_PAGE),
        refusals=(404,),
    ),
)  # fmt: skip
