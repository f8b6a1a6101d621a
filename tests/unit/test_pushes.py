"""What is pushed and how it is signed, printed and given up: decided without a receiver."""

import asyncio
import base64
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from backbone.printable import printable
from notifier.senders import NotTaken, Push, console, push_of
from notifier.senders.console import ConsoleSender, line_of
from notifier.senders.signing import signed_headers
from notifier.senders.trouble import Sent, Troubles
from notifier.senders.webhook import _wait_s
from schemas.events import NotificationRetracted, NotificationSent
from schemas.notifications import Notification, NotificationData


def event(kind: type[Any] = NotificationSent, body: str = "말", **changes: Any) -> Any:
    notification = Notification(
        notification_id="ntf_1",
        user_id="보라",
        reason="mention",
        title="새 멘션",
        body=body,
        data=NotificationData(message_id="msg_1", channel_id="c"),
        created_at="2026-01-31T09:00:00.000Z",
        **changes,
    )
    return kind(event_id="evt_1", timestamp=1_769_850_000_000, seq=7, payload=notification)


def push(body: str = "말", kind: type[Any] = NotificationSent) -> Push:
    found = push_of(event(kind, body))
    assert found is not None
    return found


class TestWhatIsPushed:
    def test_a_notification_under_its_own_id(self) -> None:
        assert push().push_id == "ntf_1"
        assert (push().user_id, push().seq, push().body.timestamp) == ("보라", 7, "2026-01-31T09:00:00.000Z")

    def test_a_retraction_under_an_id_of_its_own(self) -> None:
        assert push(kind=NotificationRetracted).push_id == "ntf_1_retracted"

    @pytest.mark.parametrize("kind", [NotificationSent, NotificationRetracted])
    def test_nothing_of_a_muted_one(self, kind: type[Any]) -> None:
        assert push_of(event(kind, muted=True)) is None

    def test_nothing_of_one_that_was_born_retracted(self) -> None:
        assert push_of(event(retracted=True)) is None


class TestSigning:
    def test_as_the_specification_s_own_example(self) -> None:
        key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key])
        assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_each_key_signs(self) -> None:
        signatures = signed_headers("a", 1, b"", [b"old", b"new"])["webhook-signature"].split(" ")
        assert signatures == [
            signed_headers("a", 1, b"", [key])["webhook-signature"] for key in (b"old", b"new")
        ]


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            (None, None),
            ("120", 120),
            ("999999999999999999999", 3600),
            ("Sat, 31 Jan 2026 09:00:30 GMT", 30),
            ("Sat, 31 Jan 2026 08:00:00 GMT", 0),
            ("soon", None),
            ("-1", None),
            ("", None),
        ],
    )
    def test_seconds_and_dates(self, text: str | None, seconds: float | None) -> None:
        assert _wait_s(text, 1_769_850_000_000) == seconds


class TestTheConsole:
    async def test_one_line_a_push(self, tmp_path: Path) -> None:
        with (tmp_path / "out").open("w+") as stream:
            sender = ConsoleSender(stream)
            for each in (push("배포를 완료했습니다."), push("두\n줄"), push(kind=NotificationRetracted)):
                await sender.send(each)
        assert (tmp_path / "out").read_text().splitlines() == [
            "보라 7 새 멘션 배포를 완료했습니다.",
            "보라 7 새 멘션 두\\n줄",
            "보라 7 retracted ntf_1",
        ]

    async def test_a_reader_that_does_not_read_holds_nobody_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full pipe refuses a line within its time; once it is read again, every line is whole."""
        monkeypatch.setattr(console, "TAKEN_WITHIN_S", 0.05)
        reading, writing = os.pipe()
        text = "가" * 10_000
        with os.fdopen(writing, "w") as stream:
            sender, taken = ConsoleSender(stream), 0
            for _ in range(4):
                with suppress(NotTaken):
                    await sender.send(push(text))
                    taken += 1
            assert taken <= 2

            def read_all() -> bytes:
                with os.fdopen(reading, "rb") as pipe:
                    return pipe.read()

            read = asyncio.create_task(asyncio.to_thread(read_all))
            monkeypatch.setattr(console, "TAKEN_WITHIN_S", 5.0)
            await sender.send(push("끝"))
        lines = (await read).decode().splitlines()
        assert set(lines) == {f"보라 7 새 멘션 {text}", "보라 7 새 멘션 끝"}

    def test_no_text_commands_the_terminal(self) -> None:
        assert line_of(push("\x1b[2J\u202e\u2028")).endswith(" \\x1b[2J\\u202e\\u2028")
        assert printable("👩‍👩‍👧 é 말 a\tb") == "👩‍👩‍👧 é 말 a\\tb"

    async def test_output_that_nobody_takes_is_not_sent(self, tmp_path: Path) -> None:
        with (tmp_path / "out").open("w") as stream:
            pass
        with pytest.raises(NotTaken):
            await ConsoleSender(stream).send(push())


class TestGivingUp:
    def after(self, taken: Sequence[int], seconds: float) -> bool:
        """Say if a push is given up that failed once before, and once after, so many others were taken."""
        now = 0.0
        troubles = Troubles(lambda: now)
        troubles.failed("p", "400")
        for count in taken:
            now += seconds / len(taken)
            for _ in range(count):
                troubles.taken()
            troubles.failed("p", "400")
        assert "p" in troubles
        return troubles.given_up("p")

    def test_only_where_others_were_taken_between_its_failures(self) -> None:
        assert self.after([1] * 5, 60)
        assert not self.after([0] * 100, 100_000), "the receiver takes nothing from anyone"
        assert not self.after([100, 0, 0, 0, 0, 0, 0], 600), "it was there once, and is down since"

    def test_not_at_once(self) -> None:
        assert not self.after([1] * 100, 59)
        assert not self.after([1] * 4, 600)

    def test_what_is_dealt_with_is_forgotten(self) -> None:
        troubles = Troubles(lambda: 0.0)
        troubles.failed("p", "400")
        troubles.forget(["p", "q"])
        assert "p" not in troubles
        assert not troubles.given_up("p")

    def test_only_so_many_are_remembered(self) -> None:
        sent = Sent(2)
        for push_id in "abc":
            sent.add(push_id)
        assert ["a" in sent, "b" in sent, "c" in sent] == [False, True, True]
