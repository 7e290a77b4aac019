"""How tables, ages, sizes and next steps are printed."""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path


def is_rich() -> bool:
    """Whether standard output takes colour: it is a terminal, and NO_COLOR is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


GOOD = {"live", "ok", "passed", "promote"}
BAD = {"damaged", "weaker", "rejected", "FAILED", "failed", "DRIFT", "not well"}


def print_table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = ()) -> None:
    """Print rows, with colour on a terminal and as plain columns elsewhere."""
    if not is_rich():
        for line in table_lines([header, *rows] if header else rows):
            print(line)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_header=bool(header))
    for name, *_ in zip_longest(header, *rows, fillvalue=""):
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_style_of(cell)) for cell in row))
    Console().print(table)


def _style_of(cell: str) -> str:
    word = cell.partition(",")[0]
    return "green" if word in GOOD else "red" if word in BAD else ""


def table_lines(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns as wide as their longest cell; the last cell of a row may be longer."""
    widths = [max(map(len, column)) for column in zip_longest(*(row[:-1] for row in rows), fillvalue="")]
    for row in rows:
        *cells, last = row
        yield "  ".join([*(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=False)), last])


def program() -> str:
    """What a person types to run this program again: `fashion` where a shell finds it, else its path."""
    path = Path(sys.argv[0])
    found = shutil.which("fashion")
    if path.suffix == ".py" or (found and path.exists() and Path(found).samefile(path)):
        return "fashion"
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)


def print_next(steps: Iterable[tuple[str, str]]) -> None:
    """Print the commands that make sense now, each with what it does."""
    steps = list(steps)
    width = max(len(command) for command, _ in steps)
    print("\nnext")
    for command, purpose in steps:
        print(f"  {command:{width}}   {purpose}")


def in_words(seconds: float) -> str:
    """5 d, 2 h, 3 min or 40 s."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(int(seconds), 0)} s"


def in_bytes(count: int) -> str:
    """44.1 MB or 8.7 kB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
