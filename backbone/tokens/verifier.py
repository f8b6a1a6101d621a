"""Checks JSON Web Tokens (RFC 7519) with PyJWT: signature, times, issuer, audience, and who the subject is.

Guarantees: the key decides the algorithm, never the token; an end (`exp`) is an end to the millisecond,
a beginning (`nbf`) may lie 5 s ahead, for clocks differ, and `iat` is not judged.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import jwt
import msgspec

from backbone.clock import Clock
from backbone.settings import TokenSecurity
from backbone.tokens import Identity, TokenRefused
from schemas.messages import Identifier

TOKEN_MAX_CHARACTERS = 8 * 1024
_SKEW_MS = 5_000
# The end of the year 9999: what lies beyond it never comes; what lies before 1970 is long past.
_LAST_S = 253_402_300_799


class KeySource(Protocol):
    """The keys that tokens may be signed with."""

    async def key(self, algorithm: str, key_id: str | None) -> jwt.PyJWK:
        """Return the one key for a token with this header. Raises TokenRefused, Unavailable."""


class JwtVerifier:
    """Tells good tokens from bad ones."""

    def __init__(self, keys: KeySource, security: TokenSecurity, clock: Clock) -> None:
        self._keys = keys
        self._issuer = security.issuer
        self._audience = security.audience
        self._clock = clock

    async def verify(self, token: str) -> Identity:
        """Return whose token it is. Raises TokenRefused; Unavailable while no key can be had."""
        if len(token) > TOKEN_MAX_CHARACTERS:
            raise TokenRefused("the token is too long")
        if not token.isascii():
            raise TokenRefused("the token is not a signed JWT")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise TokenRefused("the token is not a signed JWT") from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str):
            raise TokenRefused("the token does not name its algorithm")
        key = await self._keys.key(algorithm, header.get("kid"))
        claims = self._claims(token, key)
        return Identity(_subject(claims), _scopes(claims), self._end_ms(claims))

    def _claims(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any]:
        """Return what the token says, its signature, issuer and audience checked."""
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                options={
                    # Times are checked below, against the injected clock and more strictly.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_jti": False,
                    "verify_sub": False,
                    "verify_iss": self._issuer is not None,
                    "verify_aud": self._audience is not None,
                    "require": [],
                },
            )
        except jwt.PyJWTError as error:
            raise TokenRefused(_reason(error)) from None

    def _end_ms(self, claims: Mapping[str, Any]) -> int | None:
        """Return when the token ends. Raises TokenRefused when it has, or has not begun."""
        now_ms = self._clock.now_ms()
        begins_ms = _moment_ms(claims, "nbf")
        if begins_ms is not None and begins_ms > now_ms + _SKEW_MS:
            raise TokenRefused("the token is not valid yet")
        ends_ms = _moment_ms(claims, "exp")
        if ends_ms is not None and ends_ms <= now_ms:
            raise TokenRefused("the token has expired")
        return ends_ms


def _reason(error: jwt.PyJWTError) -> str:
    """Say why in words of ours: the library's may quote the token."""
    match error:
        case jwt.InvalidIssuerError() | jwt.MissingRequiredClaimError(claim="iss"):
            return "the token is from another issuer"
        case jwt.InvalidAudienceError() | jwt.MissingRequiredClaimError(claim="aud"):
            return "the token is for another audience"
        case jwt.InvalidSignatureError():
            return "the signature of the token is wrong"
        case _:
            return "the token is not a signed JWT"


def _subject(claims: Mapping[str, Any]) -> str:
    """Return the user. Raises TokenRefused for a subject that no user can have."""
    try:
        subject: str = msgspec.convert(claims.get("sub"), Identifier)
        # JSON can hold halves of characters, which no store takes.
        subject.encode()
    except (msgspec.ValidationError, UnicodeError):
        raise TokenRefused("the subject of the token is not a user id") from None
    return subject


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes: text parted by blanks (RFC 8693), or a list; some providers call it `scp`."""
    found: set[str] = set()
    for name in ("scope", "scp"):
        match claims.get(name):
            case str(text):
                found.update(text.split(" "))
            case list(items):
                found.update(item for item in items if isinstance(item, str))
    return frozenset(found - {""})


def _moment_ms(claims: Mapping[str, Any], name: str) -> int | None:
    """Return a NumericDate in milliseconds. Raises TokenRefused for anything that is none."""
    if name not in claims:
        return None
    match claims[name]:
        case bool():
            pass
        case int(value):
            return max(0, min(value, _LAST_S)) * 1000
        case float(value) if math.isfinite(value):
            return int(max(0.0, min(value, float(_LAST_S))) * 1000)
    raise TokenRefused(f"{name} of the token is not a number of seconds")
