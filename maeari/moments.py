"""A moment as an option: what `as_of` of the API reads, seconds may be left out; never in the future."""

import re
from typing import Any

import click

from backbone.clock import SystemClock
from backend.api.moments import moment_of
from backend.domain.rejections import Invalid
from schemas.clock import format_ms

# To the minute: people leave out the seconds.
_TO_THE_MINUTE = re.compile(r"([0-9-]{10}[Tt][0-9]{2}:[0-9]{2})([Zz]|[-+ ][0-9]{2}:[0-9]{2})")


class Moment(click.ParamType[int]):
    """Gives epoch milliseconds."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click.ParamType.convert."""
        if isinstance(value, int):
            return value
        try:
            moment_ms = moment_of("as_of", _TO_THE_MINUTE.sub(r"\1:00\2", value))
        except Invalid:
            self.fail(f"{value!r} is no time with its offset, such as 2026-01-31T09:00+09:00", param, ctx)
        now_ms = SystemClock().now_ms()
        if moment_ms > now_ms:
            self.fail(f"{value} lies in the future: it is {format_ms(now_ms)} now", param, ctx)
        return moment_ms


as_of_option = click.option(
    "--as-of",
    "as_of_ms",
    type=Moment(),
    metavar="TIME",
    help="As things stood then, such as 2026-01-31T09:00Z.",
)
