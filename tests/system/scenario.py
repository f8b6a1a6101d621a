"""The scenario: 200 messages in 5 channels by 10 users over the public REST API, the same on every run.

The channels are written to at the same time, each in its own order, so that sequences, texts and
mentions depend on the seed alone.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

SEED = 20_260_131
USERS = ("minji", "bora", "지훈", "서연", "alex", "chris", "도윤", "하은", "sam", "김 한글")
CHANNELS = ("general", "배포", "design review", "잡담", "ops")
MESSAGES, EDITS, DELETES = 200, 40, 20
EVERYONE = "@channel"

_SENTENCES = (
    "배포를 완료했습니다",
    "회의록을 정리해서 올려 주세요",
    "검색 색인이 잠시 늦습니다",
    "내일 오전에 데이터베이스를 점검합니다",
    "the deployment is finished",
    "please review the search index before lunch",
    "we should write this down somewhere",
    "API를 고치고 test도 추가했어요",
    "장애 보고서 v2, see the attachment 📎",
    'quotes "like these", <tags> & 100% of\nnew lines',
)


@dataclass(frozen=True)
class Post:
    """A new message; `number` is its place among all messages, `parent` that of the one it answers."""

    number: int
    channel_id: str
    author_id: str
    content: str
    mentions: tuple[str, ...] = ()
    attachments: tuple[dict[str, Any], ...] = ()
    parent: int | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Edit:
    """The author changes message `number`."""

    number: int
    channel_id: str
    author_id: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class Delete:
    """Message `number` is deleted by its author, or by the owner of its channel."""

    number: int
    channel_id: str
    by: str


Action = Post | Edit | Delete


def scenario(seed: int = SEED) -> list[Action]:
    """Return the actions in the order of their making; of a channel, they are to be done in this order."""
    return _Writer(random.Random(seed)).actions()


class _Writer:
    """Makes the scenario up, remembering what can still be edited, deleted and answered."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._posts: list[Post] = []
        self._live: list[Post] = []
        self._mentions: dict[int, tuple[str, ...]] = {}
        self._owners: dict[str, str] = {}

    def actions(self) -> list[Action]:
        later: list[type[Edit] | type[Delete]] = [Edit] * EDITS + [Delete] * DELETES
        self._chance.shuffle(later)
        # Nothing to edit at first: the changes are strewn over the posts from the twentieth on.
        places = sorted(self._chance.randrange(20, MESSAGES + 1) for _ in later)
        actions: list[Action] = []
        for number in range(MESSAGES + 1):
            while places and places[0] == number:
                places.pop(0)
                actions.append(self._edit() if later.pop() is Edit else self._delete())
            if number < MESSAGES:
                actions.append(self._post(number))
        return actions

    def _post(self, number: int) -> Post:
        chance = self._chance
        channel_id = CHANNELS[number] if number < len(CHANNELS) else chance.choice(CHANNELS)
        author_id = chance.choice(USERS)
        parents = [post for post in self._live if post.channel_id == channel_id and post.parent is None]
        post = Post(
            number=number,
            channel_id=channel_id,
            author_id=author_id,
            content=f"{chance.choice(_SENTENCES)} #{number}",
            mentions=self._some_mentions(),
            attachments=_attachment(number) if chance.random() < 0.1 else (),
            parent=chance.choice(parents).number if parents and chance.random() < 0.2 else None,
            idempotency_key=f"열쇠-{number}" if chance.random() < 0.2 else None,
        )
        self._owners.setdefault(channel_id, author_id)
        self._posts.append(post)
        self._live.append(post)
        self._mentions[number] = post.mentions
        return post

    def _edit(self) -> Edit:
        chance = self._chance
        post = chance.choice(self._live)
        changes: dict[str, Any] = {}
        kind = chance.choice(("content", "add", "drop", "both"))
        if kind in ("content", "both"):
            changes["content"] = f"{chance.choice(_SENTENCES)} #{post.number} (수정)"
        mentions = self._mentions[post.number]
        if kind in ("add", "both"):
            mentions = (*mentions, *(name for name in self._some_mentions(1) if name not in mentions))
            changes["mentions"] = mentions
        if kind == "drop":
            mentions = tuple(name for name in mentions if chance.random() < 0.3)
            changes["mentions"] = mentions
        self._mentions[post.number] = mentions
        return Edit(post.number, post.channel_id, post.author_id, changes)

    def _delete(self) -> Delete:
        post = self._chance.choice(self._live)
        self._live.remove(post)
        by = self._owners[post.channel_id] if self._chance.random() < 0.4 else post.author_id
        return Delete(post.number, post.channel_id, by)

    def _some_mentions(self, at_least: int = 0) -> tuple[str, ...]:
        wanted = max(at_least, self._chance.choice((0, 0, 1, 1, 2, 3)))
        mentions = self._chance.sample(USERS, wanted)
        if wanted and self._chance.random() < 0.1:
            mentions[0] = EVERYONE
        return tuple(mentions)


