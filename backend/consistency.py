"""The Consistency-Token: which version of which message a search must see; opaque to clients.

Guarantees: a token that was cut short, or changed in any one place, is none; so is one of an earlier form.
"""

import base64
import binascii
import re
from typing import NamedTuple
from zlib import crc32

_PLAIN = re.compile(r"([0-9]{1,18}):(msg_[^\x00]{1,124})")
_CHECK_BYTES = 4


class ConsistencyToken(NamedTuple):
    """A message and the version that must be visible, or a newer one."""

    message_id: str
    version: int

    def encode(self) -> str:
        """Return the header's value."""
        plain = f"{self.version}:{self.message_id}".encode()
        return base64.urlsafe_b64encode(_check(plain) + plain).decode().rstrip("=")


def decode_token(text: str) -> ConsistencyToken:
    """Read a header's value. Raises ValueError when no answer of ours carried it."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        decoded = base64.b64decode(padded, altchars=b"-_", validate=True)
        check, plain = decoded[:_CHECK_BYTES], decoded[_CHECK_BYTES:]
        parts = _PLAIN.fullmatch(plain.decode())
    except (UnicodeError, binascii.Error) as error:
        raise ValueError("not a Consistency-Token") from error
    if parts is None or check != _check(plain):
        raise ValueError("not a Consistency-Token")
    token = ConsistencyToken(parts[2], int(parts[1]))
    # The last character has bits that say nothing, and base64 more than one way to end.
    if token.encode() != text:
        raise ValueError("not a Consistency-Token")
    return token


def _check(plain: bytes) -> bytes:
    return crc32(plain).to_bytes(_CHECK_BYTES)
