"""Tokens signed with the shared secret of MAEARI_JWT_SECRET (HS256): checked, and minted for development."""

import warnings
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import cache

import jwt
import structlog

from backbone.errors import SetupError
from backbone.settings import TokenSecurity
from backbone.tokens import TokenRefused

_ALGORITHM = "HS256"
# RFC 7518, section 3.2: a key as long as the hash, or longer.
_SECRET_BYTES = 32

log = structlog.get_logger()


class SecretKey:
    """The one key there is; it verifies HS256 and nothing else."""

    def __init__(self, secret: str) -> None:
        """Raises SetupError for a text that is a key of another kind."""
        key = _bytes(secret)
        if len(key) < _SECRET_BYTES:
            _warn_once(len(key))
        encoded = urlsafe_b64encode(key).rstrip(b"=").decode()
        self._key = jwt.PyJWK({"kty": "oct", "k": encoded}, _ALGORITHM)

    async def key(self, algorithm: str, key_id: str | None) -> jwt.PyJWK:
        """Return the key. Raises TokenRefused for a token that is signed in another way."""
        if algorithm != _ALGORITHM:
            raise TokenRefused("the algorithm of the token is not HS256")
        return self._key


def mint(security: TokenSecurity, user_id: str, scopes: Sequence[str], now_s: int, lasts_s: int) -> str:
    """Return a token for the user, with the issuer and audience of the settings.

    Raises SetupError where there is no secret, or one that cannot be one.
    """
    if security.secret is None:
        raise SetupError(
            "MAEARI_JWT_SECRET: set it to mint tokens; with MAEARI_JWKS_URL the identity provider issues them"
            if security.jwks_url
            else "MAEARI_JWT_SECRET: set it to mint tokens, to 32 random bytes or more"
        )
    claims: dict[str, str | int] = {"sub": user_id, "iat": now_s, "exp": now_s + lasts_s}
    if scopes:
        claims["scope"] = " ".join(scopes)
    if security.issuer:
        claims["iss"] = security.issuer
    if security.audience:
        claims["aud"] = security.audience
    key = _bytes(security.secret)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode(claims, key, _ALGORITHM)


def _bytes(secret: str) -> bytes:
    """Return the secret as it stood in the environment, whatever its encoding."""
    key = secret.encode(errors="surrogateescape")
    try:
        jwt.get_algorithm_by_name(_ALGORITHM).prepare_key(key)
    except jwt.InvalidKeyError:
        raise SetupError(
            "MAEARI_JWT_SECRET: is a public or private key, not a secret; for keys set MAEARI_JWKS_URL"
        ) from None
    return key


@cache
def _warn_once(size_bytes: int) -> None:
    """Say once a process that the secret is short; the library would say so at every token."""
    warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)
    log.warning(
        "jwt_secret_short",
        setting="MAEARI_JWT_SECRET",
        size_bytes=size_bytes,
        recommended_bytes=_SECRET_BYTES,
    )
