"""Files of the embedded log that an earlier or a later version made."""

import sqlite3
from pathlib import Path

import pytest

from backbone.errors import SetupError
from backbone.eventlog.embedded import EmbeddedEventLog
from schemas.topics import MESSAGES_CREATED as CREATED
from tests.support.eventlog import append, read_all, record, texts


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_file_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    """It keeps its records and can be fenced; several processes may open it at once."""
    path = tmp_path / "eventlog.sqlite3"
    log = EmbeddedEventLog(path, "platform")
    await log.apply_topics([CREATED], 1)
    await append(log, [record(CREATED, "k", "old")])
    await log.close()
    change(path, "DROP TABLE fences", "PRAGMA user_version = 1")
    logs = [EmbeddedEventLog(path, "platform") for _ in range(3)]
    for opened in logs:
        await (await opened.producer("f")).send([record(CREATED, "k", "new")])
    assert texts(await read_all(logs[0], CREATED)) == ["old", "new", "new", "new"]
    for opened in logs:
        await opened.close()


async def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """What is not known is not touched: one line says whose file it is."""
    path = tmp_path / "eventlog.sqlite3"
    log = EmbeddedEventLog(path, "platform")
    await log.topics()
    await log.close()
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(SetupError, match="99"):
        await EmbeddedEventLog(path, "platform").topics()
