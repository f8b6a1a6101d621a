"""What long work shows, how it waits for a dependency, and what its report says."""

import io

import msgspec
import pytest

from backbone.errors import Unavailable
from backbone.progress import Bars, Lines, shown_progress
from rebuilder.patience import patiently
from rebuilder.problems import Problem
from rebuilder.search.report import Counts, Outcome, Report
from schemas.events import encode


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(outcome: Outcome, problems: int = 0) -> Report:
    counts = Counts(
        records=12, applied=10, messages=9, deleted=1, channels=2, differing_channels=2, problems=problems
    )
    named = (Problem(topic="messages.created", partition=1, offset=7, reason="cannot be read"),)
    return Report(
        source="both",
        outcome=outcome,
        reason="records that cannot be read or applied: 3" if outcome == "refused" else None,
        index_before="messages-1",
        index=None if outcome == "dry run" else "messages-2",
        dropped=("messages-1",) if outcome == "swapped" else (),
        offsets={"messages.created": [4, 5, 3]},
        counts=counts,
        digests={"일반": "9-1-ff"},
        problems=named if problems else (),
        seconds=1.25,
    )


def test_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with shown_progress(stream) as progress:
        assert isinstance(progress, Lines)
        progress.step("read messages.state", 1200)
        progress.advance(1200)
        progress.step("drop messages-1")
    assert stream.getvalue() == "read messages.state: 1,200\ndrop messages-1\n"


def test_lines_tell_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given 6 s for 300 of 1,200: 50 a second, and 18 s to go."""
    now = 100.0
    monkeypatch.setattr("backbone.progress.time.monotonic", lambda: now)
    stream = io.StringIO()
    with shown_progress(stream) as progress:
        progress.step("read messages.state", 1200)
        now += 6.0
        progress.advance(300)
    assert stream.getvalue().splitlines()[1:] == ["read messages.state: 300 of 1,200, 50/s, 18 s left"]


def test_a_bar_on_a_terminal_which_is_gone_afterwards() -> None:
    stream = Terminal()
    with shown_progress(stream) as progress:
        assert isinstance(progress, Bars)
        progress.step("read messages.state", 2)
        progress.advance(1)
        progress.advance(1)
    assert "read messages.state" in stream.getvalue()
    assert "/s" in stream.getvalue()


class TestPatience:
    async def test_a_dependency_that_comes_back_is_no_failure(self) -> None:
        troubles = [Unavailable("search", "starting")]

        async def call() -> str:
            if troubles:
                raise troubles.pop()
            return "here"

        assert await patiently(call) == "here"

    async def test_it_ends(self) -> None:
        async def call() -> str:
            raise Unavailable("search", "gone")

        with pytest.raises(Unavailable, match="search is not available: gone"):
            await patiently(call, patience_s=0.0)


class TestReport:
    def test_a_swap_is_told_in_two_lines(self) -> None:
        assert list(report("swapped").lines()) == [
            "read 12 records: 9 messages (1 deleted) in 2 channels, 1.2 s",
            "swapped messages-1 for messages-2, dropped messages-1",
        ]
        assert report("swapped").exit_code == 0

    def test_a_refusal_names_the_records(self) -> None:
        assert list(report("refused", problems=3).lines())[1:] == [
            "  messages.created/1/7: cannot be read",
            "  and 2 more",
            "refused, messages-1 stays: records that cannot be read or applied: 3",
        ]
        assert report("refused", problems=3).exit_code == 1

    def test_a_dry_run_says_what_differs_and_fails_where_a_rebuild_would(self) -> None:
        assert list(report("dry run").lines())[-1] == (
            "dry run, nothing changed: 2 channels of messages-1 differ from the log"
        )
        assert report("dry run").exit_code == 0
        named = msgspec.structs.replace(report("dry run"), differing_channels=("일반",))
        assert named.exit_code == 1
        assert report("dry run", problems=1).exit_code == 1

    def test_is_json(self) -> None:
        assert b'"outcome":"swapped"' in encode(report("swapped"))
