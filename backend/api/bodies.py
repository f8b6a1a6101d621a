"""Bodies of requests, read straight into the struct of their route.

One pass instead of two, and strict: no text passes for a number or for true, as it does where the
framework converts what it has decoded already. A number such as 5.0 is a whole one, as in JSON Schema.
"""

import re
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import SerializationException

from backend.domain.rejections import Invalid

_PLACE = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")


class StrictRequest(Request[Any, Any, Any]):
    """A request whose `json` is what its route takes."""

    async def json(self) -> Any:
        """Return the decoded body. Raises Invalid, naming the field, or SerializationException."""
        field = self.route_handler.parsed_data_field
        body = await self.body()
        try:
            return _decoded(body, Any if field is None else field.annotation)
        except msgspec.ValidationError as error:
            raise _invalid(str(error)) from error
        except msgspec.DecodeError as error:
            raise SerializationException(str(error)) from error


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return _decoder_of(kind).decode(body)
    except msgspec.ValidationError as error:
        if "got `float`" not in str(error):
            raise
    # Some programs write every number like this; they are few, and may cost a second pass.
    return msgspec.convert(_with_whole_numbers(msgspec.json.decode(body)), kind)


def _with_whole_numbers(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _with_whole_numbers(each) for name, each in value.items()}
        case list():
            return [_with_whole_numbers(each) for each in value]
        case _:
            return value


@lru_cache
def _decoder_of(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _invalid(said: str) -> Invalid:
    """Read the decoder's error: what is wrong, and where."""
    place = _PLACE.search(said)
    message = _PLACE.sub("", said)
    path = [place[1]] if place is not None and place[1] else []
    if missing := _MISSING.fullmatch(message):
        path, message = [*path, missing[1]], "is missing"
    elif " matching regex " in message:
        message = "has characters, or a form, not allowed here"
    return Invalid(".".join(path) or "body", message)
