"""How tables, ages and sizes are told."""

from collections.abc import Iterator
from itertools import zip_longest


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print `table_lines`."""
    for line in table_lines(rows):
        print(line)


def table_lines(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns as wide as they must be; the last of each row may be as long as it likes."""
    widths = [max(map(len, column)) for column in zip_longest(*(row[:-1] for row in rows), fillvalue="")]
    for row in rows:
        *cells, last = row
        yield "  ".join([*(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=False)), last])


def in_words(seconds: float) -> str:
    """5 d, 2 h, 3 min or 40 s."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(int(seconds), 0)} s"


def in_bytes(count: int) -> str:
    """44.1 MB or 8.7 kB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
