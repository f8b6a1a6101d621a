"""Tokens, good and forged, and an identity provider that publishes keys on this machine."""

import asyncio
import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from backbone.clock import SystemClock

SECRET = "a secret of the tests, longer than the hash of HS256"
NOW_S = 1_790_000_000

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class FixedClock(SystemClock):
    """A clock that stands still."""

    def __init__(self, now_ms: int = NOW_S * 1000) -> None:
        super().__init__()
        self.moment_ms = now_ms

    def now_ms(self) -> int:
        return self.moment_ms


def token_for(user_id: object, secret: str = SECRET, **claims: object) -> str:
    """Return a token signed with a secret."""
    return jwt.encode({"sub": user_id, **claims}, secret, "HS256")


def bearer(user_id: str, **claims: object) -> dict[str, str]:
    """Return the header of a request by the user."""
    return {"Authorization": f"Bearer {token_for(user_id, SECRET, **claims)}"}


def forged(header: Mapping[str, object], claims: object, hmac_key: bytes | None = None) -> str:
    """Return a token with any header, signed with HMAC-SHA256, or with nothing."""
    parts = [header, claims]
    signed = b".".join(_encoded(json.dumps(part).encode()) for part in parts)
    signature = b"" if hmac_key is None else hmac.digest(hmac_key, signed, hashlib.sha256)
    return b".".join((signed, _encoded(signature))).decode()


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


@dataclass(frozen=True)
class SigningKey:
    """A private key of the identity provider, under its id."""

    key_id: str
    algorithm: str
    private: PrivateKey

    def sign(self, user_id: object, algorithm: str | None = None, **claims: object) -> str:
        """Return a token of the user that names this key."""
        payload = {"sub": user_id, **claims}
        return jwt.encode(payload, self.private, algorithm or self.algorithm, {"kid": self.key_id})

    def sign_unnamed(self, user_id: str) -> str:
        """Return a token that does not name its key."""
        return jwt.encode({"sub": user_id}, self.private, self.algorithm)

    def published(self, **more: object) -> dict[str, Any]:
        """Return the entry of the key in a JWKS."""
        public, entry = self.private.public_key(), {}
        match public:
            case rsa.RSAPublicKey():
                entry = RSAAlgorithm.to_jwk(public, as_dict=True)
            case ec.EllipticCurvePublicKey():
                entry = ECAlgorithm.to_jwk(public, as_dict=True)
            case ed25519.Ed25519PublicKey():
                entry = OKPAlgorithm.to_jwk(public, as_dict=True)
        # RFC 7517 wants the operations that a public key has; the library names none for some kinds.
        entry.pop("key_ops", None)
        return {**entry, "kid": self.key_id, **more}

    def pem(self) -> bytes:
        """Return the public key as text."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def rsa_key(key_id: str, bits: int = 2048) -> SigningKey:
    """Make a key for RS256."""
    return SigningKey(key_id, "RS256", rsa.generate_private_key(65537, bits))


def ec_key(key_id: str) -> SigningKey:
    """Make a key for ES256."""
    return SigningKey(key_id, "ES256", ec.generate_private_key(ec.SECP256R1()))


def p384_key(key_id: str) -> SigningKey:
    """Make a key on a curve that is not taken."""
    return SigningKey(key_id, "ES384", ec.generate_private_key(ec.SECP384R1()))


def ed_key(key_id: str) -> SigningKey:
    """Make a key for EdDSA."""
    return SigningKey(key_id, "EdDSA", ed25519.Ed25519PrivateKey.generate())


class IdentityProvider:
    """A server that publishes keys; what it answers can be changed, held back and counted."""

    def __init__(self) -> None:
        self.document: Any = {"keys": []}
        self.status = 200
        self.readings = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.url = ""

    def publish(self, *entries: SigningKey | Mapping[str, Any]) -> None:
        """Publish these keys and no others."""
        keys = [entry.published() if isinstance(entry, SigningKey) else entry for entry in entries]
        self.document = {"keys": keys}

    async def answer(self, _: web.Request) -> web.Response:
        """Answer with the document; bytes go as they are."""
        self.readings += 1
        await self.answering.wait()
        body = self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()
        headers = {"Location": self.url} if 300 <= self.status < 400 else {}
        return web.Response(body=body, status=self.status, headers=headers)


@asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    """Serve keys on a free port."""
    provider = IdentityProvider()
    app = web.Application()
    app.router.add_get("/jwks", provider.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
        yield provider
    finally:
        provider.answering.set()
        await runner.cleanup()
