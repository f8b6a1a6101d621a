"""Messages that differ, named: what each store holds of them, in which fields not as the log has it. Pure."""

from collections.abc import Iterator

from rebuilder.verify.canonical import FACTS, INDEXED, differing
from rebuilder.verify.folding import Details, Row
from rebuilder.verify.judging import ARCHIVE, DATABASE, INDEX, LOG, STATE, Holdings
from rebuilder.verify.report import Difference, Holding

_IN_ORDER = (DATABASE, LOG, STATE, INDEX, ARCHIVE)
_MISSING = Holding(missing=True)


def difference(holdings: Holdings, message_id: str, wrong: frozenset[str]) -> Difference:
    """Return what is to be said of a message that is wrong in these stores."""
    rows = dict(_rows(holdings, message_id))
    held = next(row for row in rows.values() if row is not None)
    log = rows[LOG]
    return Difference(
        channel=(log or held).channel,
        message_id=message_id,
        wrong=tuple(name for name in _IN_ORDER if name in wrong),
        stores={name: _holding(name, row, log) for name, row in rows.items()},
    )


def _rows(holdings: Holdings, message_id: str) -> Iterator[tuple[str, Row | None]]:
    yield DATABASE, holdings.database.get(message_id)
    yield LOG, holdings.late.get(message_id)
    yield STATE, holdings.state.get(message_id)
    yield INDEX, holdings.index.get(message_id)
    if holdings.coverage is not None:
        yield ARCHIVE, holdings.archive.get(message_id)


def _holding(name: str, row: Row | None, log: Row | None) -> Holding:
    if row is None:
        return _MISSING
    details, of_log = row.details or Details(b""), (log and log.details) or Details(b"")
    if log is None or name == LOG:
        fields: tuple[str, ...] = ()
    elif name == INDEX:
        fields = differing(INDEXED, details.as_indexed, of_log.as_indexed)
    else:
        fields = differing(FACTS, details.marks, of_log.marks)
    return Holding(
        version=row.version,
        deleted=row.deleted_at is not None,
        fields=fields,
        # The row of one that holds what the log does is the log's.
        record=None if details.place is None or name in (DATABASE, INDEX) else str(details.place),
    )
