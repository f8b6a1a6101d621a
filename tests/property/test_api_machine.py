"""The running API against the model, on both databases: one request after the other, and several at once."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from backbone.database.tables import channel_reads
from backbone.settings import Settings
from backend.consistency import decode_token
from backend.domain.commands import (
    Command,
    DeleteMessage,
    EditMessage,
    PostMessage,
)
from schemas.codec import encode
from tests.conftest import ADAPTERS
from tests.property.calls import send, status_of
from tests.property.model import KnownMessage, Verdict
from tests.property.rules import TEXTS, USERS, CommandRules
from tests.support.backend import Backend, running_backend
from tests.support.database import own_database
from tests.support.stored import Json, check_stored

T = TypeVar("T")
_runs = count(1)


class ApiMachine(CommandRules):
    """A client of the backend; each run has channels and users of its own in the one database."""

    posts_make_channels = True

    def __init__(self, runner: asyncio.Runner, backend: Backend) -> None:
        super().__init__()
        self.scope = f"{next(_runs)}-"
        self.ids: dict[str, str] = {}
        """The server's ids of messages, by the model's."""
        self._runner = runner
        self._backend = backend

    def check(self, command: Command) -> Verdict:
        verdict = self.model.judge(command)
        [answer] = self._ask([command])
        self._check_answer(command, verdict, answer)
        return verdict

    @rule(actor=USERS, message=CommandRules.messages)
    def read(self, actor: str, message: str) -> None:
        """A message is read as it is by those who see its channel."""
        known = self.model.messages[message]
        reader = self.scope + actor
        answer = self._run(
            partial(
                self._backend.client.get,
                f"/messages/{self.ids[message]}",
                headers={b"X-User-Id": reader.encode()},
            )
        )
        if self.model.channels[known.channel].hidden_from(reader):
            assert answer.status_code == 404
        elif known.deleted_by is not None:
            assert answer.status_code == 410
        else:
            self._check_message(message, answer)

    @precondition(lambda self: self.model.channels)
    @rule(texts=st.lists(TEXTS, min_size=2, max_size=5), own=st.lists(CommandRules.messages, max_size=3))
    def much_at_once(self, texts: Sequence[str], own: Sequence[str]) -> None:
        """Posts into every channel, and edits of one's own: all happen, in whatever order."""
        commands: list[Command] = []
        for place, text in enumerate(texts):
            channel_id = sorted(self.model.channels)[place % len(self.model.channels)]
            owners = [user for user, role in self.model.channels[channel_id].roles.items() if role == "owner"]
            post = self._new_post(owners[0], channel_id, text)
            commands.append(post)
        for number, message in enumerate(dict.fromkeys(own)):
            author = self.model.messages[message].author
            commands.append(
                EditMessage(self.new_id("evt_"), message, author, content=f"{number} at once {len(texts)}")
            )
        self._judged_at_once(commands)

    @rule(message=CommandRules.messages, texts=st.lists(TEXTS, min_size=2, max_size=5, unique=True))
    def edits_of_one_version(self, message: str, texts: Sequence[str]) -> None:
        """Of several edits over the same version one happens; the others are stale."""
        known = self.model.messages[message]
        hidden = self.model.channels[known.channel].hidden_from(known.author)
        if hidden or known.deleted_by is not None or known.said["content"] in texts:
            return
        over = frozenset({known.version})
        commands: list[Command] = [
            EditMessage(self.new_id("evt_"), message, known.author, content=text, if_match=over)
            for text in texts
        ]
        answers = self._ask(commands)
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * (len(texts) - 1)
        [winner] = [place for place, answer in enumerate(answers) if answer.status_code == 200]
        assert self.model.judge(commands[winner]) == "done"
        self._check_message(message, answers[winner])

    @rule(actor=USERS, text=TEXTS, others=st.integers(0, 3))
    def one_key_at_once(self, actor: str, text: str, others: int) -> None:
        """Of several posts under one key one is new; the same are answered with it, others are refused."""
        first = self._new_post(self.scope + actor, self.scope + "ops", text, idempotency_key="at once")
        different = [replace(self.again(first), content=text + "!") for _ in range(others)]
        commands: list[Command] = [first, self.again(first), self.again(first), *different]
        answers = self._ask(commands)
        new = [place for place, answer in enumerate(answers) if answer.status_code == 201]
        order = [*new, *(place for place in range(len(commands)) if place not in new)]
        for place in order:
            verdict = self.model.judge(commands[place])
            self._check_answer(commands[place], verdict, answers[place])

    @rule(message=CommandRules.messages, times=st.integers(2, 4))
    def deletions_at_once(self, message: str, times: int) -> None:
        """All are answered alike, and name one version."""
        author = self.model.messages[message].author
        deletions = [DeleteMessage(self.new_id("evt_"), message, author) for _ in range(times)]
        for deletion, answer in zip(deletions, self._ask(deletions), strict=True):
            self._check_answer(deletion, self.model.judge(deletion), answer)

    def teardown(self) -> None:
        """What is stored is the fold of its events, and what the model says."""
        stored = self._run(partial(check_stored, self._backend.ports.database, self.scope))
        model = self.model
        assert {id_: len(events) for id_, events in stored.events.items()} == {
            id_: channel.last for id_, channel in model.channels.items()
        }
        assert {key: role for key, (role, _) in stored.members.items()} == {
            (id_, user): role
            for id_, channel in model.channels.items()
            for user, role in channel.roles.items()
        }
        assert {id_: known_of(row) for id_, row in stored.messages.items()} == {
            self.ids[id_]: self._as_stored(known) for id_, known in model.messages.items()
        }
        assert len(stored.keys) == len(model.keys)
        assert self._run(self._read_marks) == model.read

    def _check_answer(self, command: Command, verdict: Verdict, answer: httpx.Response) -> None:
        assert answer.status_code == status_of(command, verdict), (verdict, answer.text)
        if answer.status_code >= 400:
            assert answer.json()["status"] == answer.status_code
            return
        match command:
            case PostMessage() if verdict == "repeated":
                key = command.idempotency_key
                assert key is not None
                first = self.model.message_of_key(command.actor_id, key)
                # As it was first stored, whatever became of it.
                assert answer.json()["message_id"] == self.ids[first]
                assert answer.json()["content"] == command.content
                assert answer.json()["version"] == self.model.messages[first].sequence
            case PostMessage():
                self.ids[command.message_id] = answer.json()["message_id"]
                assert answer.headers["Location"] == f"/messages/{self.ids[command.message_id]}"
                self._check_message(command.message_id, answer)
            case EditMessage():
                self._check_message(command.message_id, answer)
            case DeleteMessage():
                token = decode_token(answer.headers["Consistency-Token"])
                version = self.model.messages[command.message_id].version
                assert token == (self.ids[command.message_id], version)

    def _check_message(self, message: str, answer: httpx.Response) -> None:
        known = self.model.messages[message]
        assert answer.status_code in (200, 201), answer.text
        assert known_of({**answer.json(), "deleted_by": None}) == self._as_stored(known)
        assert answer.headers["ETag"] == f'"{known.version}"'

    def _judged_at_once(self, commands: Sequence[Command]) -> None:
        """Send them together; the order in which they happened is read from the answers' numbers."""
        answers = self._ask(commands)
        happened = [(place, answer.json().get("version", 0)) for place, answer in enumerate(answers)]
        for place, _ in sorted(happened, key=lambda pair: pair[1]):
            self._check_answer(commands[place], self.model.judge(commands[place]), answers[place])

    def _as_stored(self, known: KnownMessage) -> KnownMessage:
        return replace(
            known,
            said=json.loads(encode(known.said)),
            parent=known.parent and self.ids[known.parent],
        )

    def _new_post(self, actor_id: str, channel_id: str, text: str, **more: Any) -> PostMessage:
        return PostMessage(
            event_id=self.new_id("evt_"),
            message_id=self.new_id("msg_"),
            actor_id=actor_id,
            channel_id=channel_id,
            content=text,
            channel_event_id=self.new_id("evt_"),
            **more,
        )

    async def _read_marks(self) -> dict[tuple[str, str], int]:
        async with self._backend.ports.database.reading() as connection:
            rows = (await connection.execute(select(channel_reads))).mappings().all()
        return {
            (row["user_id"], row["channel_id"]): row["sequence"]
            for row in rows
            if row["user_id"].startswith(self.scope)
        }

    def _ask(self, commands: Sequence[Command]) -> list[httpx.Response]:
        async def all_at_once() -> list[httpx.Response]:
            return await asyncio.gather(
                *(send(self._backend.client, command, self.ids) for command in commands)
            )

        return self._run(all_at_once)

    def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        async def awaited() -> T:
            return await work()

        return self._runner.run(awaited())


def known_of(message: Json) -> KnownMessage:
    """Return a message of an answer or of a row as the model has it."""
    said = {name: message[name] for name in ("content", "mentions", "attachments")}
    names = ("channel_id", "author_id", "parent_id", "sequence", "version", "deleted_by")
    channel, author, parent, sequence, version, deleted_by = (message[name] for name in names)
    return KnownMessage(channel, author, said, parent, sequence, version, deleted_by)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_api(adapter: str, request: pytest.FixtureRequest, unique: str) -> None:
    """Any run of requests is answered as the contract says, and leaves what it says."""
    chosen: Settings = request.getfixturevalue(f"{adapter}_settings")
    unlimited = replace(chosen, write_rate=1_000_000, write_burst=1_000_000)
    bounds = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:

        async def start() -> Backend:
            own = await stack.enter_async_context(own_database(unlimited, unique))
            return await stack.enter_async_context(running_backend(own))

        backend = runner.run(start())
        try:
            machine: Any = partial(ApiMachine, runner, backend)
            run_state_machine_as_test(machine, settings=bounds)
        finally:
            runner.run(stack.aclose())
