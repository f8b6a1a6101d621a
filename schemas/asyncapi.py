"""The AsyncAPI 3.0 document: every topic and the WebSocket, what they carry, in whose direction.

Payloads are references to the JSON Schema files beside it.
"""

from typing import Any

from schemas.frames import SUBPROTOCOL
from schemas.topics import (
    ALL_TOPICS,
    DEAD_LETTERS,
    GROUP_ARCHIVER,
    GROUP_INDEXER,
    GROUP_NOTIFIER,
    GROUP_OF_SENDER,
    GROUP_REBUILDER,
    MESSAGES_STATE,
    REPLAY_HORIZON_MS,
    TOPIC_OF_EVENT,
    Topic,
)

DEFAULT_PREFIX = "platform"
SOCKET = "socket"
_BINDING_VERSION = "0.5.0"

# Cleanup as Kafka names it; a topic that is kept for ever is one that is never cleaned up.
_KAFKA_CLEANUP = {"keep": ["delete"], "compact": ["compact"], "expire": ["delete"]}


def asyncapi_document() -> dict[str, Any]:
    """Return the whole document, in a fixed order."""
    channels = {topic.name: _topic(topic) for topic in ALL_TOPICS}
    channels[SOCKET] = _socket()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "maeari",
            "version": "1.0.0",
            "description": "One write resounds into search, alerts, statistics and the archive: the topics "
            "that carry it, and the WebSocket of the notifier. Readers ignore fields that they do not "
            "know; fields are only ever added.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": _operations(),
        "components": {"messages": _messages()},
    }


def _topic(topic: Topic) -> dict[str, Any]:
    return {
        "address": f"{DEFAULT_PREFIX}.{topic.name}",
        "title": topic.name,
        "description": f"Keyed by `{topic.key}`; {_kept(topic)}; the partition is murmur2 of "
        f"`{topic.ordering_key}`, as Kafka's Java client and kafkajs compute it.",
        "messages": {name: _reference("components", "messages", name) for name in _carried(topic)},
        "bindings": {
            "kafka": {
                "topic": f"{DEFAULT_PREFIX}.{topic.name}",
                "topicConfiguration": {
                    "cleanup.policy": _KAFKA_CLEANUP[topic.cleanup],
                    **_retention(topic),
                },
                "bindingVersion": _BINDING_VERSION,
            }
        },
        "x-key": topic.key,
        "x-ordering-key": topic.ordering_key,
        "x-cleanup": topic.cleanup,
        "x-partitioning": f"murmur2({topic.ordering_key})",
    }


def _kept(topic: Topic) -> str:
    match topic.cleanup:
        case "keep":
            return "kept for ever"
        case "compact":
            return "compacted"
        case "expire":
            return f"kept for {(topic.retention_ms or 0) // 86_400_000} days"


def _retention(topic: Topic) -> dict[str, int]:
    match topic.cleanup:
        case "compact":
            return {"delete.retention.ms": REPLAY_HORIZON_MS}
        case "keep":
            return {"retention.ms": -1}
        case "expire":
            return {"retention.ms": topic.retention_ms or 0}


def _carried(topic: Topic) -> list[str]:
    if topic is MESSAGES_STATE:
        return ["message-state", "message-tombstone"]
    if topic is DEAD_LETTERS:
        return ["dead-letter", "dead-letter-request", "dead-letter-tombstone"]
    return [event for event, its_topic in TOPIC_OF_EVENT.items() if its_topic is topic]


