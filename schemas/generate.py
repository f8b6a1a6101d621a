"""`python -m schemas.generate` writes the JSON Schemas and the AsyncAPI document out of the structs.

`--check` writes nothing: it exits 1 and names each file that differs, is missing or is left over.
The output is the same on every supported Python.
"""

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec

from schemas.asyncapi import asyncapi_document
from schemas.channels import Channel, Membership
from schemas.dead_letters import DeadLetter, LetterRequest
from schemas.documents import SearchDocument
from schemas.events import AnyEvent, event_type
from schemas.frames import ClientFrame, ServerFrame
from schemas.messages import DeletedMessage, Message, MessageState
from schemas.notifications import Notification
from schemas.webhooks import Webhook

FOLDER = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"

# The files beside those of the events, which are named after their event_type.
OTHER_SCHEMAS: dict[str, Any] = {
    "message": Message,
    "message-deleted": DeletedMessage,
    "message-state": MessageState,
    "channel": Channel,
    "membership": Membership,
    "notification": Notification,
    "dead-letter": DeadLetter,
    "dead-letter-request": LetterRequest,
    "search-document": SearchDocument,
    "client-frame": ClientFrame,
    "server-frame": ServerFrame,
    "webhook": Webhook,
}


def event_structs() -> dict[str, type[msgspec.Struct]]:
    """Return the struct of each event type."""
    return {event_type(struct): struct for struct in get_args(AnyEvent)}


def json_schema(described: Any) -> dict[str, Any]:
    """Return the JSON Schema of a struct or union, complete in itself, with its parts under `$defs`."""
    (schema,), parts = msgspec.json.schema_components([described], ref_template="#/$defs/{name}")
    complete: dict[str, Any] = _tidied({"$schema": DIALECT, **schema, "$defs": dict(sorted(parts.items()))})
    return complete


def generated_files() -> dict[Path, str]:
    """Return the text of each generated file, by its path below this folder."""
    described = {**event_structs(), **OTHER_SCHEMAS}
    files = {
        Path("json") / f"{name}.json": _text(json_schema(struct))
        for name, struct in sorted(described.items())
    }
    files[Path("asyncapi.json")] = _text(asyncapi_document())
    return files


def differences(folder: Path) -> list[str]:
    """Return a line for each file below `folder` that is not as it would be generated."""
    files = generated_files()
    lines = []
    for name, text in files.items():
        path = folder / name
        if not path.is_file():
            lines.append(f"{path}: missing")
        elif path.read_text(encoding="utf-8") != text:
            lines.append(f"{path}: differs")
    return lines + [f"{path}: left over" for path in _left_over(folder, files)]


def write(folder: Path) -> list[Path]:
    """Write what differs, remove what is left over; return the paths touched."""
    files = generated_files()
    touched = []
    for name, text in files.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            touched.append(path)
    for path in _left_over(folder, files):
        path.unlink()
        touched.append(path)
    return touched


def _left_over(folder: Path, files: dict[Path, str]) -> list[Path]:
    return [path for path in sorted((folder / "json").glob("*")) if path.relative_to(folder) not in files]


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _tidied(node: Any) -> Any:
    """Take out what differs between Python versions, and `discriminator`, which is OpenAPI's word."""
    match node:
        case dict():
            tidied = {name: _tidied(value) for name, value in node.items() if name != "discriminator"}
            if isinstance(description := tidied.get("description"), str):
                # Until 3.12 a docstring keeps the indentation of its further lines, from 3.13 on it does not.
                tidied["description"] = inspect.cleandoc(description)
            return tidied
        case list():
            return [_tidied(value) for value in node]
        case _:
            return node


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description="Write the schema files.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a file differs")
    if parser.parse_args(arguments).check:
        lines = differences(FOLDER)
        if lines:
            print(*lines, "Run `make schemas` and commit the result.", sep="\n", file=sys.stderr)
        return 1 if lines else 0
    for path in write(FOLDER):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
