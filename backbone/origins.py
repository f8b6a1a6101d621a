"""Which web pages may speak to us: a browser connects for any page, but says in `Origin` whose it is."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from backbone.settings import is_loopback


def allowed_origin(origin: str, allowed: Sequence[str]) -> bool:
    """Say whether a page of `origin` is welcome; `*` among the allowed ones stands for all.

    Programs send no origin. Where none is set, pages of this machine are allowed: the port is bound
    to loopback, and a name that merely resolves to it may belong to anyone.
    """
    if "*" in allowed or origin in allowed:
        return True
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return False
    return not allowed and host is not None and is_loopback(host)