def _messages() -> dict[str, Any]:
    key_of = {name: topic.key for topic in ALL_TOPICS for name in _carried(topic)}
    messages = {event: _message(event, key_of[event], _headers(event)) for event in TOPIC_OF_EVENT}
    of_channel = {
        "type": "object",
        "properties": {MESSAGES_STATE.ordering_key: {"type": "string"}},
        "required": [MESSAGES_STATE.ordering_key],
    }
    messages["message-state"] = _message("message-state", MESSAGES_STATE.key, of_channel)
    messages["message-tombstone"] = _tombstone(
        "message-tombstone",
        MESSAGES_STATE.key,
        "A null value: the message was deleted longer ago than the replay horizon.",
    )
    messages["dead-letter"] = _message("dead-letter", "group/topic/partition/offset", None)
    messages["dead-letter-request"] = _message("dead-letter-request", "group/request/id", None)
    messages["dead-letter-tombstone"] = _tombstone(
        "dead-letter-tombstone",
        "that of a letter or a request",
        "A null value: the letter was dealt with, or the request carried out.",
    )
    for frame in ("client-frame", "server-frame"):
        messages[frame] = {"name": frame, "contentType": "application/json", "payload": _schema(frame)}
    return messages


def _tombstone(name: str, key: str, summary: str) -> dict[str, Any]:
    return {"name": name, "summary": summary, "payload": {"type": "null"}, "bindings": _key_binding(key)}


def _message(name: str, key: str, headers: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": "application/json",
        **({"headers": headers} if headers else {}),
        "payload": _schema(name),
        "bindings": _key_binding(key),
    }


def _headers(event: str) -> dict[str, Any]:
    """The headers of an event; on the wire each is UTF-8 text."""
    return {
        "type": "object",
        "properties": {
            "event_type": {"type": "string", "const": event},
            "schema_version": {"type": "string", "pattern": "^[1-9][0-9]*$", "examples": ["1"]},
            "content-type": {"type": "string", "const": "application/json"},
            "traceparent": {"type": "string", "description": "W3C trace context, when the write was traced."},
        },
        "required": ["event_type", "schema_version", "content-type"],
    }


def _key_binding(key: str) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": _BINDING_VERSION}}


def _socket() -> dict[str, Any]:
    return {
        "address": "/ws",
        "title": "WebSocket of the notifier",
        "description": f"Text frames of JSON, subprotocol `{SUBPROTOCOL}`. `?after=SEQ` resumes after that "
        "number; with authentication off `?user_id=U` says who connects.",
        "messages": {
            "client-frame": _reference("components", "messages", "client-frame"),
            "server-frame": _reference("components", "messages", "server-frame"),
        },
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {
                    "type": "object",
                    "properties": {"after": {"type": "integer", "minimum": 0}, "user_id": {"type": "string"}},
                },
                "bindingVersion": "0.1.0",
            }
        },
    }


def _operations() -> dict[str, Any]:
    """What the platform does with each channel: `send` appends or pushes, `receive` reads."""
    operations = {
        f"send-{topic.name}": _operation("send", topic.name, _carried(topic))
        for topic in ALL_TOPICS
        if _carried(topic)
    }
    for group, topics in _READ_BY.items():
        for topic in topics:
            operations[f"receive-{topic}-as-{group}"] = {
                **_operation("receive", topic, []),
                "bindings": {
                    "kafka": {
                        "groupId": {"type": "string", "const": group},
                        "bindingVersion": _BINDING_VERSION,
                    }
                },
            }
    operations["push-frames"] = _operation("send", SOCKET, ["server-frame"])
    operations["take-frames"] = _operation("receive", SOCKET, ["client-frame"])
    return operations


_READ_BY = {
    GROUP_INDEXER: ("messages.created", "messages.updated", "messages.deleted"),
    GROUP_NOTIFIER: ("messages.created", "messages.updated", "messages.deleted", "channels.changed"),
    **dict.fromkeys(GROUP_OF_SENDER.values(), ("notifications.sent",)),
    GROUP_ARCHIVER: tuple(topic.name for topic in ALL_TOPICS),
    GROUP_REBUILDER: ("messages.state", "messages.created", "messages.updated", "messages.deleted"),
}


def _operation(action: str, channel: str, messages: list[str]) -> dict[str, Any]:
    operation: dict[str, Any] = {"action": action, "channel": _reference("channels", channel)}
    if messages:
        operation["messages"] = [_reference("channels", channel, "messages", name) for name in messages]
    return operation


def _reference(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"./json/{name}.json"}
