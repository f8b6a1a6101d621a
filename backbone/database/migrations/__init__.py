"""The schema's history, run by Alembic: `migrate` brings a database to the newest revision.

Guarantees: on PostgreSQL all tables are locked before any is changed, so processes of the revision before may
go on writing; where they leave no room for it, nothing is changed.
"""

import asyncio
import random
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Dialect, inspect, text

from backbone.database.engine import Database
from backbone.database.tables import channels, metadata, outbox
from backbone.errors import RolledBack, SetupError, Unavailable

# The server that has all we rely on: `idle_session_timeout` came with 14.
_OLDEST_POSTGRES = 14
# Two processes that migrate at once take turns; the number is arbitrary and fixed.
_MIGRATION_LOCK = 7_042_311
# Less than the server's `deadlock_timeout` (1 s): it is the migration that gives way, not who writes.
_LOCK_TIMEOUT_MS = 800
_LOCK_TRIES = 15
_LOCK_PAUSE_S = 0.5
_LOCK_NOT_AVAILABLE = "55P03"


class TablesInUse(Unavailable):
    """Others hold tables that a migration changes; nothing is changed."""

    def __init__(self) -> None:
        super().__init__("tables", "others hold them")

    def __str__(self) -> str:
        return (
            "the tables are in use, nothing is changed: stop the backends and notifiers, or try again later"
        )


async def migrate(database: Database) -> tuple[str | None, str]:
    """Bring the database to the newest revision; return the revision before and after.

    Safe to call again, and by several processes at once. Raises Unavailable, TablesInUse for one, or
    SetupError where the server is too old.
    """
    for _ in range(_LOCK_TRIES):
        try:
            return await _migrate(database)
        except Unavailable as error:
            if not _is_about_locks(error):
                raise
            await asyncio.sleep(_LOCK_PAUSE_S * random.uniform(0.5, 1.0))
    raise TablesInUse


async def _migrate(database: Database) -> tuple[str | None, str]:
    async with database.writing() as connection:
        _require_version(connection.dialect)
        if not database.embedded:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        return await connection.run_sync(_upgrade)


async def check_migrated(database: Database) -> None:
    """Raise SetupError unless the database is at the newest revision, on a server that is new enough.

    Raises Unavailable when it is not there.
    """
    async with database.reading() as connection:
        _require_version(connection.dialect)
        current = await connection.run_sync(_current)
    newest = _newest()
    _require_known(current)
    if current != newest:
        state = "lacks its tables" if current is None else f"is at revision {current}, not {newest}"
        raise SetupError(f"the database {state}: run `maeari migrate`")


def _require_version(dialect: Dialect) -> None:
    version = dialect.server_version_info
    if dialect.name == "postgresql" and version is not None and version[0] < _OLDEST_POSTGRES:
        found = ".".join(map(str, version))
        needed = f"PostgreSQL {_OLDEST_POSTGRES} or newer is needed"
        raise SetupError(f"MAEARI_DATABASE_URL: the server is PostgreSQL {found}: {needed}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _newest() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None, "there is at least one revision"
    return head


def _require_known(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise SetupError(f"the database is at revision {revision}, newer than this maeari: install that one")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    before = _current(connection)
    _require_known(before)
    newest = _newest()
    if before != newest:
        if connection.dialect.name == "postgresql":
            _lock_tables(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return before, newest


def _lock_tables(connection: Connection) -> None:
    """Lock all tables, in about the order in which writes use them: channels first, the outbox last."""
    connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
    present = metadata.tables.keys() & set(inspect(connection).get_table_names())
    in_order = sorted(present, key=lambda name: (name != channels.name, name == outbox.name, name))
    if in_order:
        connection.execute(text(f"LOCK TABLE {', '.join(in_order)} IN ACCESS EXCLUSIVE MODE"))


def _is_about_locks(error: Unavailable) -> bool:
    """Say whether others held what was to be locked: too long, or in another order."""
    driver_error = getattr(error.__cause__, "orig", None)
    return isinstance(error, RolledBack) or getattr(driver_error, "sqlstate", None) == _LOCK_NOT_AVAILABLE
