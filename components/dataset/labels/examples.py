"""What a person hands in, and where it is kept as it came when it is not taken, to be mended and handed in again.

data/inbox/labelled/rejects/<name>-<hash>/rejects.jsonl   an object a reject: position, reason, row or file
data/inbox/labelled/rejects/<name>-<hash>/files/...       pictures
"""

import base64
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from components.dataset.manifest import digest
from components.files import whole_folder, write_whole

MAX_ROWS = 100_000  # of one import
LARGEST_FILE = 512 << 20  # bytes of a table
FILES = "files"
LARGEST_PICTURE = 32 << 20  # bytes
FOUND = re.compile(r"'[^']*'")  # the cell that a reason quotes


@dataclass(frozen=True)
class LabelCandidate:
    """One image with the class that a person gave it, by its pixels or by the name of a row."""

    position: str  # where it stands: "line 4", "row 4", "coat/a.png"
    label: int
    pixels: bytes = field(default=b"", repr=False)  # row by row; none where a row is named
    row_id: str = ""  # of a row of the dataset
    hash: str = ""  # BLAKE2b of a row's pixels, 16 hex digits, as the prediction log has it
    original: bytes = field(default=b"", repr=False)  # the line, or the picture file
    file: str = ""  # the name of a picture, whose bytes `original` are


@dataclass(frozen=True)
class LabelReject:
    """One that is not taken, kept as it came."""

    position: str
    reason: str
    original: bytes = field(repr=False)
    file: str = ""
    unknown: str = ""  # the class that it names and that there is not, where that is why

    @classmethod
    def of(cls, candidate: LabelCandidate, reason: str) -> "LabelReject":
        """A candidate, and why not."""
        return cls(candidate.position, reason, candidate.original, candidate.file)


@dataclass(frozen=True)
class HandedIn:
    """A file or folder, read: every row of it is in exactly one of the three."""

    name: str
    inputs: dict[str, str]  # name of each file -> its SHA-256
    candidates: list[LabelCandidate]
    rejects: list[LabelReject]
    unchanged: int = 0  # rows of a table that a person left as it was: what a model said is no label
    left_out: tuple[str, ...] = ()  # hidden files, and what systems leave in folders: not read


def count_reasons(rejects: list[LabelReject]) -> dict[str, int]:
    """How many were rejected for what, the most frequent first; rows and figures in a reason left out."""
    return dict(Counter(_shorten(reject.reason) for reject in rejects).most_common())


def _shorten(reason: str) -> str:
    """What stands before the colon; where that is a column's name alone, what is wrong with it, and not in which."""
    first, _, rest = reason.partition(": ")
    return FOUND.sub("...", rest if rest and first.isalnum() else first)


def shown(text: str) -> str:
    """Text from a name or a table that need not be UTF-8, as JSON and terminals take it."""
    return text.encode("utf-8", "backslashreplace").decode()


def keep_rejects(name: str, rejects: list[LabelReject], folder: Path) -> Path | None:
    """Write the rejects of an import; the same rejects again are the same folder.

    Args:
        name: of what was imported.
        rejects: none: nothing is written.
        folder: where the quarantine is.

    Returns:
        The list of them, `rejects.jsonl`.
    """
    if not rejects:
        return None
    lines = b"".join(orjson.dumps(_describe(number, one)) + b"\n" for number, one in enumerate(rejects, 1))
    path = folder / f"{name}-{digest(lines)[:8]}"
    with whole_folder(path) as temporary:
        write_whole(temporary / "rejects.jsonl", lines)
        for number, one in enumerate(rejects, 1):
            if one.file and one.original:
                write_whole(temporary / _file_of(number, one), one.original)
    return path / "rejects.jsonl"


def _describe(number: int, one: LabelReject) -> dict[str, str]:
    told = {"position": shown(one.position), "reason": shown(one.reason)}
    if one.file and one.original:
        return told | {"file": _file_of(number, one)}
    try:
        return told | {"row": one.original.decode()}
    except UnicodeDecodeError:
        return told | {"row_base64": base64.b64encode(one.original).decode()}


def _file_of(number: int, one: LabelReject) -> str:
    """Its place in the quarantine; the name that somebody gave it is only its ending."""
    ending = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in one.file)[-80:]
    return f"{FILES}/{number:06d}-{ending}"
