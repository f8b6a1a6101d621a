"""The Consistency-Token: which version of which message a search must see; opaque to clients."""

import base64
import binascii
import re
from typing import NamedTuple

_TOKEN = re.compile(r"([0-9]{1,18}):(msg_[^\x00]{1,124})")


class ConsistencyToken(NamedTuple):
    """A message and the version that must be visible, or a newer one."""

    message_id: str
    version: int

    def encode(self) -> str:
        """Return the header's value."""
        return base64.urlsafe_b64encode(f"{self.version}:{self.message_id}".encode()).decode().rstrip("=")


def decode_token(text: str) -> ConsistencyToken:
    """Read a header's value. Raises ValueError when no answer of ours carried it."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        plain = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error) as error:
        raise ValueError("not a Consistency-Token") from error
    parts = _TOKEN.fullmatch(plain)
    if parts is None:
        raise ValueError("not a Consistency-Token")
    return ConsistencyToken(parts[2], int(parts[1]))
