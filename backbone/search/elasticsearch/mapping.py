"""The settings and fields of a messages index in Elasticsearch, with as much of it as a server has.

`content` is cut for mixed Korean and English: words in lower case, Hangul, Han and kana in overlapping
pairs, so that `배포` is found in `배포를`. Its sub-fields are the other forms of `backbone.search.readings`:
`english` by stems, `parts` by the parts of words that were put together, `joined` without the blanks between
Korean words, `heads` by their first syllables, `initials` by initial consonants, `begun` by the beginnings of
other words, `korean` by the morphemes that nori finds. `korean` needs a plugin; everything else is part of
Elasticsearch as it is installed. Pure.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from backbone.search.analysis import INVISIBLE, JOINING
from backbone.search.compounds import FIRST_LETTERS, NAMES, NO_PARTS
from backbone.search.korean.letters import BLANKS, INITIALS, syllables_beginning
from backbone.search.readings import BEGUN_CHARACTERS_MIN

Component = Literal["nori", "pattern_replace", "ngram", "stemmer", "edge_ngram"]
"""What a server may lack; without it an index has fewer forms."""
COMPONENTS: tuple[Component, ...] = get_args(Component)

BEGUN_CHARACTERS_MAX = 15

_HANGUL = r"\p{IsHangul}"
_OTHER = r"[\p{L}\p{Nd}&&[^\p{IsHangul}]]"
_KEYWORD = {"type": "keyword"}

# `API를` and `v2` are two words: without this a Latin word is hidden by the particle or number that follows
# it. The blank goes with the character behind, so that the word before ends at its own last character.
_BETWEEN_SCRIPTS = {
    "type": "pattern_replace",
    "pattern": rf"(?<={_HANGUL}){_OTHER}|(?<={_OTHER}){_HANGUL}|(?<=\p{{L}})\p{{Nd}}|(?<=\p{{Nd}})\p{{L}}",
    "replacement": " $0",
}
_BLANKS_IN_KOREAN = {
    "type": "pattern_replace",
    "pattern": f"(?<={_HANGUL})[{BLANKS}]+(?={_HANGUL})",
    "replacement": "",
}
_BEHIND_HEADS = {"type": "pattern_replace", "pattern": f"(?<={_HANGUL}){_HANGUL}+", "replacement": ""}
_ANY_KOREAN = {"type": "pattern_replace", "pattern": f"{_HANGUL}+", "replacement": " "}
_PAIRS = ["cjk_width", "lowercase", "cjk_bigram"]

# Particles, endings and what makes verbs of nouns: all that changes with the sentence. The filter's own
# list also takes what makes the end of a word, such as the 팟 of 에어팟. Verbs go too: nori takes much for
# one, the 보 of 보고서 too, and their forms are found without it.
_INFLECTIONS = [
    "EP", "EF", "EC", "ETN", "ETM", "JKS", "JKC", "JKG", "JKO", "JKB", "JKV", "JKQ", "JX", "JC", "XSV", "XSA",
    "VV", "VA", "VX", "VCN", "SP", "SF", "SE", "SSO", "SSC", "SC", "SY", "UNA", "NA",
]  # fmt: skip


@dataclass(frozen=True)
class _Analyzer:
    """How texts are cut: names of char filters, the tokenizer, names of token filters."""

    char_filters: tuple[str, ...]
    tokenizer: str
    filters: tuple[str, ...]


_CHAR_FILTERS: dict[str, Any] = {
    "folding": {
        "type": "mapping",
        "mappings": [*(f"{mark} => -" for mark in JOINING), *(f"{mark} => " for mark in INVISIBLE)],
    },
    "names": {"type": "mapping", "mappings": [f"{name} => {plain}" for name, plain in NAMES.items()]},
    "no_parts": {"type": "pattern_replace", "pattern": NO_PARTS, "replacement": " "},
    "between_parts": {"type": "pattern_replace", "pattern": FIRST_LETTERS, "replacement": " $0"},
    "between_scripts": _BETWEEN_SCRIPTS,
    "blanks_in_korean": _BLANKS_IN_KOREAN,
    "any_korean": _ANY_KOREAN,
    "behind_heads": _BEHIND_HEADS,
    **{
        f"initial_{number}": {
            "type": "pattern_replace",
            "pattern": f"[{syllables_beginning(letter)}]",
            "replacement": letter,
        }
        for number, letter in enumerate(INITIALS)
    },
}
_TOKENIZERS: dict[str, Any] = {
    "morphemes": {"type": "nori_tokenizer", "decompound_mode": "mixed"},
    # Where characters were taken out of a run, cjk_bigram knows no more where its pairs stand.
    "pairs": {"type": "ngram", "min_gram": 2, "max_gram": 2, "token_chars": ["letter", "digit"]},
}
_FILTERS: dict[str, Any] = {
    "english_stems": {"type": "stemmer", "language": "porter2"},
    "beginnings": {
        "type": "edge_ngram",
        "min_gram": BEGUN_CHARACTERS_MIN,
        "max_gram": BEGUN_CHARACTERS_MAX,
    },
    "inflections": {"type": "nori_part_of_speech", "stoptags": _INFLECTIONS},
}


def components_tried() -> dict[Component, dict[str, Any]]:
    """Return for each component the analysis that a server which has it can do."""
    return {
        "nori": {
            "tokenizer": _TOKENIZERS["morphemes"],
            "filter": [_FILTERS["inflections"]],
        },
        "pattern_replace": {"tokenizer": "standard", "char_filter": [_BETWEEN_SCRIPTS]},
        "ngram": {"tokenizer": _TOKENIZERS["pairs"]},
        "stemmer": {"tokenizer": "standard", "filter": [_FILTERS["english_stems"]]},
        "edge_ngram": {"tokenizer": "standard", "filter": [_FILTERS["beginnings"]]},
    }


def index_body(components: Collection[Component] = COMPONENTS) -> dict[str, Any]:
    """Return what an index is made with on a server with these components."""
    analyzers = dict(_analyzers(components))
    used = {
        name for each in analyzers.values() for name in (*each.char_filters, each.tokenizer, *each.filters)
    }
    return {
        "settings": {
            "number_of_shards": 1,
            # A copy where there is a second node to hold it.
            "auto_expand_replicas": "0-1",
            # Named, it also keeps a shard refreshing that nobody searches: visible_version relies on it.
            "refresh_interval": "1s",
            "analysis": {
                "char_filter": _only(_CHAR_FILTERS, used),
                "tokenizer": _only(_TOKENIZERS, used),
                "filter": _only(_FILTERS, used),
                "analyzer": {
                    name: {
                        "type": "custom",
                        "char_filter": list(each.char_filters),
                        "tokenizer": each.tokenizer,
                        "filter": list(each.filters),
                    }
                    for name, each in analyzers.items()
                },
            },
        },
        "mappings": _mappings(analyzers),
    }


def forms_of(mappings: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the sub-fields of the content in an index's mappings."""
    return frozenset(mappings.get("properties", {}).get("content", {}).get("fields", {}))


