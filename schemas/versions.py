"""Events of all versions, read in the words of today.

An event of an earlier version is brought up step by step before it is read; one of a later version
is refused, for what it means cannot be known here. The method is known as upcasting (Greg Young,
Versioning in an Event Sourced System, 2016).
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from schemas.codec import decode_with

SCHEMA_VERSION = 1

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Returns an event, as JSON has it, in the words of the next version."""

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""By event type and the version that each begins with; an event type that stayed the same needs none."""

T = TypeVar("T")


class _Envelope(msgspec.Struct):
    event_type: str
    schema_version: Annotated[int, Meta(ge=1)] = 1


_envelope: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)
_anything: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class EventDecoder(Generic[T]):
    """Reads events of one type, or of a union of types."""

    def __init__(
        self,
        kind: Any,
        version: int = SCHEMA_VERSION,
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    ) -> None:
        self._kind = kind
        self._version = version
        self._upcasters = upcasters
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def decode(self, data: bytes | str) -> T:
        """Read an event. Raises msgspec.DecodeError when it is none, or of a later version."""
        try:
            event = decode_with(self._decoder, data)
            if event.schema_version == self._version:  # type: ignore[attr-defined]
                return event
        except msgspec.DecodeError:
            # Later versions and earlier ones may read otherwise than today's: that decides what is wrong.
            if decode_with(_envelope, data).schema_version == self._version:
                raise
        return self._of_another_version(data)

    def _of_another_version(self, data: bytes | str) -> T:
        envelope = decode_with(_envelope, data)
        if envelope.schema_version > self._version:
            raise msgspec.ValidationError(
                f"schema_version {envelope.schema_version} of {envelope.event_type} is not known here"
                f" ({self._version} is the latest)"
            )
        event = decode_with(_anything, data)
        for version in range(envelope.schema_version, self._version):
            upcaster = self._upcasters.get((event["event_type"], version), dict)
            try:
                event = upcaster(event) | {"schema_version": version + 1}
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise msgspec.ValidationError(
                    f"not an event of schema_version {version}: {type(error).__name__} {error}"
                ) from error
        read: T = msgspec.convert(event, self._kind)
        return read
