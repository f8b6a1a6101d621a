"""Commands as HTTP requests, and the model's verdicts as their answers' status codes."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from msgspec import UNSET, to_builtins

from backend.domain.commands import (
    Command,
    DeleteMessage,
    EditMessage,
    MakeChannel,
    MarkRead,
    PostMessage,
    PutMember,
    RemoveMember,
)
from tests.property.model import Verdict

_REFUSALS: Mapping[Verdict, int] = {
    "Invalid": 400,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "Gone": 410,
    "Stale": 412,
    "KeyReused": 422,
}


def status_of(command: Command, verdict: Verdict) -> int:
    """Return the status that answers the command."""
    if verdict in _REFUSALS:
        return _REFUSALS[verdict]
    match command:
        case PostMessage():
            return 200 if verdict == "repeated" else 201
        case MakeChannel():
            return 201
        case EditMessage() | PutMember():
            return 200
        case DeleteMessage() | RemoveMember() | MarkRead():
            return 204


async def send(client: httpx.AsyncClient, command: Command, ids: Mapping[str, str]) -> httpx.Response:
    """Ask for what the command asks for; `ids` are the server's, by those that the command knows."""
    method, path, headers, body = _request(command, ids)
    headers["X-User-Id"] = command.actor_id
    in_bytes = {name.encode(): value.encode() for name, value in headers.items()}
    return await client.request(method, path, headers=in_bytes, json=body)


def _request(command: Command, ids: Mapping[str, str]) -> tuple[str, str, dict[str, str], Any]:
    match command:
        case PostMessage():
            key = command.idempotency_key
            parent = command.parent_id and ids.get(command.parent_id, command.parent_id)
            body = {"channel_id": command.channel_id, **_said(command), "parent_id": parent}
            return "POST", "/messages", {} if key is None else {"Idempotency-Key": key}, body
        case EditMessage() | DeleteMessage():
            path = f"/messages/{_in_path(ids.get(command.message_id, command.message_id))}"
            method, said = ("PATCH", _said(command)) if isinstance(command, EditMessage) else ("DELETE", None)
            return method, path, _if_match(command.if_match), said
        case MakeChannel():
            body = {"channel_id": command.channel_id, "name": command.name, "private": command.private}
            return "POST", "/channels", {}, body
        case MarkRead():
            return "PUT", f"/channels/{_in_path(command.channel_id)}/read", {}, {"sequence": command.sequence}
        case PutMember() | RemoveMember():
            path = f"/channels/{_in_path(command.channel_id)}/members/{_in_path(command.user_id)}"
            if isinstance(command, RemoveMember):
                return "DELETE", path, {}, None
            return "PUT", path, {}, {"role": command.role} if command.role else None


def _if_match(versions: frozenset[int] | None) -> dict[str, str]:
    if versions is None:
        return {}
    return {"If-Match": ", ".join(f'"{version}"' for version in versions) or '"none"'}


def _said(command: PostMessage | EditMessage) -> dict[str, Any]:
    names = ("content", "mentions", "attachments")
    return {name: to_builtins(value) for name in names if (value := getattr(command, name)) is not UNSET}


def _in_path(id_: str) -> str:
    return quote(id_, safe="")
