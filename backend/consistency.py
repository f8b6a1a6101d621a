"""The Consistency-Token: which version of which message a search must see; opaque to clients."""

import base64
import binascii
from typing import NamedTuple


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
    version, separator, message_id = plain.partition(":")
    if not separator or not message_id.startswith("msg_") or not (version.isascii() and version.isdigit()):
        raise ValueError("not a Consistency-Token")
    return ConsistencyToken(message_id, int(version))
