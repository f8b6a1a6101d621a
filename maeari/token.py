"""`maeari token`: a token for development, out of MAEARI_JWT_SECRET."""

import re
from collections.abc import Sequence

import msgspec

from backbone.clock import Clock
from backbone.errors import SetupError
from backbone.settings import Settings
from backbone.tokens.secret import mint
from schemas.messages import Identifier

_SECONDS_IN = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LASTS_MAX_S = 10 * 366 * 86_400
# RFC 6749, appendix A.4: no blanks, quotes or backslashes.
_SCOPE = r"[\x21\x23-\x5b\x5d-\x7e]+"


def token(settings: Settings, user_id: str, scopes: Sequence[str], expires_in: str, clock: Clock) -> str:
    """Return a token for the user. Raises SetupError, whose text says what to do."""
    try:
        msgspec.convert(user_id, Identifier).encode()
    except (msgspec.ValidationError, UnicodeError):
        raise SetupError(
            "--user: 1 to 128 characters, without control characters or /, and neither . nor .."
        ) from None
    for scope in scopes:
        if not re.fullmatch(_SCOPE, scope):
            raise SetupError("--scope: printable ASCII without blanks, quotes or backslashes, one at a time")
    return mint(settings.token_security, user_id, scopes, clock.now_ms() // 1000, _seconds(expires_in))


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    seconds = int(found[1]) * _SECONDS_IN[found[2]] if found else 0
    if not 1 <= seconds <= _LASTS_MAX_S:
        raise SetupError("--expires-in: seconds, or a number with s, m, h or d behind it, such as 12h")
    return seconds
