"""Tables for terminals and files alike: plain text, as wide as what they hold."""

from collections.abc import Iterator, Sequence


def aligned(rows: Sequence[Sequence[str]], numbers_from: int) -> Iterator[str]:
    """Yield a line for each row, its columns aligned: numbers, to the right, from that column on."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        cells = [
            cell.rjust(width) if column >= numbers_from else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def plain(text: str) -> str:
    """Return text of others as one line that a terminal only prints: what controls it is written out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def counted(number: float | None) -> str:
    """Return a number with its thousands apart, `-` for one that nobody knows."""
    return "-" if number is None else f"{number:,.0f}"


def sized(size_bytes: int | None) -> str:
    """Return a size in the largest unit that leaves it above one."""
    if size_bytes is None:
        return "-"
    size, units = float(size_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"