def _analyzers(components: Collection[Component]) -> Iterator[tuple[str, _Analyzer]]:
    """Yield the analyzer of each form, named after it."""
    patterns = "pattern_replace" in components
    folded = ("folding", "between_scripts") if patterns else ("folding",)
    yield "exact", _Analyzer(folded, "standard", tuple(_PAIRS))
    if "stemmer" in components:
        yield "english", _Analyzer(folded, "standard", (*_PAIRS, "english_stems"))
        if patterns:
            parts = ("names", "no_parts", "between_parts")
            yield "parts", _Analyzer(parts, "standard", ("lowercase", "english_stems"))
    if patterns:
        initials = tuple(name for name in _CHAR_FILTERS if name.startswith("initial_"))
        # No pairs: a head would make one with a Chinese character that it touches.
        yield "heads", _Analyzer((*folded, "behind_heads"), "standard", ("cjk_width", "lowercase"))
        yield "initials", _Analyzer((*folded, *initials), "standard", tuple(_PAIRS))
        if "ngram" in components:
            yield "joined", _Analyzer((*folded, "blanks_in_korean"), "pairs", ("cjk_width", "lowercase"))
    if "edge_ngram" in components:
        latin = (*folded, "any_korean") if patterns else folded
        yield "begun", _Analyzer(latin, "standard", ("cjk_width", "lowercase", "beginnings"))
    if "nori" in components:
        yield (
            "korean",
            _Analyzer(folded, "morphemes", ("cjk_width", "lowercase", "inflections")),
        )


def _mappings(analyzers: Collection[str]) -> dict[str, Any]:
    # With the offsets in the index, marking a hit need not cut its text anew in every form.
    fields = {name: {"type": "text", "analyzer": name, "index_options": "offsets"} for name in analyzers}
    if "parts" in fields:
        # What is looked for is parted already, see `readings`.
        fields["parts"]["search_analyzer"] = "english"
    content = fields.pop("exact")
    return {
        "dynamic": "strict",
        "properties": {
            "content": {**content, "fields": fields},
            "author": _KEYWORD,
            "channel": _KEYWORD,
            "created_at": {"type": "date"},
            "updated_at": {"type": "date"},
            "mentions": _KEYWORD,
            "has_attachment": {"type": "boolean"},
            "parent_id": _KEYWORD,
            "private": {"type": "boolean"},
            "sequence": {"type": "long"},
            "version": {"type": "long"},
            "deleted": {"type": "boolean"},
        },
    }


def _only(defined: dict[str, Any], used: Collection[str]) -> dict[str, Any]:
    return {name: definition for name, definition in defined.items() if name in used}
