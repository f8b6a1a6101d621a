"""The examples of the description: one conversation, in Korean and in English."""

from typing import Any

MESSAGE: dict[str, Any] = {
    "message_id": "msg_019a5b0c-7d1e-7000-8000-000000000001",
    "channel_id": "개발",
    "author_id": "철수",
    "content": "배포를 완료했습니다 🚀",
    "mentions": ["영희"],
    "attachments": [
        {
            "name": "배포 기록.txt",
            "url": "https://files.example/deploys/42.txt",
            "content_type": "text/plain",
            "size_bytes": 5120,
        }
    ],
    "parent_id": None,
    "sequence": 2,
    "version": 2,
    "created_at": "2026-01-31T09:00:00.000Z",
    "updated_at": "2026-01-31T09:00:00.000Z",
}
REPLY: dict[str, Any] = {
    **MESSAGE,
    "message_id": "msg_019a5b0c-9e00-7000-8000-000000000002",
    "author_id": "minsu",
    "content": "Thanks! The dashboards look fine.",
    "mentions": [],
    "attachments": [],
    "parent_id": MESSAGE["message_id"],
    "sequence": 3,
    "version": 3,
    "created_at": "2026-01-31T09:01:00.000Z",
    "updated_at": "2026-01-31T09:01:00.000Z",
}
EDITED: dict[str, Any] = {
    **MESSAGE,
    "content": "배포를 되돌렸습니다",
    "version": 4,
    "updated_at": "2026-01-31T09:05:00.000Z",
}
CHANNEL: dict[str, Any] = {
    "channel_id": "개발",
    "name": "개발팀",
    "private": False,
    "created_by": "철수",
    "created_at": "2026-01-31T08:59:00.000Z",
    "last_sequence": 4,
    "role": "owner",
}
MEMBERSHIP: dict[str, Any] = {"channel_id": "개발", "user_id": "영희", "role": "member", "version": 5}
CREATED: dict[str, Any] = {
    "event_type": "message.created",
    "event_id": "evt_019a5b0c-7d1e-7000-8000-0000000000a1",
    "timestamp": 1769850000000,
    "schema_version": 1,
    "sequence": 2,
    "private": False,
    "payload": MESSAGE,
}
REDACTED: dict[str, Any] = {
    **CREATED,
    "payload": {**MESSAGE, "content": "", "mentions": [], "attachments": []},
    "redacted": True,
}
DELETED: dict[str, Any] = {
    "event_type": "message.deleted",
    "event_id": "evt_019a5b10-0000-7000-8000-0000000000a2",
    "timestamp": 1769850600000,
    "schema_version": 1,
    "sequence": 6,
    "private": False,
    "payload": {
        "message_id": MESSAGE["message_id"],
        "channel_id": "개발",
        "author_id": "철수",
        "sequence": 2,
        "version": 6,
        "deleted_at": "2026-01-31T09:10:00.000Z",
        "deleted_by": "철수",
    },
}
HIT: dict[str, Any] = {
    "_index": "messages-1",
    "_id": MESSAGE["message_id"],
    "_score": 1.42,
    "_source": {
        "content": MESSAGE["content"],
        "author": "철수",
        "channel": "개발",
        "created_at": MESSAGE["created_at"],
        "updated_at": MESSAGE["updated_at"],
        "mentions": ["영희"],
        "has_attachment": True,
        "parent_id": None,
        "private": False,
        "sequence": 2,
        "version": 2,
        "deleted": False,
    },
    "highlight": {"content": ["<em>배포</em>를 완료했습니다 🚀"]},
}
NOTIFICATION: dict[str, Any] = {
    "notification_id": "ntf_019a5b0c-8000-7000-8000-000000000003",
    "user_id": "영희",
    "reason": "mention",
    "title": "새 멘션",
    "body": MESSAGE["content"],
    "data": {"message_id": MESSAGE["message_id"], "channel_id": "개발"},
    "created_at": "2026-01-31T09:00:00.120Z",
    "read_at": None,
    "muted": False,
    "seq": 1,
}
UNREAD: dict[str, Any] = {
    "channel_id": "개발",
    "unread": 2,
    "mentions": 1,
    "read_sequence": 1,
    "last_sequence": 4,
}
PREFERENCES: dict[str, Any] = {
    "do_not_disturb": {"start": "22:00", "end": "07:30", "timezone": "Asia/Seoul"},
    "channels": {"잡담": "nothing"},
}
WHY: dict[str, Any] = {
    "message_id": MESSAGE["message_id"],
    "user_id": "영희",
    "reasons": [
        {"reason": "mention", "outcome": "muted", "because": "do_not_disturb", "seq": 1},
        {"reason": "reply", "outcome": "not_sent", "because": "not_a_reply", "seq": None},
    ],
}
