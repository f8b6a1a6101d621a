"""Tokens signed with the keys of a JWKS: which keys count, how keys come and go, what an outage does."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from backbone.errors import Unavailable
from backbone.health import Health
from backbone.settings import Settings, TokenSecurity
from backbone.tokens import Identity, TokenRefused, open_verifier
from backbone.tokens.jwks import JwksKeys
from backbone.tokens.verifier import JwtVerifier
from tests.support.tokens import (
    SECRET,
    FixedClock,
    IdentityProvider,
    SigningKey,
    ec_key,
    ed_key,
    forged,
    identity_provider,
    p384_key,
    rsa_key,
    token_for,
)
from tests.support.waiting import until

RSA, EC, ED, P384 = rsa_key("rsa"), ec_key("ec"), ed_key("ed"), p384_key("p384")
SHORT, STRANGER = rsa_key("short", 1024), ec_key("stranger")
NEVER_S = 3_600.0


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with identity_provider() as running:
        yield running


def verifier(
    provider: IdentityProvider,
    health: Health | None = None,
    refresh_s: float = NEVER_S,
    retry_s: float = NEVER_S,
    timeout_s: float = 5.0,
) -> JwtVerifier:
    keys = JwksKeys(
        provider.url, health or Health(), refresh_s=refresh_s, retry_s=retry_s, timeout_s=timeout_s
    )
    return JwtVerifier(keys, TokenSecurity(jwks_url=provider.url), FixedClock())


async def taken(verifier: JwtVerifier, token: str) -> bool:
    """Say whether a token proves something."""
    try:
        await verifier.verify(token)
    except TokenRefused:
        return False
    return True


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(forged({"alg": "none", "kid": "rsa"}, {"sub": "kim"}), id="alg none"),
        pytest.param(token_for("kim"), id="HS256"),
        pytest.param(
            forged({"alg": "HS256", "kid": "rsa"}, {"sub": "kim"}, RSA.pem()), id="the public key as secret"
        ),
        pytest.param(
            forged({"alg": "HS256", "kid": "secret"}, {"sub": "kim"}, SECRET.encode()),
            id="a published secret",
        ),
        pytest.param(forged({"alg": "RS256", "kid": "rsa"}, {"sub": "kim"}, RSA.pem()), id="RS256 by name"),
        pytest.param(SigningKey("ec", "RS256", RSA.private).sign("kim"), id="RS256 under an EC key"),
        pytest.param(SigningKey("rsa", "ES256", EC.private).sign("kim"), id="ES256 under an RSA key"),
        pytest.param(SigningKey("ec", "ES256", STRANGER.private).sign("kim"), id="another's key, our kid"),
        pytest.param(STRANGER.sign("kim"), id="unknown kid"),
        pytest.param(RSA.sign("kim", "RS512"), id="RS512"),
        pytest.param(RSA.sign("kim", "PS256"), id="PS256"),
        pytest.param(P384.sign("kim"), id="ES384"),
        pytest.param(RSA.sign_unnamed("kim"), id="no kid, several keys"),
        pytest.param(RSA.sign("kim", exp=1), id="expired"),
        pytest.param(RSA.sign(""), id="no user"),
    ],
)
async def test_refused(provider: IdentityProvider, token: str) -> None:
    """The key's own algorithm and no other, and keys that are published for it."""
    provider.publish(RSA, EC, ED, P384, {"kty": "oct", "kid": "secret", "k": "YSBzZWNyZXQ", "alg": "HS256"})
    checks = verifier(provider)
    assert not await taken(checks, token)
    assert await checks.verify(RSA.sign("kim")) == Identity("kim")


