"""A backlog in the event log: messages that an indexer has not read yet, one event a document."""

import random
from collections.abc import Iterator

from backbone.clock import SystemClock
from backbone.eventlog import EventLog, NewRecord
from schemas.clock import format_ms
from schemas.events import MessageCreated, encode
from schemas.messages import Message
from schemas.topics import MESSAGES_CREATED

CHANNELS = 100
AUTHORS = 1_000
_SENT_AT_ONCE = 1_000
_PHRASES = (
    "배포를 완료했습니다",
    "회의는 목요일 오후 세 시",
    "검색 색인을 다시 만들었습니다",
    "로그를 확인해 주세요",
    "고객 문의가 늘었습니다",
    "일정이 바뀌었습니다",
    "the release branch is out",
    "asyncio.gather",
    "see the dashboard",
    "build failed on main",
    "thanks, merged 🎉",
)


def channel_of(number: int) -> str:
    """Return the id of a channel of a backlog."""
    return f"channel-{number:03}"


def backlog(messages: int, seed: int = 1, channels: int = CHANNELS) -> Iterator[MessageCreated]:
    """Yield the events of so many messages in Korean and English, some 80 characters each."""
    chance = random.Random(seed)
    clock = SystemClock()
    last = dict.fromkeys(map(channel_of, range(channels)), 1)
    channel_ids = list(last)
    for number in range(messages):
        channel_id = chance.choice(channel_ids)
        last[channel_id] += 1
        now_ms = clock.now_ms()
        message = Message(
            message_id=clock.new_id("msg_"),
            channel_id=channel_id,
            author_id=f"author-{chance.randrange(AUTHORS):04}",
            content=content(chance, number),
            sequence=last[channel_id],
            version=last[channel_id],
            created_at=format_ms(now_ms),
            updated_at=format_ms(now_ms),
        )
        yield MessageCreated(
            event_id=clock.new_id("evt_"),
            timestamp=now_ms,
            sequence=last[channel_id],
            private=False,
            payload=message,
        )


def content(chance: random.Random, number: int) -> str:
    """Return some 80 characters in Korean and English, and the number."""
    return f"{' '.join(chance.choices(_PHRASES, k=5))} #{number}"


async def tell_backlog(eventlog: EventLog, messages: int) -> None:
    """Append the events of so many messages. Raises Unavailable."""
    producer = await eventlog.producer()
    try:
        batch: list[NewRecord] = []
        for event in backlog(messages):
            batch.append(_record(event))
            if len(batch) == _SENT_AT_ONCE:
                await producer.send(batch)
                batch = []
        await producer.send(batch)
    finally:
        await producer.close()


def _record(event: MessageCreated) -> NewRecord:
    channel_id = event.payload.channel_id
    return NewRecord(MESSAGES_CREATED.name, channel_id, channel_id, encode(event))
