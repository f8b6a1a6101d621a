"""One operation, as its page describes it, and how that is said in OpenAPI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.api.documentation.structs import schema_of

# What any request may be told; beside it each operation names its own.
_ALWAYS = (400, 403, 408, 431, 500, 503)
_WITH_BODY = (413, 415)
_RATE_HEADERS = ("RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


@dataclass(frozen=True)
class Answer:
    """An answer that is no refusal. `always` and `sometimes` name its headers, `content` is what it holds."""

    description: str
    content: Any = None
    media_type: str = "application/json"
    always: Sequence[str] = ()
    sometimes: Sequence[str] = ()
    examples: Mapping[str, Any] = field(default_factory=dict)

    def described(self, extra: Sequence[str] = ()) -> dict[str, Any]:
        """Return the response object."""
        described: dict[str, Any] = {"description": self.description}
        headers = {name: _header(name) for name in (*self.always, *self.sometimes, *extra)}
        if headers:
            described["headers"] = headers
        if self.content is not None:
            described["content"] = {self.media_type: _content(self.content, self.examples)}
        return described


@dataclass(frozen=True)
class RequestBody:
    """What is sent: a struct, with examples."""

    content: Any
    examples: Mapping[str, Any]
    required: bool = True

    def described(self) -> dict[str, Any]:
        """Return the request body object."""
        content = {"application/json": _content(self.content, self.examples)}
        return {"required": self.required, "content": content}


@dataclass(frozen=True)
class Operation:
    """A method of a path. `actor` says whether it takes a user: `required`, `optional` or `none`.

    `refusals` are the statuses beside those that every operation may answer.
    """

    method: str
    path: str
    operation_id: str
    tag: str
    summary: str
    description: str
    answers: Mapping[int, Answer]
    actor: str = "optional"
    parameters: Sequence[str | Mapping[str, Any]] = ()
    body: RequestBody | None = None
    refusals: Sequence[int] = ()

    @property
    def _writes(self) -> bool:
        return self.method != "get"

    def described(self, auth: str) -> dict[str, Any]:
        """Return the operation object for a backend with this MAEARI_AUTH."""
        described: dict[str, Any] = {
            "operationId": self.operation_id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.description,
        }
        parameters = [self._parameter(each) for each in (*self.parameters, *self._actor_parameters(auth))]
        if parameters:
            described["parameters"] = parameters
        if self.body is not None:
            described["requestBody"] = self.body.described()
        extra = _RATE_HEADERS if self._writes else ()
        answers = {status: answer.described(extra) for status, answer in self.answers.items()}
        refused = {status: {"$ref": f"#/components/responses/{status}"} for status in self._refusals(auth)}
        described["responses"] = {
            str(status): response for status, response in sorted({**refused, **answers}.items())
        }
        if auth == "jwt" and self.actor == "none":
            described["security"] = []
        return described

    def _actor_parameters(self, auth: str) -> Sequence[str]:
        if self.actor == "none":
            return ()
        return ("X-User-Id!",) if self.actor == "required" and auth == "off" else ("X-User-Id",)

    def _refusals(self, auth: str) -> set[int]:
        statuses = {*_ALWAYS, *self.refusals}
        if self._writes:
            statuses.add(429)
        if self.body is not None:
            statuses.update(_WITH_BODY)
        if self.actor != "none" and (auth == "jwt" or self.actor == "required" or self._writes):
            statuses.add(401)
        return statuses

    @staticmethod
    def _parameter(parameter: str | Mapping[str, Any]) -> Mapping[str, Any]:
        if isinstance(parameter, str):
            return {"$ref": f"#/components/parameters/{parameter.replace('!', '.required')}"}
        return parameter


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _content(content: Any, examples: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"schema": schema_of(content)}
    if examples:
        described["examples"] = {name: {"value": value} for name, value in examples.items()}
    return described
