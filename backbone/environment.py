"""Looks settings up in the environment; what is wrong with one is said in one line that names it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from backbone.errors import SetupError

T = TypeVar("T")


class SettingsError(SetupError):
    """A setting is wrong; the text names it and says what it may be."""


class Environment:
    """Looks settings up by name, without the prefix; `NAME_FILE` names a file that holds the value."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str | None:
        """Return the value, None when it is not set or empty."""
        value = self._variables.get(f"MAEARI_{name}")
        if value:
            return value
        file = self._variables.get(f"MAEARI_{name}_FILE")
        if not file:
            return None
        try:
            return Path(file).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SettingsError(f"MAEARI_{name}_FILE: cannot read {file}: {reason}") from error

    def parsed(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return the parsed value; what `parse` raises as ValueError becomes the one line."""
        value = self.text(name)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            raise SettingsError(f"MAEARI_{name}: {error}") from error
