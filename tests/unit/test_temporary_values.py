"""Values in a temporary file: all of them, and one line where there is no room."""

from contextlib import closing

import pytest

from backbone.database.temporary import TemporaryValues
from backbone.errors import NoRoom


def test_the_last_value_of_each_key_is_there() -> None:
    """Given more pages than one, what was put last is told, in order; what was removed is not."""
    with closing(TemporaryValues()) as values:
        values.put({f"{number:05}": b"first" for number in range(3_000)})
        values.put({"00007": b"second", "키": b"\0"})
        assert values.remove("00008")
        assert not values.remove("00008")
        told = dict(values.items())
        assert values.get(["00007", "00008", "nowhere", "키"]) == {"00007": b"second", "키": b"\0"}
    assert list(told) == sorted(told)
    assert len(told) == 3_000


def test_no_room_is_told_with_the_place() -> None:
    """Given a file that may not grow, what does not fit into it is refused with a line that says where."""
    with closing(TemporaryValues()) as values:
        values._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(NoRoom, match=r"temporary files .*TMPDIR"):
            values.put({str(number): b"x" * 1_000 for number in range(100)})
