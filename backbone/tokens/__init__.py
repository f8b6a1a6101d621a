"""Tokens: who a bearer of one is, and what it may do. The port; the modules beside it check and mint them.

Guarantees: an identity is only ever made of a token whose signature, times, issuer and audience were
checked; a refusal's text is one of ours and holds nothing of the token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from backbone.clock import Clock, SystemClock
from backbone.health import Health
from backbone.settings import Settings

# The scope that lets a bearer act for others, as a gateway or an import does.
IMPERSONATE = "impersonate"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who bears a token; `expires_at_ms` is None for a token without an end."""

    user_id: str
    scopes: frozenset[str] = frozenset()
    expires_at_ms: int | None = None

    def may_act_for(self, user_id: str) -> bool:
        """Say whether the bearer is that user, or may act for others."""
        return user_id == self.user_id or IMPERSONATE in self.scopes


class TokenRefused(Exception):
    """The token proves nothing; the text says why, in ASCII without quotes, as headers take it."""


class TokenMissing(TokenRefused):
    """There is no token."""


class TokenVerifier(Protocol):
    """Tells the bearers of good tokens from everyone else."""

    async def verify(self, token: str) -> Identity:
        """Return whose token it is. Raises TokenRefused; Unavailable while no key can be had."""


def bearer_token(headers: Sequence[str]) -> str:
    """Return the token of the `Authorization` headers. Raises TokenRefused where there is not one."""
    if len(headers) > 1:
        raise TokenRefused("there is more than one Authorization header")
    scheme, _, token = "".join(headers).strip().partition(" ")
    if scheme.lower() != "bearer":
        raise TokenMissing("send the header Authorization: Bearer TOKEN")
    if not token.strip():
        raise TokenRefused("there is no token behind Bearer")
    return token.strip()


def open_verifier(settings: Settings, health: Health, clock: Clock | None = None) -> TokenVerifier | None:
    """Return what checks the tokens of MAEARI_AUTH=jwt, None with `off`; needs a running loop.

    The keys of a JWKS are asked for at once, and known to `health` as `jwks`. Raises SetupError
    for a secret that cannot be one.
    """
    if settings.auth == "off":
        return None
    # Not above: the adapters import this port, and without tokens nobody loads PyJWT and aiohttp.
    from backbone.tokens.secret import SecretKey  # noqa: PLC0415
    from backbone.tokens.verifier import JwtVerifier  # noqa: PLC0415

    security = settings.token_security
    if security.secret is not None:
        return JwtVerifier(SecretKey(security.secret), security, clock or SystemClock())
    from backbone.tokens.jwks import JwksKeys  # noqa: PLC0415

    assert security.jwks_url is not None, "the settings were checked"
    keys = JwksKeys(security.jwks_url, health)
    keys.start()
    return JwtVerifier(keys, security, clock or SystemClock())
