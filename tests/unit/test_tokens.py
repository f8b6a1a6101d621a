"""Tokens signed with a secret: every kind that is refused, what a good one says, and `maeari token`."""

from pathlib import Path

import jwt
import pytest
import structlog
from click.testing import CliRunner

from backbone.clock import SystemClock
from backbone.errors import SetupError
from backbone.health import Health
from backbone.settings import Settings, TokenSecurity
from backbone.tokens import Identity, TokenMissing, TokenRefused, bearer_token, open_verifier
from backbone.tokens.secret import SecretKey
from backbone.tokens.verifier import JwtVerifier
from maeari.__main__ import main
from tests.support.tokens import NOW_S, SECRET, FixedClock, forged, rsa_key, token_for

HS256 = {"alg": "HS256", "typ": "JWT"}
RSA = rsa_key("one")


def verifier(issuer: str | None = None, audience: str | None = None) -> JwtVerifier:
    security = TokenSecurity(secret=SECRET, issuer=issuer, audience=audience)
    return JwtVerifier(SecretKey(SECRET), security, FixedClock())


def signed(claims: object, **header: object) -> str:
    return forged({**HS256, **header}, claims, SECRET.encode())


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("x.y.z", id="not a JWT"),
        pytest.param("토큰", id="not ASCII"),
        pytest.param("a." * 5_000, id="too long"),
        pytest.param(token_for("kim", padding="x" * 8_192), id="good, but too long"),
        pytest.param(token_for("kim")[:-2], id="cut off"),
        pytest.param(token_for("kim") + ".x", id="a part too many"),
        pytest.param(token_for("kim", "another secret that is as long as ours"), id="another secret"),
        pytest.param(token_for("kim").rpartition(".")[0] + ".", id="no signature"),
        pytest.param(forged({"alg": "none"}, {"sub": "kim"}), id="alg none"),
        pytest.param(forged({"alg": "NONE"}, {"sub": "kim"}), id="alg NONE"),
        pytest.param(forged({"alg": "none"}, {"sub": "kim"}, SECRET.encode()), id="alg none, signed"),
        pytest.param(forged({"typ": "JWT"}, {"sub": "kim"}, SECRET.encode()), id="no alg"),
        pytest.param(signed({"sub": "kim"}, alg=256), id="alg is a number"),
        pytest.param(signed({"sub": "kim"}, alg="HS512"), id="alg HS512 over HS256"),
        pytest.param(jwt.encode({"sub": "kim"}, SECRET + SECRET, "HS512"), id="HS512"),
        pytest.param(RSA.sign("kim"), id="RS256 without a JWKS"),
        pytest.param(forged({"alg": "HS256"}, {"sub": "kim"}, b""), id="signed with nothing"),
        pytest.param(forged({"alg": "HS256"}, {"sub": "kim"}, RSA.pem()), id="signed with a public key"),
        pytest.param(signed({"sub": "kim"}, kid=5), id="kid is a number"),
        pytest.param(signed({"sub": "kim"}, crit=["exp"], exp=1), id="unknown crit"),
        pytest.param(signed({"sub": "kim"}, b64=False, crit=["b64"]), id="detached payload"),
        pytest.param(signed(["kim"]), id="claims are a list"),
        pytest.param(signed({}), id="no sub"),
        *(
            pytest.param(signed({"sub": sub}), id=f"sub {str(sub)[:8]!a}")
            for sub in ("", None, 5, ["kim"], "a/b", "a\n", "a\0", "\ud800", "x" * 129)
        ),
        pytest.param(signed({"sub": "kim", "exp": NOW_S}), id="expired now"),
        pytest.param(signed({"sub": "kim", "exp": NOW_S - 0.001}), id="expired a moment ago"),
        *(
            pytest.param(signed({"sub": "kim", "exp": exp}), id=f"exp {exp!a}")
            for exp in (
                None,
                str(NOW_S + 60),
                True,
                [NOW_S + 60],
                float("inf"),
                float("-inf"),
                float("nan"),
                -1,
                -1e308,
                -(10**400),
            )
        ),
        pytest.param(signed({"sub": "kim", "nbf": NOW_S + 6}), id="not valid yet"),
        pytest.param(signed({"sub": "kim", "nbf": "now"}), id="nbf is a text"),
    ],
)
async def test_refused(token: str) -> None:
    """None of these proves anything; the reason is ours, and fit for a header."""
    with pytest.raises(TokenRefused) as refused:
        await verifier().verify(token)
    reason = str(refused.value)
    assert reason.isascii()
    assert reason.isprintable()
    assert not set(reason) & {'"', "\\"}


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "maeari"}, "issuer"),
        ({"iss": "https://evil.example", "aud": "maeari"}, "issuer"),
        ({"iss": ["https://id.example"], "aud": "maeari"}, "issuer"),
        ({"iss": "https://id.example"}, "audience"),
        ({"iss": "https://id.example", "aud": "other"}, "audience"),
        ({"iss": "https://id.example", "aud": []}, "audience"),
        ({"iss": "https://id.example", "aud": {"maeari": 1}}, "audience"),
    ],
)
async def test_of_or_for_others_is_refused(claims: dict[str, object], reason: str) -> None:
    """Where issuer and audience are set, a token must have both."""
    with pytest.raises(TokenRefused, match=f"^the token is .* another {reason}$"):
        await verifier("https://id.example", "maeari").verify(signed({"sub": "kim", **claims}))


