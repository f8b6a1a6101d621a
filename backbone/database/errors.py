"""What the drivers' errors mean: not there for now, not set up, or a fault that must be seen."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from backbone.errors import Busy, CommitUnknown, RolledBack, SetupError, Unavailable

DEPENDENCY = "database"

# SQLSTATE classes that pass with time: connections, resources, locks, an operator's shutdown, and the
# system's own errors (a full disk).
_PASSING_CLASSES = ("08", "53", "55", "57", "58")
# Deadlocks and serialization failures.
# Those that may come in place of the answer to a commit that was carried out.
_CONNECTION_CLASSES = ("08", "57", "58", "XX")
_SQLITE_REFUSALS = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY}
_ROLLED_BACK_CLASS = "40"
_MISSING_TABLE = "42P01"
_NO_PRIVILEGE = "42501"
_READ_ONLY = "25006"
_NOT_MIGRATED = "the database lacks its tables: run `maeari migrate`"
# What a wrong URL leads to: no such database, user or password.
_REFUSED_CLASSES = ("28", "3D")
_SQLITE_PASSING = ("locked", "busy", "disk", "full", "unable to open", "readonly", "i/o error")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate the drivers' errors that leave the block; IntegrityError passes as it is."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise _translated(error) from error
    except PoolTimeout as error:
        raise Busy(DEPENDENCY, "all connections are in use") from error
    except TimeoutError as error:
        raise Unavailable(DEPENDENCY, "no answer in time") from error
    except OSError as error:
        raise Unavailable(DEPENDENCY, one_line(error)) from error
    except Exception as error:
        # While connecting, asyncpg's own errors come through bare; they are known by their SQLSTATE.
        if getattr(error, "sqlstate", None) is None:
            raise
        raise Unavailable(DEPENDENCY, one_line(error)) from error


@contextmanager
def translated_commit_errors() -> Iterator[None]:
    """Translate as `translated_errors` does; where the answer to a commit is lost, raise CommitUnknown."""
    try:
        with translated_errors():
            yield
    except RolledBack:
        raise
    except Unavailable as error:
        if _refused(error.__cause__):
            raise
        raise CommitUnknown(error.dependency, error.detail) from error


def _refused(cause: BaseException | None) -> bool:
    """Say whether the database itself said no, with a full disk for one: then nothing is stored."""
    driver_error = getattr(cause, "orig", None)
    sqlstate = getattr(driver_error, "sqlstate", None)
    if sqlstate is not None:
        return not str(sqlstate).startswith(_CONNECTION_CLASSES)
    code = getattr(driver_error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _SQLITE_REFUSALS


def one_line(error: BaseException) -> str:
    """Return the text of an error as one line, its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


def _translated(error: DBAPIError) -> Exception:
    reason = one_line(error.orig) if error.orig is not None else one_line(error)
    reason = reason.rsplit(">: ", 1)[-1]
    sqlstate = getattr(error.orig, "sqlstate", None)
    meaning = _meaning_of_sqlite(reason) if sqlstate is None else _meaning_of_postgres(str(sqlstate), reason)
    if meaning is None and error.connection_invalidated:
        return Unavailable(DEPENDENCY, reason)
    return meaning or error


def _meaning_of_postgres(sqlstate: str, reason: str) -> Exception | None:
    if sqlstate == _MISSING_TABLE:
        return SetupError(_NOT_MIGRATED)
    if sqlstate == _NO_PRIVILEGE:
        return SetupError(f"MAEARI_DATABASE_URL: its user may not do this: {reason}")
    if sqlstate.startswith(_ROLLED_BACK_CLASS):
        return RolledBack(DEPENDENCY, reason)
    if sqlstate == _READ_ONLY or sqlstate[:2] in (*_PASSING_CLASSES, *_REFUSED_CLASSES):
        return Unavailable(DEPENDENCY, reason)
    return None


def _meaning_of_sqlite(reason: str) -> Exception | None:
    if "no such table" in reason:
        return SetupError(_NOT_MIGRATED)
    if "not a database" in reason or "malformed" in reason:
        return SetupError(f"MAEARI_DATABASE_URL: {reason}: move the file away, or name another one")
    if any(word in reason.lower() for word in _SQLITE_PASSING):
        return Unavailable(DEPENDENCY, reason)
    return None
