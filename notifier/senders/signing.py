"""Signatures of webhooks after the Standard Webhooks specification (standardwebhooks.com), symmetric scheme.

A receiver that knows one of the keys can tell who sent a body, and when. Pure.
"""

import base64
import hmac
from collections.abc import Mapping, Sequence


def signed_headers(push_id: str, epoch_s: int, body: bytes, keys: Sequence[bytes]) -> Mapping[str, str]:
    """Return the three headers that go with a body; each key gives a signature of its own.

    `epoch_s` is the moment of this attempt: receivers refuse what is long ago, so that nobody sends it again.
    """
    signed = b".".join((push_id.encode(), str(epoch_s).encode(), body))
    signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": push_id,
        "webhook-timestamp": str(epoch_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