@pytest.mark.parametrize("aud", ["maeari", ["other", "maeari"]])
async def test_of_and_for_us(aud: object) -> None:
    """A token of our issuer for us, perhaps among others, is taken."""
    token = signed({"sub": "kim", "iss": "https://id.example", "aud": aud})
    assert await verifier("https://id.example", "maeari").verify(token) == Identity("kim")


@pytest.mark.parametrize(
    ("claims", "identity"),
    [
        ({}, Identity("보라")),
        ({"aud": ["anyone"], "iss": 5, "jti": 5, "iat": NOW_S + 9_999}, Identity("보라")),
        ({"exp": NOW_S + 1}, Identity("보라", expires_at_ms=(NOW_S + 1) * 1000)),
        ({"exp": NOW_S + 0.5}, Identity("보라", expires_at_ms=NOW_S * 1000 + 500)),
        ({"exp": 10**400}, Identity("보라", expires_at_ms=253_402_300_799_000)),
        ({"exp": 1e300}, Identity("보라", expires_at_ms=253_402_300_799_000)),
        ({"nbf": NOW_S + 5}, Identity("보라")),
        ({"nbf": -1e308}, Identity("보라")),
        ({"scope": "read  impersonate "}, Identity("보라", frozenset({"read", "impersonate"}))),
        ({"scope": ["impersonate", 5]}, Identity("보라", frozenset({"impersonate"}))),
        ({"scope": None, "scp": ["a", "b"]}, Identity("보라", frozenset({"a", "b"}))),
        ({"scope": {"impersonate": True}}, Identity("보라")),
    ],
)
async def test_a_good_token_says_who_and_how_long(claims: dict[str, object], identity: Identity) -> None:
    """The subject, the scopes however they are written, and the end, which need not be there."""
    assert await verifier().verify(signed({"sub": "보라", **claims}, kid="any")) == identity


def test_only_impersonators_act_for_others() -> None:
    """The scope is a whole word."""
    assert Identity("kim").may_act_for("kim")
    assert not Identity("kim", frozenset({"impersonate-not", "Impersonate"})).may_act_for("lee")
    assert Identity("kim", frozenset({"impersonate"})).may_act_for("lee")


def test_the_header() -> None:
    """One header with the scheme Bearer, in letters of any size, and a token behind it."""
    assert bearer_token(["Bearer abc"]) == bearer_token(["bEARER   abc "]) == "abc"
    for missing in ([], [""], ["Basic abc"], ["abc"], ["Bearerabc"]):
        with pytest.raises(TokenMissing):
            bearer_token(missing)
    for wrong in (["Bearer"], ["Bearer "], ["Bearer a", "Bearer a"], ["Basic a", "Bearer a"]):
        with pytest.raises(TokenRefused):
            bearer_token(wrong)


async def test_a_public_key_is_no_secret() -> None:
    """A key of another kind in MAEARI_JWT_SECRET is named before anything starts."""
    settings = Settings(auth="jwt", token_security=TokenSecurity(secret=RSA.pem().decode()))
    with pytest.raises(SetupError, match=r"^MAEARI_JWT_SECRET: "):
        open_verifier(settings, Health())


