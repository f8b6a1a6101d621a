"""The structs of bodies and answers as JSON Schemas: the components of the document."""

import inspect
from typing import Any, Literal, get_args

import msgspec
from msgspec import UnsetType

from backbone.search import Hit
from backend.api.channels import MakeChannelBody
from backend.api.members import PutMemberBody
from backend.api.messages import EDITABLE, EditMessageBody, PostMessageBody
from backend.api.preferences import ChannelLevelBody, PreferencesBody
from backend.api.problems import Problem
from backend.api.reading import ReadChannelBody, ReadNotificationsBody
from schemas.channels import ChannelView, Membership, Unread
from schemas.events import MessagesEvent, StreamEvent
from schemas.messages import FormerMessage, Message
from schemas.notifications import NumberedNotification, Why
from schemas.preferences import Preferences

_REF = "#/components/schemas/{name}"
_REQUESTS = (
    PostMessageBody,
    EditMessageBody,
    MakeChannelBody,
    PutMemberBody,
    ReadChannelBody,
    ReadNotificationsBody,
    PreferencesBody,
    ChannelLevelBody,
)


class Liveness(msgspec.Struct, frozen=True):
    """The process runs."""

    status: Literal["ok"]


class ReadinessDocument(msgspec.Struct, frozen=True):
    """`degraded`: something that the process uses does not answer; `dependencies` says what, and how."""

    status: Literal["ok", "degraded"]
    dependencies: dict[str, str]


_ANSWERS = (
    Message,
    FormerMessage,
    list[Message],
    list[MessagesEvent],
    list[StreamEvent],
    tuple[Hit, ...],
    ChannelView,
    list[ChannelView],
    Membership,
    list[Membership],
    list[Unread],
    list[NumberedNotification],
    Preferences,
    Why,
    Problem,
    Liveness,
    ReadinessDocument,
)
_REDACTED = {
    "const": True,
    "description": "The message was deleted since: what the event said is left out, for all but owners.",
}


def schema_of(content: Any) -> Any:
    """Return the schema of a struct, or of a list of them, by reference to the components."""
    (schema,), _ = msgspec.json.schema_components([content], ref_template=_REF)
    return schema


def component_schemas() -> dict[str, Any]:
    """Return all schemas, by name."""
    _, requests = msgspec.json.schema_components(_REQUESTS, ref_template=_REF)
    _, answers = msgspec.json.schema_components(_ANSWERS, ref_template=_REF)
    structs = _structs_by_name()
    for name, schema in answers.items():
        if name in structs:
            schema["required"] = _always_there(structs[name])
    for name in ("MessageCreated", "MessageUpdated"):
        answers[name]["properties"]["redacted"] = _REDACTED
    # One of them at least: what no type can say.
    requests["EditMessageBody"]["anyOf"] = [{"required": [name]} for name in EDITABLE]
    components = {**requests, **answers}
    for schema in components.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return dict(sorted(components.items()))


def _always_there(struct: type[msgspec.Struct]) -> list[str]:
    """Return the fields that every encoded struct has: defaults are written, too, unless it omits them."""
    configuration = struct.__struct_config__
    tag = [configuration.tag_field] if configuration.tag_field is not None else []
    fields = [
        field.encode_name
        for field in msgspec.structs.fields(struct)
        if field.required or not (configuration.omit_defaults or UnsetType in get_args(field.type))
    ]
    return [*tag, *fields]


def _structs_by_name() -> dict[str, type[msgspec.Struct]]:
    """Return every struct that an answer holds, at any depth."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting: list[Any] = list(_ANSWERS)
    while waiting:
        described = waiting.pop()
        if isinstance(described, type) and issubclass(described, msgspec.Struct):
            if described.__name__ not in found:
                found[described.__name__] = described
                waiting.extend(field.type for field in msgspec.structs.fields(described))
        else:
            waiting.extend(get_args(described))
    return found
