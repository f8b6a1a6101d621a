"""The description of the API: it describes every route and no other, and its examples are what it says."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from backbone.health import Health
from backend.api.documentation import openapi_document
from backend.api.operators import operators_routes
from backend.api.routes import ROUTES

BASE = "urn:openapi"


@pytest.fixture(params=["off", "jwt"])
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The document as it goes over the wire."""
    described: dict[str, Any] = json.loads(json.dumps(openapi_document(request.param)))
    return described


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference stands for."""
    if "$ref" not in node:
        return node
    found: Any = document
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the document."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(value)


def test_every_route_is_described_and_no_other(document: dict[str, Any]) -> None:
    """Method by method."""
    routes = {
        (path.replace(":str}", "}"), method.lower())
        for handler in (*ROUTES, *operators_routes(Health(), "off"))
        for path in handler.paths
        for method in handler.http_methods
    }
    assert {(path, method) for path, method, _ in operations(document)} == routes


def test_every_operation_is_whole(document: dict[str, Any]) -> None:
    """Each has a name of its own, a text, its path's parameters, and answers with a text each."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        assert operation["summary"]
        assert operation["description"].endswith(".")
        assert set(operation["tags"]) <= tags
        parameters = [resolved(document, each) for each in operation.get("parameters", ())]
        in_path = {each["name"] for each in parameters if each["in"] == "path"}
        assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert ("requestBody" in operation) == (method in ("post", "put", "patch"))
        for status, given in operation["responses"].items():
            answer = resolved(document, given)
            assert answer["description"]
            if int(status) >= 400 and path != "/health/ready":
                assert set(answer["content"]) == {"application/problem+json"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """And what nothing refers to is not there."""
    references = {node["$ref"] for node in nodes(document) if "$ref" in node}
    for reference in references:
        assert resolved(document, {"$ref": reference})
    for kind in ("parameters", "responses"):
        for name in document["components"][kind]:
            used = f"#/components/{kind}/{name}" in references
            assert used or name == "X-User-Id.required", f"{kind}/{name}"


def test_examples_are_what_the_schemas_say(document: dict[str, Any]) -> None:
    """Every schema is one, and every example, of bodies, answers and parameters, fits its schema."""
    registry: Registry[Any] = Registry().with_resource(BASE, DRAFT202012.create_resource(document))
    checked = 0
    for node in nodes(document):
        if "schema" not in node or not isinstance(node["schema"], dict):
            continue
        schema = _absolute(node["schema"])
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(
            schema, registry=registry, format_checker=jsonschema.FormatChecker()
        )
        examples = [example["value"] for example in node.get("examples", {}).values()]
        for example in [*examples, *([node["example"]] if "example" in node else [])]:
            validator.validate(example)
            checked += 1
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert checked > 40


def _absolute(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: f"{BASE}{value}" if name == "$ref" else _absolute(value) for name, value in node.items()
        }
    return [_absolute(value) for value in node] if isinstance(node, list) else node


AUTHOR_IN_BODY = {("post", "/messages"), ("patch", "/messages/{message_id}"), ("post", "/channels")}


# What is read of oneself.
OWN = ("/unread", "/notifications", "/notifications/preferences", "/notifications/why")


def test_who_acts_is_said_by_header_or_token() -> None:
    """With `off` changes need the header where no body says who acts, with `jwt` all but probes a token."""
    off, jwt = openapi_document("off"), openapi_document("jwt")
    assert "security" not in off
    assert jwt["security"] == [{"token": []}]
    for path, method, operation in operations(jwt):
        is_open = operation["tags"] == ["operations"]
        assert (operation.get("security") == []) == is_open
        assert ("401" in operation["responses"]) != is_open
        names = [each.get("$ref", "") for each in off["paths"][path][method].get("parameters", ())]
        required = "#/components/parameters/X-User-Id.required" in names
        in_body = (method, path) in AUTHOR_IN_BODY
        assert required == (not in_body and (method != "get" or path in OWN))
