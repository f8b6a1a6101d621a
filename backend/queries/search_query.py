"""What a user types into the search box, read: words, "phrases", -not, and operators such as from:kim.

    q      = { item }                       items are parted by blanks
    item   = [ "-" ] ( phrase | operator | word )
    phrase = '"' text '"'
    operator = ( "from" | "in" | "mentions" | "has" | "before" | "after" ) ":" ( word | phrase )

Guarantees: any text is read, in time that grows with its length; what is no item of this grammar, such
as a quote without its end or a date that does not exist, is searched as words; a negation of nothing,
such as `--` or `-!`, is nothing. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, datetime
from typing import Any, get_args
from unicodedata import normalize
from zoneinfo import ZoneInfo

from backbone.search import SearchQuery, Sort
from backbone.search.analysis import tokens

# Typing “ and ” is not a choice: keyboards and word processors put them there.
_QUOTES = '"“”'
_ITEM = re.compile(
    rf"(?P<negation>-)?(?:(?P<operator>from|in|mentions|has|before|after):)?"
    rf"(?:[{_QUOTES}](?P<quoted>[^{_QUOTES}]*)[{_QUOTES}]|(?P<bare>[^\s{_QUOTES}]+))",
    re.IGNORECASE,
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LISTS = {"from": "authors", "in": "channels", "mentions": "mentions"}
_HAS = "attachment"
_OTHER_NAMES = {"author": "from", "channel": "in"}

# Each of them is looked up and marked on its own: this bounds what one search can cost.
TEXTS_MAX = 50
PARAMETERS = ("from", "author", "in", "channel", "mentions", "has", "before", "after", "sort")


class BadParameter(ValueError):
    """A parameter beside `q` cannot be read, or `q` holds too much; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def parse_query(q: str, timezone: ZoneInfo) -> SearchQuery:
    """Read `q`; its dates are days in `timezone`. Never fails.

    A word that nothing follows, not even a blank, may still be being typed.
    """
    parts = _Parts(timezone, SearchQuery())
    text = _encodable(q)
    last = None
    for last in _ITEM.finditer(text):
        parts.take(last)
    if last is not None and last.end() == len(text) and _is_word(last):
        parts.begin(last["bare"])
    return parts.query()


def with_parameters(
    query: SearchQuery, parameters: Mapping[str, Sequence[str]], timezone: ZoneInfo
) -> SearchQuery:
    """Add the parameters beside `q`, each with all its values; settle the sort. Raises BadParameter.

    A parameter says what the operator of its name says, and holds beside what `q` says: of several
    channels in `q`, or of several parameters, one is enough, but both sides must name it. Without words
    there is no relevance: the newest come first then. More than TEXTS_MAX words and phrases are refused.
    """
    parts = _Parts(timezone, replace(query, authors=(), channels=()))
    for name in PARAMETERS:
        for value in filter(None, map(_encodable, parameters.get(name, ()))):
            _add_parameter(parts, name, value)
    read = _within(query, parts.query())
    texts = (*read.words, *read.phrases, *read.not_words, *read.not_phrases)
    if len(texts) > TEXTS_MAX:
        raise BadParameter("q", f"at most {TEXTS_MAX} words and phrases")
    if read.sort == "relevance" and not (read.words or read.phrases):
        return replace(read, sort="newest")
    return read


def asks_for_nothing(query: SearchQuery) -> bool:
    """Say whether there is neither a word nor an operator in the query."""
    return replace(query, sort="relevance", begun_word=None) == SearchQuery()


