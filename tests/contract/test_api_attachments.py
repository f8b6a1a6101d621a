"""Attachments in posts and edits: what is refused, and that the description of the API says the same."""

from collections.abc import AsyncIterator

import pytest
from jsonschema import Draft202012Validator

from backbone.settings import Settings
from backend.api.documentation import openapi_document
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, running_backend, user
from tests.support.database import own_database

NO_URLS = (
    "", "http://", "http:///x", "https://?q", "http://#f", "http://:80/", "http://@/x", "http://user@/x",
    "http://user:secret@", "http://a@b@c", "http:x", "//x", "http://x\n", "http://x/\r\ny", "http://x/\x85",
    "http://x y", "http://\\x", "ftp://x", "javascript:alert(1)",
)  # fmt: skip
CONTROLS = ("a\r\nb", "a\n", "\ta", "a\x1b", "a\x7f", "a\x85", "\x00")
URLS = (
    "HTTP://x", "https://사용자:비밀@파일.example:8443/로그?a=b#c@d", "http://[::1]:80/", "http://x?y//z", "http://x#",
)  # fmt: skip
DOCUMENTED = Draft202012Validator(openapi_document("off")["components"]["schemas"]["NewAttachment"])


@pytest.fixture(params=ADAPTERS)
async def backend(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Backend]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(settings, unique) as own, running_backend(own) as running:
        yield running


@pytest.mark.parametrize(
    ("field", "texts"), [("url", NO_URLS), ("name", ("", *CONTROLS)), ("content_type", CONTROLS)]
)
async def test_attachments_that_cannot_be(backend: Backend, field: str, texts: tuple[str, ...]) -> None:
    """No host, or a control character: 400 that names the field, in a post and in an edit."""
    message = await backend.post("c", "a", "x")
    path, headers = f"/messages/{message['message_id']}", user("a")
    for text in texts:
        attachment = {"name": "n", "url": "https://files.example/1", field: text}
        body = {"content": "x", "attachments": [attachment]}
        posted = await backend.client.post("/messages", json={**body, "channel_id": "c"}, headers=headers)
        edited = await backend.client.patch(path, json=body, headers=headers)
        for answer in (posted, edited):
            assert answer.status_code == 400, text
            assert answer.json()["errors"][0]["field"] == f"attachments[0].{field}"
        assert not DOCUMENTED.is_valid(attachment), text


async def test_attachments_are_taken_as_they_are(backend: Backend) -> None:
    """Any host, port, user, script, and blanks in a name; an edit that repeats them is no event."""
    attachments = [{"name": "로그 파일.txt", "url": url, "content_type": "text/plain; a=b"} for url in URLS]
    assert all(map(DOCUMENTED.is_valid, attachments))
    message = await backend.post("c", "a", "x", attachments=attachments)
    assert message["attachments"] == attachments
    path = f"/messages/{message['message_id']}"
    again = await backend.client.patch(path, json={"attachments": attachments}, headers=user("a"))
    assert again.json() == message