@pytest.mark.parametrize(
    ("key", "entry"),
    [
        pytest.param(SHORT, SHORT.published(), id="RSA below 2048 bits"),
        pytest.param(RSA, RSA.published(use="enc"), id="for encryption"),
        pytest.param(RSA, RSA.published(alg="RS512"), id="of another algorithm"),
        pytest.param(RSA, RSA.published(key_ops=["sign"]), id="not to verify with"),
        pytest.param(RSA, RSA.published(d="AQAB"), id="a private key, published"),
        pytest.param(RSA, RSA.published(n=5), id="no modulus"),
        pytest.param(EC, EC.published(x="AQAB"), id="not on the curve"),
        pytest.param(EC, EC.published(crv="secp256k1"), id="of another curve"),
        pytest.param(EC, EC.published(crv=["P-256"]), id="curve is a list"),
        pytest.param(P384, P384.published(alg="ES256"), id="P-384, called ES256"),
        pytest.param(ED, ED.published(crv="X25519"), id="for key agreement"),
        pytest.param(EC, EC.published(kty=None), id="no kind"),
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_keys_that_do_not_count(
    provider: IdentityProvider, key: SigningKey, entry: Mapping[str, Any]
) -> None:
    """Such an entry is passed over; the others serve."""
    good = ed_key("good")
    provider.publish(entry, good, {"kty": "XYZ"}, {})
    checks = verifier(provider)
    assert not await taken(checks, key.sign("kim"))
    assert await taken(checks, good.sign("kim"))


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.algorithm)
async def test_each_kind_of_key(provider: IdentityProvider, key: SigningKey) -> None:
    """RS256, ES256 and EdDSA are taken, and the only key needs no name."""
    provider.publish(key.published(use="sig", alg=key.algorithm, key_ops=["verify"]))
    checks = verifier(provider)
    assert (await checks.verify(key.sign("보라"))).user_id == "보라"
    assert (await checks.verify(key.sign_unnamed("보라"))).user_id == "보라"
    assert provider.readings == 1


async def test_rotation(provider: IdentityProvider) -> None:
    """A new key works as soon as a token names it; a removed one stops with the reading that lacks it."""
    provider.publish(RSA)
    checks = verifier(provider, retry_s=0)
    assert await taken(checks, RSA.sign("kim"))
    provider.publish(RSA, EC)
    assert await taken(checks, EC.sign("kim"))
    assert await taken(checks, RSA.sign("kim"))
    provider.publish(EC, ED)
    assert await taken(checks, RSA.sign("kim"))
    assert await taken(checks, ED.sign("kim"))
    assert not await taken(checks, RSA.sign("kim"))


async def test_removed_keys_go_without_being_asked_for(provider: IdentityProvider) -> None:
    """Readings in the background are enough, down to the last key."""
    provider.publish(RSA)
    checks = verifier(provider, refresh_s=0.02)
    assert await taken(checks, RSA.sign("kim"))
    provider.publish()

    async def gone() -> bool:
        return not await taken(checks, RSA.sign("kim"))

    await until(gone)


async def test_unknown_keys_do_not_hammer_the_provider(provider: IdentityProvider) -> None:
    """However many unknown keys are named, the provider is asked once in a while."""
    provider.publish(RSA)
    checks = verifier(provider)
    strangers = [SigningKey(f"stranger {n}", "ES256", STRANGER.private).sign("kim") for n in range(50)]
    assert not any(await asyncio.gather(*(taken(checks, token) for token in strangers)))
    assert not any([await taken(checks, token) for token in strangers])
    assert provider.readings == 1


async def test_requests_share_one_reading(provider: IdentityProvider) -> None:
    """Given 50 requests at once, one of them cut off, the provider is asked once and 49 are answered."""
    provider.publish(RSA)
    provider.answering.clear()
    checks = verifier(provider, retry_s=0)
    requests = [asyncio.create_task(checks.verify(RSA.sign("kim"))) for _ in range(50)]

    async def asked() -> bool:
        return provider.readings > 0

    await until(asked)
    requests[0].cancel()
    provider.answering.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [Identity("kim")] * 49
    assert provider.readings == 1


@pytest.mark.parametrize(
    ("status", "document", "told"),
    [
        (500, b"", "answers 500"),
        (302, b"", "answers 302"),
        (200, b"<html>", "Key Set"),
        (200, b"\xff", "Key Set"),
        (200, b"[" * 100_000, "Key Set"),
        (200, [], "Key Set"),
        (200, {"keys": {}}, "Key Set"),
        (200, {"keys": [], "padding": "x" * 600_000}, "512 KiB"),
    ],
)
async def test_an_answer_that_is_none(
    provider: IdentityProvider, status: int, document: Any, told: str
) -> None:
    """Until the keys were read once nobody can be told apart; the probe says why."""
    provider.status, provider.document = status, document
    health = Health()
    checks = verifier(provider, health)
    for _ in range(3):
        with pytest.raises(Unavailable, match="identity provider"):
            await checks.verify(RSA.sign("kim"))
    assert provider.readings == 1
    assert told in health.readiness().dependencies["jwks"]
    assert (health.readiness().ready, health.readiness().status) == (True, "degraded")
    with pytest.raises(TokenRefused):
        await checks.verify(token_for("kim"))


async def test_a_provider_that_hangs(provider: IdentityProvider) -> None:
    """A reading is given up in time."""
    provider.answering.clear()
    health = Health()
    with pytest.raises(Unavailable, match="no answer within"):
        await verifier(provider, health, timeout_s=0.1).verify(RSA.sign("kim"))
    assert health.readiness().status == "degraded"


async def test_known_keys_outlast_an_outage(provider: IdentityProvider) -> None:
    """While the provider is down known keys serve and unknown ones cannot be judged; then all is well."""
    provider.publish(RSA)
    health = Health()
    checks = verifier(provider, health, retry_s=0.02)
    assert await taken(checks, RSA.sign("kim"))
    provider.publish(RSA, EC)
    provider.status = 503

    async def refused_for_now() -> bool:
        try:
            return await taken(checks, EC.sign("kim"))
        except Unavailable:
            return True

    await until(refused_for_now)
    assert await taken(checks, RSA.sign("kim"))
    assert health.readiness().status == "degraded"
    provider.status = 200

    async def well() -> bool:
        return health.readiness().status == "ok"

    await until(well)
    assert await taken(checks, EC.sign("kim"))


async def test_keys_are_read_before_anyone_asks(provider: IdentityProvider) -> None:
    """A process begins with a reading, and `jwks` is among its dependencies."""
    provider.publish(RSA)
    health = Health()
    settings = Settings(auth="jwt", token_security=TokenSecurity(jwks_url=provider.url))
    checks = open_verifier(settings, health)

    async def known() -> bool:
        return health.readiness().dependencies.get("jwks") == "ok"

    await until(known)
    assert checks is not None
    assert (await checks.verify(RSA.sign("kim"))).user_id == "kim"
    assert provider.readings == 1


async def test_no_provider_there() -> None:
    """Nobody listening is an outage too."""
    async with identity_provider() as gone:
        gone.publish(RSA)
    with pytest.raises(Unavailable, match="identity provider"):
        await verifier(gone).verify(RSA.sign("kim"))
