"""What the columns of a table are called, and what they stand for: pixels, a label, an id, an index, picture files.

Tools name them in many ways (`pixel0`, `1x1`, `0`, `class`, `Unnamed: 0`). Here each name becomes the one that the rest
of the code knows. Where two columns could be the same thing, that is an error: nothing is chosen silently.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from components.contract import ImageSpec
from components.errors import InputError, Remedy

LABELS = ("labels", "class", "category", "target", "y")  # where there is no `label`
FILES = ("path", "image")  # columns that name or hold picture files
INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # pandas' own columns, and cells without a name
HIDDEN = "\0"  # begins the name of a column that is left out: nothing looks for such a name


@dataclass(frozen=True)
class Columns:
    """The columns of a table, in its order."""

    names: tuple[str, ...]  # what they stand for: pixel1, pixel2, ..., pixels, label, id; others as they are
    notes: tuple[str, ...] = ()  # what was decided about them that a person may want to know


@cache
def pixel_columns(image: ImageSpec) -> tuple[str, ...]:
    """What the columns of a table with a column a pixel are called here; of RGB images one a pixel and channel."""
    return tuple(f"pixel{number}" for number in range(1, image.size + 1))


@cache
def every_pixel(image: ImageSpec) -> frozenset[str]:
    """The same as a set."""
    return frozenset(pixel_columns(image))


def read_columns(
    found: Sequence[str], image: ImageSpec, kept: Iterable[str] = (), dropped: Iterable[str] = ()
) -> Columns:
    """What columns stand for.

    Args:
        found: their names in the file.
        image: what an image is.
        kept: names that are taken along whatever they stand for.
        dropped: names that stand for nothing; `pixels` stands for all columns of pixels.

    Raises:
        InputError: two readings fit.
    """
    kept, dropped = set(kept), set(dropped)
    names = [_hide(name) if name in dropped else name for name in found]
    notes = list[str]()
    grid = {} if every_pixel(image).issubset(names) else _find_grid(names, image, kept)
    names = [grid.get(name, name) for name in names]
    if "pixels" in dropped and "pixels" not in found:
        names = [_hide(name) if name in every_pixel(image) else name for name in names]
    _rename_alike(names, "id", kept, ())
    if old := _rename_alike(names, "label", kept, LABELS):
        notes.append(f"column {old!r} is taken for the label")
    for place, name in enumerate(names):
        if name not in kept and INDEX.fullmatch(name):
            names[place] = _hide(f"{place}")
            notes.append(f"column {place + 1} ({name or 'without a name'}) is left out: a row index")
    return Columns(tuple(names), tuple(notes[:5]))


def means_files(
    columns: Columns, image: ImageSpec, kept: Iterable[str], where: str, files: Sequence[str] = FILES
) -> bool:
    """Whether the rows of a table are picture files rather than pixels.

    Raises:
        InputError: they could be both.
    """
    naming = [name for name in files if name in columns.names and name not in set(kept)]
    pixels = "pixels" if "pixels" in columns.names else pixel_columns(image)[0]
    if naming and ("pixels" in columns.names or every_pixel(image).issubset(columns.names)):
        told = f"two readings fit: columns of pixels ({pixels}, ...), and {naming[0]!r} for picture files"
        raise InputError(where, told).suggesting(
            Remedy("drop", naming[0], "scores the pixels"), Remedy("drop", "pixels", "scores the files")
        )
    return bool(naming)


def is_left_out(name: str) -> bool:
    """Whether a column of that name is not read."""
    return name.startswith(HIDDEN)


def _hide(name: str) -> str:
    return f"{HIDDEN}{name}"


def _find_grid(names: Sequence[str], image: ImageSpec, kept: set[str]) -> dict[str, str]:
    """The file's name of each pixel's column -> ours; nothing where there is no such column for each."""
    numbered = _numbered(image)
    families = defaultdict[tuple[str, ...], dict[tuple[int, ...], str]](dict)
    for name in names:
        if (match := numbered.fullmatch(name)) and name not in kept:
            before, first, between, second, after = match.groups()
            family = (before.casefold(), between or "", after.casefold())
            families[family][(int(first), int(second)) if between else (int(first),)] = name
    grids = [grid for numbers in families.values() if (grid := _as_grid(numbers, image))]
    if len(grids) > 1:
        first, other = (next(iter(grid)) for grid in grids[:2])
        told = f"two readings fit: {image.size} columns of pixels as {first!r}, and as {other!r}; expected one"
        raise InputError("header", told)
    return grids[0] if grids else {}


@cache
def _numbered(image: ImageSpec) -> re.Pattern[str]:
    """A name with the number of a pixel, or its row and column."""
    digits, fewer = len(str(image.size)), len(str(max(image.height, image.width)))
    return re.compile(rf"(\D*?)0*(\d{{1,{digits}}})(?:(\D+)0*(\d{{1,{fewer}}}))?(\D*)")


def _as_grid(numbered: dict[tuple[int, ...], str], image: ImageSpec) -> dict[str, str]:
    """Columns by number, or of grey images by row and column, from 0 or 1; nothing where there is a gap."""
    if len(numbered) != image.size:
        return {}
    places, rows, columns = sorted(numbered), image.height, image.width
    for start in (0, 1):
        if places == [(number,) for number in range(start, image.size + start)]:
            break
        if places == [(row, column) for row in range(start, rows + start) for column in range(start, columns + start)]:
            _refuse_transposed(list(numbered), numbered, image)
            break
    else:
        return {}
    return {numbered[place]: ours for place, ours in zip(places, pixel_columns(image), strict=True)}


def _refuse_transposed(order: list[tuple[int, ...]], numbered: dict[tuple[int, ...], str], image: ImageSpec) -> None:
    """In the order 1x1, 2x1, 3x1 either the first number is the column, or the image stands on its side."""
    if order == sorted(order, key=lambda place: place[::-1]):
        first, second = (numbered[place] for place in order[:2])
        told = f"two readings fit: after {first!r} comes {second!r}, a pixel to the right or one below"
        raise InputError("header", f"{told}; name the columns pixel1 to pixel{image.size}, row by row")


def _rename_alike(names: list[str], wanted: str, kept: set[str], others: Sequence[str]) -> str:
    """Name a column as the rest of the code does; its name in the file, or nothing where there is nothing to rename.

    Raises:
        InputError: two columns could be it.
    """
    if wanted in names or _hide(wanted) in names:
        return ""
    alike = [name for name in names if name.casefold() in {wanted, *others} and name not in kept]
    if len(set(alike)) > 1:
        told = f"two readings fit: {alike[0]!r} and {alike[1]!r} could both be the {wanted}"
        raise InputError("header", told).suggesting(
            Remedy("drop", alike[1], f"takes {alike[0]}"), Remedy("drop", alike[0], f"takes {alike[1]}")
        )
    for name in alike:
        names[names.index(name)] = wanted
    return alike[0] if alike and alike[0].casefold() != wanted else ""


def find_wrong_columns(columns: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> str:
    """Which are missing, unknown or repeated, in words; empty where all is well."""
    columns = [name for name in columns if not is_left_out(name)]
    counts, known = Counter(columns), {*needed, *optional}
    problems = [
        _listed("missing", [c for c in needed if c not in counts]),
        _listed("unknown", [c for c in columns if c not in known]),
        _listed("repeated", [c for c, count in counts.items() if count > 1]),
    ]
    return ", ".join(filter(None, problems))


def find_remedies(columns: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> tuple[Remedy, ...]:
    """What can be said about columns that are not expected, where only those are wrong."""
    known = {*needed, *optional}
    unknown = [name for name in columns if name not in known and not is_left_out(name)]
    if not unknown or not set(needed) <= set(columns):
        return ()
    name = unknown[0]
    return Remedy("keep", name, "takes such a column along"), Remedy("drop", name, "leaves it out")


def _listed(what: str, columns: list[str]) -> str:
    shown = ", ".join(repr(column[:20]) for column in columns[:3]) + (", ..." if len(columns) > 3 else "")
    return f"{what} {len(columns)} column(s) {shown}" if columns else ""