class _Parts:
    """A query under construction: each field's value, the ones of several values as lists."""

    def __init__(self, timezone: ZoneInfo, query: SearchQuery) -> None:
        self._timezone = timezone
        values = {field.name: getattr(query, field.name) for field in fields(query)}
        self._lists: dict[str, list[str]] = {
            name: list(value) for name, value in values.items() if isinstance(value, tuple)
        }
        self._single: dict[str, Any] = {
            name: value for name, value in values.items() if name not in self._lists
        }

    def take(self, item: re.Match[str]) -> None:
        """Add one item of `q`."""
        negated = item["negation"] is not None
        value = item["bare"] if item["quoted"] is None else item["quoted"].strip()
        operator = item["operator"]
        if operator is not None:
            if value and self.add(operator.lower(), value, negated=negated):
                return
            self._add_words(item[0].removeprefix("-"), negated=negated)
        elif item["quoted"] is None:
            self._add_words(value, negated=negated)
        elif value and not (negated and _says_nothing(value)):
            self._lists["not_phrases" if negated else "phrases"].append(_composed(value))

    def add(self, operator: str, value: str, *, negated: bool = False) -> bool:
        """Add what an operator says; return False when the value is none of its values."""
        if operator in _LISTS:
            field = _LISTS[operator]
            self._lists[f"not_{field}" if negated else field].append(value)
            return True
        if operator == "has":
            self._single["not_has_attachment" if negated else "has_attachment"] |= value.lower() == _HAS
            return value.lower() == _HAS
        moment = _midnight_ms(value, self._timezone)
        if moment is not None:
            field, narrower = ("until_ms", min) if (operator == "before") != negated else ("from_ms", max)
            known = self._single[field]
            self._single[field] = moment if known is None else narrower(known, moment)
        return moment is not None

    def begin(self, word: str) -> None:
        """Say which of the words may still be being typed."""
        self._single["begun_word"] = _composed(word)

    def sort(self, order: str) -> None:
        """Set the order."""
        self._single["sort"] = order

    def query(self) -> SearchQuery:
        """Return what was gathered, each value once."""
        lists: dict[str, Any] = {name: tuple(dict.fromkeys(values)) for name, values in self._lists.items()}
        return SearchQuery(**lists, **self._single)

    def _add_words(self, text: str, *, negated: bool) -> None:
        for quote in _QUOTES:
            text = text.replace(quote, " ")
        words = _composed(text).split()
        if negated:
            self._lists["not_words"].extend(word for word in words if not _says_nothing(word))
        else:
            self._lists["words"].extend(words)


def _within(query: SearchQuery, given: SearchQuery) -> SearchQuery:
    """Narrow what parameters say to the authors and channels that `q` names."""
    authors, not_authors = _in_both(query.authors, given.authors, given.not_authors)
    channels, not_channels = _in_both(query.channels, given.channels, given.not_channels)
    return replace(
        given, authors=authors, not_authors=not_authors, channels=channels, not_channels=not_channels
    )


def _in_both(
    typed: tuple[str, ...], given: tuple[str, ...], barred: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the values that both name, where both name any, and the barred ones."""
    if not (typed and given):
        return typed or given, barred
    both = tuple(value for value in typed if value in given)
    # No value at all would bar nothing: what cannot be is asked for as what must and must not be.
    return (both, barred) if both else (typed, tuple(dict.fromkeys(barred + typed)))


def _add_parameter(parts: _Parts, name: str, value: str) -> None:
    if name == "sort":
        orders = get_args(Sort)
        if value not in orders:
            raise BadParameter(name, f"one of {', '.join(orders)}")
        parts.sort(value)
    elif not parts.add(_OTHER_NAMES.get(name, name), value):
        raise BadParameter(name, _HAS if name == "has" else "a day such as 2026-01-31")


def _is_word(item: re.Match[str]) -> bool:
    word = item["bare"] if item["operator"] is None and item["negation"] is None else None
    return word is not None and word[-1].isalnum()


def _says_nothing(text: str) -> bool:
    """Say whether a text holds no letter, digit or emoji: such a text cannot be found."""
    return not tokens(text)


def _midnight_ms(text: str, timezone: ZoneInfo) -> int | None:
    """Return when a day begins; one before 1970 begins with 1970, when there were no messages."""
    if not _DATE.fullmatch(text):
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    begin = datetime(day.year, day.month, day.day, tzinfo=timezone)
    return max(0, round(begin.timestamp() * 1000))


def _composed(text: str) -> str:
    """Compose what is looked for in texts, as they are in the index; ids are what they are."""
    return normalize("NFC", text)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which no store takes."""
    return text.encode("utf-8", "replace").decode()
