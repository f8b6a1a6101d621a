"""The search route against whatever is asked: never an error of the server's, never more than one may see."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import ADAPTERS
from tests.support.backend import user
from tests.support.searching import SearchableBackend, make_private, searchable_backend

# Some seconds beyond what any of these should take: a query that hangs is an error, too.
WITHIN_S = 5.0

CONTENTS = (
    "배포를 완료했습니다", "Deployed the API server", "asyncio.gather raised", "🎉 릴리스 👍🏽",
    "{\"match_all\": {}}", "a AND b OR NOT c", "private:true deleted:true", "' OR 1=1 --",
    "NEAR(a b, 5) *", "\\ \" \u202e ^ ~2 [a TO b]",
)  # fmt: skip
SECRET = "비밀 배포 deployed secret match_all private"
SYNTAX = (
    '{"match_all":{}}', '"}}]}},{"match_all":{}', "*:*", "_exists_:private", "private:true",
    "NEAR(a b)", '" OR "', "' OR 1=1 --", "; DROP TABLE channels; --", "exact : a", "stemmed:*", "a*",
    "^a", "+a", "a~2", "[* TO *]", "/a.*/", "AND", "OR", "NOT", "(", ")", "((", "{", "}", "\\", "\\\\",
    "%", "_", "$1", "?", "rowid", "<script>", "${7*7}", "from:", "in:비밀", "in:*", 'in:"비밀',
    "mentions:*", "has:attachment", "has:", "-in:비밀", "from:-", "after:0001-01-01",
    "before:9999-12-31", "before:2026-02-30", "-", "--", '-"', '"', "“", "”", "배포", "deploy", "밥",
    "ㅂㅍ", "가", "👨‍👩‍👧", "\0", "\u202e", "\ufffe", "İ", "ﷺ", "a" * 300, "가" * 300, "́" * 50,
)  # fmt: skip
QUERIES = st.one_of(
    st.lists(st.one_of(st.sampled_from(SYNTAX), st.text(max_size=8)), max_size=8).map(" ".join),
    st.lists(st.sampled_from(SYNTAX), min_size=1, max_size=4).map("".join),
    st.text(max_size=60),
)


def encoded(text: str) -> str:
    """Return a text as a part of a URL, lone surrogates too."""
    return quote(text.encode("utf-8", "surrogatepass"))


# What a client puts on the wire: percent-encoded text, or bytes that are none.
ENCODED = st.one_of(
    QUERIES.map(encoded),
    st.sampled_from(["%", "%zz", "%ED%A0%80", "%FF%FE", "%00", "+", "a%", "&&", "=", "q", "%u0041"]),
)
NAMES = st.sampled_from(
    [
        "q",
        "limit",
        "cursor",
        "sort",
        "from",
        "author",
        "in",
        "channel",
        "mentions",
        "has",
        "before",
        "after",
        "x",
        "",
    ]
)
VALUES = st.one_of(
    ENCODED,
    st.sampled_from(
        [
            "1",
            "100",
            "0",
            "-1",
            "1e3",
            "newest",
            "oldest",
            "relevance",
            "2026-01-31",
            "attachment",
            "AAAA",
            "비밀",
        ]
    ).map(quote),
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
WIRE = st.one_of(PAIRS, QUERIES.map(lambda q: f"q={encoded(q)}"), st.builds("q={}&{}".format, VALUES, PAIRS))
HEADERS = st.dictionaries(
    st.sampled_from([b"X-User-Id", b"Consistency-Token", b"If-None-Match", b"Accept", b"Content-Type"]),
    st.one_of(
        st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\r\n\0")),
        st.sampled_from([b"MTptc2dfYQ", b"OTk5OTk5OTk5OTk5OTk5OTk5Om1zZ18n", "영희".encode(), b"kim"]),
    ),
    max_size=3,
)


class Asked:
    """A backend with a few messages, one of them secret, and a loop of its own to ask it in."""

    def __init__(self, runner: asyncio.Runner, searchable: SearchableBackend) -> None:
        self._runner = runner
        self._searchable = searchable

    def ask(self, query: str, headers: dict[bytes, bytes] | None = None) -> httpx.Response:
        """Send a query as it is; check what holds for each answer."""
        headers = {b"Prefer": b"wait=0", **(headers or {})}
        client = self._searchable.backend.client
        start = time.monotonic()
        answer = self._runner.run(client.get(httpx.URL(f"/messages/search?{query}"), headers=headers))
        assert time.monotonic() - start < WITHIN_S
        assert answer.status_code in (200, 400, 401), (answer.status_code, answer.text)
        if answer.status_code == 200:
            assert all(hit["_source"]["channel"] == "공개" for hit in answer.json()), answer.text
            assert int(answer.headers["Total-Count"]) <= len(CONTENTS)
        else:
            assert answer.headers["Content-Type"].startswith("application/problem+json")
        return answer

    def found(self, q: str) -> set[str]:
        """Return the ids of all hits; of a query that is refused none."""
        answer = self.ask(f"q={encoded(q)}&limit=100")
        return {hit["_id"] for hit in answer.json()} if answer.status_code == 200 else set()


@contextmanager
def asked(request: pytest.FixtureRequest, adapter: str, unique: str) -> Iterator[Asked]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        own = request.getfixturevalue(f"{adapter}_settings")
        searchable = runner.run(stack.enter_async_context(searchable_backend(own, unique)))
        try:
            runner.run(_fill(searchable))
            yield Asked(runner, searchable)
        finally:
            runner.run(stack.aclose())


async def _fill(searchable: SearchableBackend) -> None:
    await make_private(searchable, "비밀", "owner")
    await searchable.backend.post("비밀", "owner", SECRET)
    for content in CONTENTS:
        await searchable.backend.post("공개", "kim", content, mentions=["lee"])
    await searchable.index()
    answer = await searchable.backend.client.get("/messages/search?q=deployed", headers=user("owner"))
    assert SECRET in {hit["_source"]["content"] for hit in answer.json()}, "there is a secret to be found"


_FUZZED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_whatever_is_asked_is_answered(request: pytest.FixtureRequest, adapter: str, unique: str) -> None:
    """Any query string and headers: hits that everybody may see, or a refusal that says why, in time."""
    with asked(request, adapter, unique) as site:

        @_FUZZED
        @given(WIRE, HEADERS)
        @example("q=" + quote("가 " * 50), {})
        @example("q=" + quote("-a " * 50), {})
        @example("q=a&in=비밀&in=공개", {b"X-User-Id": b"kim"})
        def check(query: str, headers: dict[bytes, bytes]) -> None:
            site.ask(query, headers)

        check()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_is_typed_is_never_syntax_of_the_index(
    request: pytest.FixtureRequest, adapter: str, unique: str
) -> None:
    """Whatever `q` says: more of it finds less, quotes hold it together, and it never reaches the secret."""
    with asked(request, adapter, unique) as site:

        @_FUZZED
        @given(QUERIES, QUERIES)
        @example("배포", '"}}]}},{"match_all":{}')
        @example("deploy", '" OR "')
        def check(q: str, more: str) -> None:
            found = site.found(q)
            bare = more.replace('"', " ").replace("“", " ").replace("”", " ")
            if found:
                # An open quote before it would join them: then it is another query.
                closed = q if q.count('"') + q.count("“") + q.count("”") == 0 else "배포"
                before = found if closed == q else site.found(closed)
                for narrower in (f'{closed} "{bare}"', f'{closed} -"{bare}"', f"{closed} -from:nobody"):
                    assert site.found(narrower) <= before, narrower

        check()