def _attachment(number: int) -> tuple[dict[str, Any], ...]:
    return (
        {
            "name": f"보고서-{number}.pdf",
            "url": f"https://files.example/보고서/{number}.pdf",
            "size_bytes": number,
        },
        {"name": "log", "url": "http://files.example/log", "content_type": "text/plain"},
    )


@dataclass
class Player:
    """Plays a scenario against a server, checking each answer; afterwards knows the messages by number."""

    client: httpx.AsyncClient
    ids: dict[int, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)

    async def play(self, actions: Sequence[Action]) -> None:
        """Do every action: channels at the same time, the actions of each one after the other."""
        by_channel: dict[str, list[Action]] = defaultdict(list)
        for action in actions:
            by_channel[action.channel_id].append(action)
        async with asyncio.TaskGroup() as channels:
            for of_channel in by_channel.values():
                channels.create_task(self._play_in_order(of_channel))

    async def _play_in_order(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Post():
                    await self._post(action)
                case Edit():
                    await self._edit(action)
                case Delete():
                    await self._delete(action)

    async def _post(self, post: Post) -> None:
        body = {
            "channel_id": post.channel_id,
            "author_id": post.author_id,
            "content": post.content,
            "mentions": post.mentions,
            "attachments": post.attachments,
            "parent_id": None if post.parent is None else self.ids[post.parent],
        }
        key = post.idempotency_key
        headers = {} if key is None else {b"Idempotency-Key": key.encode()}
        answer = await self.client.post("/messages", json=body, headers=headers)
        _expect(answer, 201)
        message = answer.json()
        self.ids[post.number] = message["message_id"]
        self.tokens.append(answer.headers["Consistency-Token"])
        assert answer.headers["Location"] == f"/messages/{message['message_id']}"
        if headers:
            again = await self.client.post("/messages", json=body, headers=headers)
            _expect(again, 200)
            assert again.json() == message, "a repeat is answered with the message as first stored"

    async def _edit(self, edit: Edit) -> None:
        path, author = f"/messages/{self.ids[edit.number]}", _by(edit.author_id)
        stranger = next(name for name in USERS if name != edit.author_id)
        _expect(await self.client.patch(path, json=edit.changes, headers=_by(stranger)), 403)
        _expect(await self.client.patch(path, json=edit.changes, headers=author | {b"If-Match": b'"0"'}), 412)
        answer = await self.client.patch(path, json=edit.changes, headers=author)
        _expect(answer, 200)
        message = answer.json()
        assert {name: message[name] for name in edit.changes} == {
            name: list(value) if isinstance(value, tuple) else value for name, value in edit.changes.items()
        }
        self.tokens.append(answer.headers["Consistency-Token"])

    async def _delete(self, delete: Delete) -> None:
        path = f"/messages/{self.ids[delete.number]}"
        answer = await self.client.delete(path, headers=_by(delete.by))
        _expect(answer, 204)
        self.tokens.append(answer.headers["Consistency-Token"])
        _expect(await self.client.delete(path, headers=_by(delete.by)), 204)


def _by(user_id: str) -> dict[bytes, bytes]:
    return {b"X-User-Id": user_id.encode()}


def _expect(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, f"{answer.request.method} {answer.url}: {answer.text}"
