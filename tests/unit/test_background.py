"""Work beside all else goes on whatever one time of it meets."""

import asyncio

import pytest
from structlog.testing import capture_logs

from backbone import background
from backbone.background import keep_doing
from tests.support.waiting import until


class Work:
    """Fails every second time."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1
        if self.times % 2:
            raise KeyError(self.times)

    async def done_often(self) -> bool:
        return self.times >= 10


@pytest.mark.parametrize(("again_after_s", "every_one"), [(60.0, False), (0.0, True)])
async def test_errors_are_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, again_after_s: float, every_one: bool
) -> None:
    """It is done again after each error; the log has one line of it a minute."""
    monkeypatch.setattr(background, "TOLD_AGAIN_AFTER_S", again_after_s)
    work = Work()
    with capture_logs() as logs:
        doing = asyncio.create_task(keep_doing("some work", work, 0.001))
        await until(work.done_often, every_s=0.001)
        doing.cancel()
        await asyncio.wait({doing})
    assert doing.cancelled()
    assert {(each["event"], each["work"]) for each in logs} == {("background_work_failed", "some work")}
    assert len(logs) == ((work.times + 1) // 2 if every_one else 1)
