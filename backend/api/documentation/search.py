"""The search, described."""

from typing import Any

from backbone.search import Hit
from backend.api.documentation.examples import HIT
from backend.api.documentation.operation import Answer, Operation
from backend.api.documentation.parts import parameter
from backend.api.search import Q_MAX_CHARACTERS, VALUES_MAX

# An empty value says nothing: forms send the fields that were left empty, too.
_EMPTY = {"const": ""}
_DAY = {"anyOf": [{"type": "string", "format": "date"}, _EMPTY]}
_TEXT = {"type": "string"}


def _values(name: str, item: dict[str, Any], description: str) -> dict[str, Any]:
    """Return a parameter that may stand there several times."""
    schema = {"type": "array", "items": item, "maxItems": VALUES_MAX}
    return parameter("query", name, schema, description, style="form", explode=True)


SEARCH_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get",
        "/messages/search",
        "searchMessages",
        "search",
        "Search messages",
        "`q` takes words, \"quoted phrases\", `-not`, and `from:user in:channel mentions:user has:attachment "
        "before:2026-01-31 after:2026-01-01`; the parameters of the same names say the same, beside `q`: "
        "both must hold. An empty one says nothing. What is no operator is searched as words. `after` "
        "includes its day, `before` does not; days are those of MAEARI_TIMEZONE. "
        "Only what the searcher may read is found, whatever the index's lag. Cursors by "
        "`relevance` live for 2 minutes.",
        {200: Answer("Hits, as Elasticsearch writes them.", tuple[Hit, ...], always=("Total-Count",),
                     sometimes=("Link", "Search-Complete"), examples={"korean": [HIT]})},
        parameters=(
            parameter(
                "query", "q", {"type": "string", "maxLength": Q_MAX_CHARACTERS},
                "What to find: needed unless another parameter says it; at most 50 words and phrases.",
                examples={
                    "korean": {"value": "배포"},
                    "english": {"value": "deployed -rollback"},
                    "operators": {"value": 'from:철수 in:개발 "완료했습니다" after:2026-01-01'},
                },
            ),
            _values("from", _TEXT, "Who wrote it; any of several."),
            _values("author", _TEXT, "The same as `from`."),
            _values("in", _TEXT, "The channel it stands in; any of several."),
            _values("channel", _TEXT, "The same as `in`."),
            _values("mentions", _TEXT, "Whom it mentions; all of several."),
            _values("has", {"enum": ["attachment", ""]}, "What it carries."),
            _values("before", _DAY, "Written before that day."),
            _values("after", _DAY, "Written on that day or later."),
            parameter(
                "query", "sort", {"type": "string", "enum": ["relevance", "newest", "oldest", ""]},
                "`relevance` unless told; without words the newest come first.",
            ),
            "limit",
            "cursor",
            "Consistency-Token",
            "Prefer",
        ),
        refusals=(410,),
    ),
)  # fmt: skip
