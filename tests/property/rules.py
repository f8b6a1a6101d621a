"""What users may try, by chance: few of them, in few channels, so that they meet.

A machine that inherits these rules carries each command out in its own way and compares the outcome
with the model's. A message's id stands in the bundle once it was made, deleted or not.
"""

import dataclasses
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, multiple, rule
from msgspec import UNSET

from backend.domain.commands import (
    Command,
    DeleteMessage,
    EditMessage,
    MakeChannel,
    MarkRead,
    PostMessage,
    PutMember,
    RemoveMember,
)
from schemas.channels import Role
from schemas.messages import Attachment
from tests.property.model import Model, Verdict

OWNER = "민지"
USERS = st.sampled_from((OWNER, "bora", "Al Ex"))
PRIVATE = "비밀"
CHANNELS = st.sampled_from((PRIVATE, "일반", "ops"))
KEYS = st.none() | st.sampled_from(("k1", "열쇠"))
ROLES = st.sampled_from((None, "member", "owner"))
# Text is kept as sent: whatever is no surrogate and no NUL, whether composed, astral or a control character.
TEXTS = st.sampled_from(("a", "b")) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
)
MENTIONS = st.sampled_from(((), ("bora",), ("@channel", "bora")))
PICTURE = Attachment("그림", "https://files.example/1", "image/png", 2**63 - 1)
ATTACHMENTS = st.sampled_from(((), (PICTURE,)))
# Versions are small numbers here: some guesses are right.
IF_MATCH = st.none() | st.frozensets(st.integers(1, 12), max_size=6)


class CommandRules(RuleBasedStateMachine):
    """Rules for every command; `scope` stands before each name, so that runs in one database never meet."""

    messages: Bundle[str] = Bundle("messages")
    scope = ""
    posts_make_channels: bool | None = None
    """Whether every post makes the channel that it lacks; None: those do that ask for it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self._numbers = count(1)

    def check(self, command: Command) -> Verdict:
        """Carry the command out, compare what comes of it with the model's verdict, and return that."""
        raise NotImplementedError

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{self.scope}{next(self._numbers)}"

    @initialize(target=messages, private=st.booleans())
    def begin(self, private: bool) -> Any:
        """A private channel of two, a public one, a message in one of them: rules reach further so."""
        self.change_nothing_that_is_not_there()
        self.make(OWNER, PRIVATE)
        self.put(OWNER, "bora", PRIVATE, "member")
        self.make("bora", "ops")
        return self._post("bora", PRIVATE if private else "ops", "first", None, auto=False)

    def change_nothing_that_is_not_there(self) -> None:
        for command in (
            EditMessage(self.new_id("evt_"), "msg_nowhere", self.scope + OWNER, content="x"),
            DeleteMessage(self.new_id("evt_"), "msg_nowhere", self.scope + OWNER),
        ):
            assert self.check(command) == "NotFound"

    @rule(actor=USERS, channel=CHANNELS)
    def make(self, actor: str, channel: str) -> None:
        channel_id = self.scope + channel
        self.check(
            MakeChannel(
                self.new_id("evt_"), self.scope + actor, channel_id, channel_id, private=channel == PRIVATE
            )
        )

    @rule(
        target=messages,
        actor=USERS,
        channel=CHANNELS,
        content=TEXTS,
        mentions=MENTIONS,
        attachments=ATTACHMENTS,
        key=KEYS,
        auto=st.booleans(),
    )
    def post(self, actor: str, channel: str, content: str, auto: bool, **more: Any) -> Any:
        return self._post(actor, channel, content, more.pop("key"), auto, **more)

    @rule(target=messages, actor=USERS, parent=messages, key=KEYS, elsewhere=st.none() | CHANNELS)
    def reply(self, actor: str, parent: str, key: str | None, elsewhere: str | None) -> Any:
        channel = elsewhere or self.model.messages[parent].channel.removeprefix(self.scope)
        return self._post(actor, channel, "reply", key, auto=False, parent_id=parent)

    @rule(actor=USERS, message=messages, content=TEXTS | st.just(UNSET), mentions=MENTIONS, if_match=IF_MATCH)
    def edit(self, actor: str, message: str, **more: Any) -> None:
        self.check(EditMessage(self.new_id("evt_"), message, self.scope + actor, **more))

    @rule(message=messages, content=TEXTS)
    def edit_one_s_own(self, message: str, content: str) -> None:
        known = self.model.messages[message]
        versions = frozenset({known.version})
        self.check(
            EditMessage(self.new_id("evt_"), message, known.author, content=content, if_match=versions)
        )

    @rule(actor=USERS, message=messages, if_match=IF_MATCH)
    def delete(self, actor: str, message: str, if_match: frozenset[int] | None) -> None:
        self.check(DeleteMessage(self.new_id("evt_"), message, self.scope + actor, if_match))

    @rule(actor=USERS, user=USERS, channel=CHANNELS, role=ROLES)
    def put(self, actor: str, user: str, channel: str, role: Role | None) -> None:
        command = PutMember(
            self.new_id("evt_"), self.scope + actor, self.scope + channel, self.scope + user, role
        )
        self.check(command)

    @rule(user=USERS, channel=CHANNELS)
    def join(self, user: str, channel: str) -> None:
        self.put(user, user, channel, None)

    @rule(actor=USERS, user=USERS, channel=CHANNELS)
    def remove(self, actor: str, user: str, channel: str) -> None:
        self.check(
            RemoveMember(self.new_id("evt_"), self.scope + actor, self.scope + channel, self.scope + user)
        )

    @rule(user=USERS, channel=CHANNELS)
    def leave(self, user: str, channel: str) -> None:
        self.remove(user, user, channel)

    @rule(actor=USERS, channel=CHANNELS, sequence=st.integers(1, 30))
    def mark_read(self, actor: str, channel: str, sequence: int) -> None:
        self.check(MarkRead(self.scope + actor, self.scope + channel, sequence))

    def again(self, command: PostMessage) -> PostMessage:
        """Return the same request, under the ids of its own that every request gets."""
        return dataclasses.replace(
            command,
            event_id=self.new_id("evt_"),
            message_id=self.new_id("msg_"),
            channel_event_id=command.channel_event_id and self.new_id("evt_"),
        )

    def _post(
        self, actor: str, channel: str, content: str, key: str | None, auto: bool, **more: Any
    ) -> str | MultipleResults[str]:
        command = PostMessage(
            event_id=self.new_id("evt_"),
            message_id=self.new_id("msg_"),
            actor_id=self.scope + actor,
            channel_id=self.scope + channel,
            content=content,
            idempotency_key=key,
            channel_event_id=self.new_id("evt_") if auto or self.posts_make_channels else None,
            **more,
        )
        verdict = self.check(command)
        if verdict in ("done", "repeated") and key is not None:
            assert self.check(self.again(command)) == "repeated", "the same again is no second message"
        return command.message_id if verdict == "done" else multiple()
