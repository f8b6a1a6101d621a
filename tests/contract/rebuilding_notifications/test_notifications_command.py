"""The work behind `maeari rebuild notifications`: what it prints and answers."""

import json

import pytest
from sqlalchemy import update

from backbone.database.tables import inbox
from backbone.errors import SetupError
from backbone.settings import Settings
from rebuilder.notifications.command import run
from rebuilder.notifications.rebuild import Ways
from tests.contract.rebuilding_notifications.conftest import Office


async def test_it_tells_people_and_programs(
    office: Office, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a forged row, a dry run answers 1 and names the user; a rebuild mends it; then all is proven."""
    async with office.backend.ports.database.writing() as connection:
        forged = update(inbox).where(inbox.c.user_id == "guest0", inbox.c.seq == 1)
        await connection.execute(forged.values(message_id="msg_forged"))
    assert await run(settings, Ways(compare=True), as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["target"], report["outcome"]) == ("notifications", "compared")
    assert [each["user_id"] for each in report["differences"]] == ["guest0"]
    assert report["digests"]["log"] != report["digests"]["inboxes"]
    assert await run(settings, Ways()) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[-1].startswith(
        "inboxes are what the log says: rows put back 0, users numbered anew 1"
    )
    assert "rehearse: " in output.err
    assert await run(settings, Ways(compare=True), as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["digests"]["log"] == report["digests"]["inboxes"]


async def test_what_it_cannot_do_it_says(
    office: Office, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SetupError, match="reads events: --from events"):
        await run(settings, Ways(source="state"))
    assert await run(settings, Ways(resume=True)) == 1
    assert "maeari: --resume: there is nothing to go on with" in capsys.readouterr().err