async def test_a_short_secret_is_warned_of_once() -> None:
    """It works, and is said to be short, without showing it."""
    short = TokenSecurity(secret="thirty-one bytes, one too few !")
    with structlog.testing.capture_logs() as logs:
        verifiers = [open_verifier(Settings(auth="jwt", token_security=short), Health()) for _ in range(2)]
    assert [entry["event"] for entry in logs] == ["jwt_secret_short"]
    assert "thirty" not in str(logs)
    assert verifiers[0] is not None
    assert short.secret is not None
    assert await verifiers[0].verify(token_for("kim", short.secret)) == Identity("kim")


def test_off_asks_for_no_token() -> None:
    """With MAEARI_AUTH=off there is nothing to check with."""
    assert open_verifier(Settings(), Health()) is None


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        for name in ("SECRET", "SECRET_FILE", "ISSUER", "AUDIENCE"):
            monkeypatch.delenv(f"MAEARI_JWT_{name}", raising=False)
        return tmp_path

    @pytest.mark.parametrize(
        ("arguments", "settings", "named"),
        [
            (["--user", "kim"], {}, "MAEARI_JWT_SECRET"),
            (["--user", "kim"], {"JWKS_URL": "https://h/jwks"}, "identity provider"),
            (["--user", "kim"], {"AUTH": "jwt"}, "MAEARI_AUTH"),
            (["--user", "kim"], {"JWT_SECRET": RSA.pem().decode()}, "MAEARI_JWT_SECRET"),
            (["--user", ""], {"JWT_SECRET": SECRET}, "--user"),
            (["--user", "a/b"], {"JWT_SECRET": SECRET}, "--user"),
            (["--user", "\udcff"], {"JWT_SECRET": SECRET}, "--user"),
            (["--user", "kim", "--scope", "a b"], {"JWT_SECRET": SECRET}, "--scope"),
            *(
                (["--user", "kim", "--expires-in", text], {"JWT_SECRET": SECRET}, "--expires-in")
                for text in ("", "0", "-1", "1y", "1.5h", "999999999d", "٣")
            ),
        ],
    )
    def test_who_gets_none(
        self, folder: Path, arguments: list[str], settings: dict[str, str], named: str
    ) -> None:
        """Exit 2, and one line that says what to do."""
        env = {f"MAEARI_{name}": value for name, value in settings.items()}
        result = CliRunner().invoke(main, ["token", *arguments], env=env)
        assert (result.exit_code, result.stdout) == (2, ""), folder
        (line,) = result.stderr.splitlines()
        assert line.startswith("maeari: ")
        assert named in line

    @pytest.mark.parametrize(
        ("expires_in", "seconds"),
        [(None, 86_400), ("90", 90), ("30s", 30), ("15m", 900), ("1h", 3_600), ("7d", 604_800)],
    )
    async def test_a_token_that_the_processes_take(
        self, folder: Path, expires_in: str | None, seconds: int
    ) -> None:
        """The token alone on stdout, with issuer, audience, scopes and end, taken by the same settings."""
        env = {"JWT_SECRET": SECRET, "JWT_ISSUER": "https://id.example", "JWT_AUDIENCE": "maeari"}
        arguments = ["token", "--user", "보라", "--scope", "impersonate", "--scope", "read"]
        arguments += ["--expires-in", expires_in] if expires_in else []
        before_ms = SystemClock().now_ms()
        result = CliRunner().invoke(
            main, arguments, env={f"MAEARI_{name}": value for name, value in env.items()}
        )
        assert (result.exit_code, result.stderr) == (0, ""), folder
        (token,) = result.stdout.splitlines()
        security = TokenSecurity(SECRET, issuer="https://id.example", audience="maeari")
        identity = await JwtVerifier(SecretKey(SECRET), security, SystemClock()).verify(token)
        assert (identity.user_id, identity.scopes) == ("보라", frozenset({"impersonate", "read"}))
        assert identity.expires_at_ms is not None
        assert -1_000 <= identity.expires_at_ms - before_ms - seconds * 1000 <= 20_000
