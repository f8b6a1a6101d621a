"""Which web pages may speak to us: a browser connects for any page, but says in `Origin` whose it is.

Programs send no origin. Where none is set, pages of this machine are welcome: the port is bound to
loopback. A name that merely resolves to it may belong to anyone, so `Host` must name this machine too.
"""

import re
from collections.abc import Sequence

_LOOPBACK_ORIGIN = r"https?://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?"
_LOOPBACK_HOST = r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?"


def allowed_origin(origin: str, allowed: Sequence[str]) -> bool:
    """Say whether a page of `origin` is welcome; `*` among the allowed ones stands for all."""
    if "*" in allowed or origin in allowed:
        return True
    return not allowed and re.fullmatch(_LOOPBACK_ORIGIN, origin) is not None


def names_this_machine(host: str) -> bool:
    """Say whether the value of a `Host` header can only mean this machine."""
    return re.fullmatch(_LOOPBACK_HOST, host.lower()) is not None
