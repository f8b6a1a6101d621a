"""Attachments as bodies of requests may have them.

They are asked for more than the record is: what was stored before it was asked for stays readable.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.messages import ATTACHMENTS_MAX, Attachment

# Python and ECMA 262 read the patterns alike; of `(?!\n)` see schemas/messages.py. A URL must have a host,
# which what stands before an `@` is not.
_NO_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_HOST = rf"[^\s{_NO_CONTROLS}/?#@\\:][^\s{_NO_CONTROLS}/?#@\\]*"
_URL = (
    rf"^[hH][tT][tT][pP][sS]?://([^\s{_NO_CONTROLS}/?#@\\]*@)?{_HOST}"
    rf"([/?#][^\s{_NO_CONTROLS}]*)?$(?!\n)"
)


class NewAttachment(msgspec.Struct, frozen=True):
    """A file that a message points to; it is stored elsewhere, under `url`."""

    name: Annotated[str, Meta(min_length=1, max_length=255, pattern=rf"^[^{_NO_CONTROLS}]+$(?!\n)")]
    url: Annotated[str, Meta(max_length=2048, pattern=_URL, description="http or https, with a host.")]
    content_type: Annotated[str, Meta(max_length=127, pattern=rf"^[^{_NO_CONTROLS}]*$(?!\n)")] | None = None
    size_bytes: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


NewAttachments = Annotated[tuple[NewAttachment, ...], Meta(max_length=ATTACHMENTS_MAX)]


def attachments_of(asked: tuple[NewAttachment, ...]) -> tuple[Attachment, ...]:
    """Return them as the record has them."""
    return tuple(Attachment(each.name, each.url, each.content_type, each.size_bytes) for each in asked)
