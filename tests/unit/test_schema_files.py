"""The generated files: as the structs say, valid, complete, and their drift is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas import generate
from schemas.asyncapi import asyncapi_document
from schemas.events import MessageCreated
from schemas.messages import MessageState
from schemas.topics import ALL_TOPICS, TOPIC_OF_EVENT

SCHEMAS = generate.FOLDER / "json"


class TestSchemaFiles:
    def test_are_as_the_structs_say(self) -> None:
        """`make schemas` was run and committed."""
        assert generate.differences(generate.FOLDER) == []

    def test_drift_is_named_file_by_file(self, tmp_path: Path) -> None:
        """A changed, a missing and a left-over file each get a line; writing again mends all three."""
        generate.write(tmp_path)
        assert generate.differences(tmp_path) == []
        (tmp_path / "json" / "message.json").write_text("{}", encoding="utf-8")
        (tmp_path / "json" / "channel.json").unlink()
        (tmp_path / "json" / "gone.event.json").write_text("{}", encoding="utf-8")
        assert sorted(line.rsplit("/", 1)[1] for line in generate.differences(tmp_path)) == [
            "channel.json: missing",
            "gone.event.json: left over",
            "message.json: differs",
        ]
        assert len(generate.write(tmp_path)) == 3
        assert generate.differences(tmp_path) == []

    def test_check_exits_1_and_names_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(generate, "FOLDER", tmp_path)
        assert generate.main(["--check"]) == 1
        assert "message.created.json: missing" in capsys.readouterr().err
        assert generate.main([]) == 0
        assert generate.main(["--check"]) == 0

    @pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
    def test_are_valid_and_complete_in_themselves(self, path: Path) -> None:
        schema = json.loads(path.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        for reference in _references(schema):
            assert reference.startswith("#/$defs/")
            assert reference.removeprefix("#/$defs/") in schema["$defs"]

    def test_required_fields_are_those_that_are_always_there(self) -> None:
        """Every required field has no default in the struct, so that no writer of ours can leave it out."""
        schema = generate.json_schema(MessageCreated)
        assert schema["$defs"]["MessageCreated"]["required"] == [
            "event_type",
            "event_id",
            "timestamp",
            "sequence",
            "payload",
        ]
        assert "private" not in generate.json_schema(MessageState)["$defs"]["MessageState"]["required"]


class TestAsyncApi:
    def test_lists_every_topic_under_the_default_prefix(self) -> None:
        channels = asyncapi_document()["channels"]
        for topic in ALL_TOPICS:
            channel = channels[topic.name]
            assert channel["address"] == f"platform.{topic.name}"
            assert (channel["x-key"], channel["x-ordering-key"]) == (topic.key, topic.ordering_key)
            assert channel["x-cleanup"] == topic.cleanup
        assert channels["socket"]["address"] == "/ws"
        assert len(channels) == len(ALL_TOPICS) + 1

    def test_every_event_lies_in_its_topic_with_its_headers(self) -> None:
        document = asyncapi_document()
        for event, topic in TOPIC_OF_EVENT.items():
            assert event in document["channels"][topic.name]["messages"]
            headers = document["components"]["messages"][event]["headers"]
            assert headers["properties"]["event_type"]["const"] == event
            assert headers["required"] == ["event_type", "schema_version", "content-type"]

    def test_every_reference_leads_somewhere(self) -> None:
        """A file beside the document, or a place inside it."""
        document = asyncapi_document()
        for reference in _references(document):
            if reference.startswith("./"):
                assert (generate.FOLDER / reference).is_file()
                continue
            node: Any = document
            for step in reference.removeprefix("#/").split("/"):
                node = node[step]
            assert node


def _references(node: Any) -> list[str]:
    match node:
        case dict():
            inner = [reference for value in node.values() for reference in _references(value)]
            return [node["$ref"], *inner] if "$ref" in node else inner
        case list():
            return [reference for value in node for reference in _references(value)]
        case _:
            return []
