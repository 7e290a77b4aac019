"""Normalise column names: pixels, label, id, row index and picture files.

Tools name them in many ways (`pixel0`, `1x1`, `0`, `class`, `Unnamed: 0`). If several columns could be the same thing,
that is an error; none is chosen silently.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from components.contract import DataContract, ImageSpec
from components.errors import InputError, Remedy

LABELS = ("labels", "class", "category", "target", "y")  # used if there is no `label`
FILES = ("path", "image")  # columns with paths or contents of picture files
INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")  # index columns of pandas, and columns without a name
HIDDEN = "\0"  # prefix of an ignored column: no code looks up such a name


@dataclass(frozen=True)
class Columns:
    """The columns of a table, in file order."""

    names: tuple[str, ...]  # normalised: pixel1, pixel2, ..., pixels, label, id; others unchanged
    notes: tuple[str, ...] = ()  # decisions to report to the user


def require_pixels(contract: DataContract, where: str) -> None:
    """Refuse pixels for a catalogue whose models take the vectors of photos.

    Raises:
        InputError: the catalogue has a network.
    """
    if contract.embedding:
        expected = "photos: picture files, an archive of them, or a table with a column of pictures or paths"
        raise InputError(where, f"found pixels, but the models of {contract.name} take {expected}")


@cache
def pixel_columns(image: ImageSpec) -> tuple[str, ...]:
    """The normalised pixel columns: one per pixel, or one per pixel and channel for RGB."""
    return tuple(f"pixel{number}" for number in range(1, image.size + 1))


@cache
def pixel_column_set(image: ImageSpec) -> frozenset[str]:
    """`pixel_columns` as a set."""
    return frozenset(pixel_columns(image))


def read_columns(
    found: Sequence[str], image: ImageSpec, kept: Iterable[str] = (), dropped: Iterable[str] = ()
) -> Columns:
    """Normalise column names.

    Args:
        found: column names in the file.
        image: of the contract.
        kept: columns to pass through under their own names.
        dropped: columns to ignore; `pixels` means all pixel columns.

    Raises:
        InputError: the columns are ambiguous.
    """
    kept, dropped = set(kept), set(dropped)
    names = [_hide(name) if name in dropped else name for name in found]
    notes = list[str]()
    grid = {} if pixel_column_set(image).issubset(names) else _find_grid(names, image, kept)
    names = [grid.get(name, name) for name in names]
    if "pixels" in dropped and "pixels" not in found:
        names = [_hide(name) if name in pixel_column_set(image) else name for name in names]
    _rename_synonym(names, "id", kept, ())
    if old := _rename_synonym(names, "label", kept, LABELS):
        notes.append(f"column {old!r} is used as the label")
    for index, name in enumerate(names):
        if name not in kept and INDEX.fullmatch(name):
            names[index] = _hide(f"{index}")
            notes.append(f"column {index + 1} ({name or 'unnamed'}) is ignored: it is a row index")
    return Columns(tuple(names), tuple(notes[:5]))


def has_file_column(
    columns: Columns, image: ImageSpec, kept: Iterable[str], where: str, files: Sequence[str] = FILES
) -> bool:
    """Whether a table has picture files rather than pixels.

    Raises:
        InputError: it has both.
    """
    naming = [name for name in files if name in columns.names and name not in set(kept)]
    pixels = "pixels" if "pixels" in columns.names else pixel_columns(image)[0]
    if naming and ("pixels" in columns.names or pixel_column_set(image).issubset(columns.names)):
        message = f"ambiguous columns: found both pixels ({pixels}, ...) and picture files ({naming[0]!r})"
        raise InputError(where, message).suggesting(
            Remedy("drop", naming[0], "scores the pixels"), Remedy("drop", "pixels", "scores the files")
        )
    return bool(naming)


def is_left_out(name: str) -> bool:
    """Whether a normalised name marks an ignored column."""
    return name.startswith(HIDDEN)


def _hide(name: str) -> str:
    return f"{HIDDEN}{name}"


def _find_grid(names: Sequence[str], image: ImageSpec, kept: set[str]) -> dict[str, str]:
    """Map the pixel columns of the file to the normalised names; {} if it has no complete set."""
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
        message = f"ambiguous columns: {image.size} pixels from {first!r} and from {other!r}, expected one set"
        raise InputError("header", message)
    return grids[0] if grids else {}


@cache
def _numbered(image: ImageSpec) -> re.Pattern[str]:
    """Matches a name with the number of a pixel, or its row and column."""
    digits, fewer = len(str(image.size)), len(str(max(image.height, image.width)))
    return re.compile(rf"(\D*?)0*(\d{{1,{digits}}})(?:(\D+)0*(\d{{1,{fewer}}}))?(\D*)")


def _as_grid(numbered: dict[tuple[int, ...], str], image: ImageSpec) -> dict[str, str]:
    """Map columns by number, or by row and column for greyscale, from 0 or 1; {} if any is missing."""
    if len(numbered) != image.size:
        return {}
    indices, rows, columns = sorted(numbered), image.height, image.width
    for start in (0, 1):
        if indices == [(number,) for number in range(start, image.size + start)]:
            break
        if indices == [(row, column) for row in range(start, rows + start) for column in range(start, columns + start)]:
            _refuse_transposed(list(numbered), numbered, image)
            break
    else:
        return {}
    return {numbered[index]: ours for index, ours in zip(indices, pixel_columns(image), strict=True)}


def _refuse_transposed(order: list[tuple[int, ...]], numbered: dict[tuple[int, ...], str], image: ImageSpec) -> None:
    """Refuse the order 1x1, 2x1, 3x1: either the first number is the column, or the image is transposed."""
    if order == sorted(order, key=lambda index: index[::-1]):
        first, second = (numbered[index] for index in order[:2])
        message = f"ambiguous columns: {second!r} after {first!r} could be the pixel to the right or below"
        raise InputError("header", f"{message}. Name the columns pixel1 to pixel{image.size}, row by row")


def _rename_synonym(names: list[str], wanted: str, kept: set[str], others: Sequence[str]) -> str:
    """Rename a column to `wanted`; returns its name in the file, or "" if it was not renamed.

    Raises:
        InputError: several columns qualify.
    """
    if wanted in names or _hide(wanted) in names:
        return ""
    candidates = [name for name in names if name.casefold() in {wanted, *others} and name not in kept]
    if len(set(candidates)) > 1:
        message = f"ambiguous columns: {candidates[0]!r} and {candidates[1]!r} could both be the {wanted}"
        raise InputError("header", message).suggesting(
            Remedy("drop", candidates[1], f"uses {candidates[0]}"),
            Remedy("drop", candidates[0], f"uses {candidates[1]}"),
        )
    for name in candidates:
        names[names.index(name)] = wanted
    return candidates[0] if candidates and candidates[0].casefold() != wanted else ""


def find_wrong_columns(columns: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> str:
    """Describe missing, unknown and repeated columns; "" if there are none."""
    columns = [name for name in columns if not is_left_out(name)]
    counts, known = Counter(columns), {*needed, *optional}
    problems = [
        _count_columns("missing", [c for c in needed if c not in counts]),
        _count_columns("unknown", [c for c in columns if c not in known]),
        _count_columns("repeated", [c for c, count in counts.items() if count > 1]),
    ]
    return ", ".join(filter(None, problems))


def find_remedies(columns: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> tuple[Remedy, ...]:
    """Remedies for unknown columns, if nothing else is wrong."""
    known = {*needed, *optional}
    unknown = [name for name in columns if name not in known and not is_left_out(name)]
    if not unknown or not set(needed) <= set(columns):
        return ()
    name = unknown[0]
    return Remedy("keep", name, "passes it through to the output"), Remedy("drop", name, "ignores it")


def _count_columns(what: str, columns: list[str]) -> str:
    shown = ", ".join(repr(column[:20]) for column in columns[:3]) + (", ..." if len(columns) > 3 else "")
    return f"{what} {len(columns)} column(s) {shown}" if columns else ""
