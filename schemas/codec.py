"""JSON in and out: one encoder, and decoders that fail in one way."""

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Return the compact UTF-8 JSON of an event, a state or any other struct of this package."""
    return _encoder.encode(value)


def decode_with(decoder: msgspec.json.Decoder[T], data: bytes | str) -> T:
    """Decode. Raises msgspec.DecodeError (or its ValidationError), and nothing else, for bad data."""
    try:
        return decoder.decode(data)
    except (UnicodeError, RecursionError) as error:
        # The decoder lets these through: bytes or text that are no UTF-8, and nesting deeper than the stack.
        raise msgspec.DecodeError(str(error)) from error
