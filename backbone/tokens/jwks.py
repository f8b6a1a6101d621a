"""The public keys at MAEARI_JWKS_URL (RFC 7517): RS256, ES256, EdDSA, kept and read anew in the background.

Guarantees: requests share one reading; a key id that is not known asks for a new one, at most every
`retry_s`; keys that were read serve while the server is down, and are gone once it no longer lists
them; a reading is bounded in time and size.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import jwt
import structlog

from backbone.errors import Unavailable
from backbone.health import Health
from backbone.tokens import TokenRefused

_DEPENDENCY = "identity provider"
_HEALTH = "jwks"
_DOCUMENT_MAX_BYTES = 512 * 1024
# RFC 7518, section 3.3.
_RSA_MIN_BITS = 2048
# The kinds of key that are taken, each with its one algorithm.
_ALGORITHM_OF = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_ALGORITHMS = frozenset(_ALGORITHM_OF.values())

log = structlog.get_logger()


class JwksKeys:
    """The keys that an identity provider publishes."""

    def __init__(
        self,
        url: str,
        health: Health,
        *,
        refresh_s: float = 300.0,
        retry_s: float = 10.0,
        timeout_s: float = 5.0,
    ) -> None:
        self._url = url
        self._health = health
        self._refresh_s = refresh_s
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._keys: list[jwt.PyJWK] | None = None
        self._trouble: str | None = None
        self._reading: asyncio.Task[None] | None = None
        self._began_s = -float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Read the keys now, and from time to time as long as the loop runs."""
        if self._reading is None or self._reading.done():
            self._began_s = time.monotonic()
            self._reading = asyncio.create_task(self._read(), name="jwks")

    async def key(self, algorithm: str, key_id: str | None) -> jwt.PyJWK:
        """Return the one key for a token with this header. Raises TokenRefused, Unavailable."""
        if algorithm not in _ALGORITHMS:
            raise TokenRefused("the algorithm of the token is not RS256, ES256 or EdDSA")
        if not self._knows(key_id):
            await self._read_again()
        if self._keys is None or (self._trouble and not self._knows(key_id)):
            # Whether the key is good nobody can tell for now: the client is not to throw its token away.
            raise Unavailable(_DEPENDENCY, self._trouble or "its keys were not read yet")
        named = self._named(key_id)
        for key in named:
            if key.algorithm_name == algorithm:
                return key
        if named:
            raise TokenRefused("the algorithm of the token is not that of its key")
        if key_id is None:
            raise TokenRefused("the token does not name its key")
        raise TokenRefused("the token names a key that is not known")

    def _knows(self, key_id: str | None) -> bool:
        """Say whether another reading could tell nothing new about the id."""
        return self._keys is not None and (key_id is None or bool(self._named(key_id)))

    def _named(self, key_id: str | None) -> list[jwt.PyJWK]:
        """Return the keys of an id; without an id, the only key there is."""
        keys = self._keys or []
        if key_id is None:
            return keys if len(keys) == 1 else []
        return [key for key in keys if key.key_id == key_id]

    async def _read_again(self) -> None:
        """Wait for the reading under way; begin one unless the last began a moment ago."""
        if self._reading is None or self._reading.done():
            if time.monotonic() - self._began_s < self._retry_s:
                return
            self.start()
        assert self._reading is not None, "it is under way"
        # Others wait for it too: it outlives a client that hangs up.
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            keys = _usable_keys(await self._document())
        except Unavailable as error:
            self._trouble = error.detail
            self._health.down(_HEALTH, error.detail)
            log.warning("jwks_down", detail=error.detail)
        else:
            if self._keys is None or _names(keys) != _names(self._keys):
                log.info("jwks_read", keys=_names(keys))
            self._keys, self._trouble = keys, None
            self._health.up(_HEALTH)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            wait_s = self._retry_s if self._trouble else self._refresh_s
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.start)

    async def _document(self) -> bytes:
        """Return what the server answers. Raises Unavailable."""
        patience = aiohttp.ClientTimeout(total=self._timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=patience) as session,
                session.get(self._url, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise Unavailable(_DEPENDENCY, f"MAEARI_JWKS_URL answers {answer.status}")
                document = bytearray()
                async for part in answer.content.iter_chunked(64 * 1024):
                    document += part
                    if len(document) > _DOCUMENT_MAX_BYTES:
                        raise Unavailable(_DEPENDENCY, "MAEARI_JWKS_URL answers more than 512 KiB")
                return bytes(document)
        except TimeoutError:
            raise Unavailable(_DEPENDENCY, f"no answer within {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(_DEPENDENCY, f"{type(error).__name__}: {error}") from error


def _usable_keys(document: bytes) -> list[jwt.PyJWK]:
    """Return the keys of a JWKS that tokens may be signed with. Raises Unavailable for what is none."""
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, TypeError, LookupError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise Unavailable(_DEPENDENCY, "MAEARI_JWKS_URL does not answer a JSON Web Key Set")
    return list(_each_usable([entry for entry in entries if isinstance(entry, dict)]))


def _each_usable(entries: list[dict[str, Any]]) -> Iterator[jwt.PyJWK]:
    for entry in entries:
        algorithm = _algorithm(entry)
        if algorithm is None:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm)
        except jwt.PyJWTError:
            continue
        if algorithm != "RS256" or key.key.key_size >= _RSA_MIN_BITS:
            yield key


def _algorithm(entry: dict[str, Any]) -> str | None:
    """Return the algorithm of a public key for signatures; None for any other, which is not used.

    A private key in this place is known to the whole world: what it signs proves nothing.
    """
    kind, curve, operations = entry.get("kty"), entry.get("crv"), entry.get("key_ops", ["verify"])
    if not isinstance(kind, str) or not isinstance(curve, str | None) or "d" in entry:
        return None
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    if not isinstance(entry.get("kid"), str | None):
        return None
    algorithm = _ALGORITHM_OF.get((kind, curve))
    return algorithm if entry.get("alg", algorithm) == algorithm else None


def _names(keys: list[jwt.PyJWK]) -> list[str]:
    return [f"{key.key_id or '-'} {key.algorithm_name}" for key in keys]
