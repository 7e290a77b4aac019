"""Label candidates and rejects. Rejects are kept unchanged, to be fixed and imported again.

data/inbox/labelled/rejects/<name>-<hash>/rejects.jsonl   one object per reject: position, reason, row or file
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

MAX_ROWS = 100_000  # per import
LARGEST_FILE = 512 << 20  # bytes of a table
FILES = "files"
LARGEST_PICTURE = 32 << 20  # bytes
FOUND = re.compile(r"'[^']*'")  # a cell quoted in a reason


@dataclass(frozen=True)
class LabelCandidate:
    """A labelled image, given by its pixels or by the id or hash of a row."""

    position: str  # in the input: "line 4", "row 4", "coat/a.png"
    label: int
    pixels: bytes = field(default=b"", repr=False)  # one image of the contract's dtype; empty if a row is named
    row_id: str = ""  # id of a dataset row
    hash: str = ""  # BLAKE2b of a row's pixels, 16 hex digits, as in the prediction log
    original: bytes = field(default=b"", repr=False)  # the line or the picture file
    file: str = ""  # the picture's file name, if `original` is a picture


@dataclass(frozen=True)
class LabelReject:
    """A rejected input with its original content."""

    position: str
    reason: str
    original: bytes = field(repr=False)
    file: str = ""
    unknown: str = ""  # the unknown class, if that is the reason

    @classmethod
    def of(cls, candidate: LabelCandidate, reason: str) -> "LabelReject":
        """Reject a candidate."""
        return cls(candidate.position, reason, candidate.original, candidate.file)


@dataclass(frozen=True)
class LabelInput:
    """A file or folder of labels after reading: each row is a candidate, a reject or unchanged."""

    name: str
    inputs: dict[str, str]  # file name -> SHA-256
    candidates: list[LabelCandidate]
    rejects: list[LabelReject]
    unchanged: int = 0  # rows whose label still equals the model's prediction, which is not a label
    left_out: tuple[str, ...] = ()  # ignored hidden and system files


def count_reasons(rejects: list[LabelReject]) -> dict[str, int]:
    """Count rejects by reason, the most frequent first. Rows and figures are stripped from the reasons."""
    return dict(Counter(_shorten(reject.reason) for reject in rejects).most_common())


def _shorten(reason: str) -> str:
    """The text before the colon; if that is only a column name, the text after it."""
    first, _, rest = reason.partition(": ")
    return FOUND.sub("...", rest if rest and first.isalnum() else first)


def shown(text: str) -> str:
    """Escape text that may not be valid UTF-8, for JSON and terminals."""
    return text.encode("utf-8", "backslashreplace").decode()


def keep_rejects(name: str, rejects: list[LabelReject], folder: Path) -> Path | None:
    """Write the rejects of an import. The same rejects always go to the same folder.

    Args:
        name: name of the import.
        rejects: nothing is written if empty.
        folder: the folder of all rejects.

    Returns:
        The path of `rejects.jsonl`, or None if there are no rejects.
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
    record = {"position": shown(one.position), "reason": shown(one.reason)}
    if one.file and one.original:
        return record | {"file": _file_of(number, one)}
    try:
        return record | {"row": one.original.decode()}
    except UnicodeDecodeError:
        return record | {"row_base64": base64.b64encode(one.original).decode()}


def _file_of(number: int, one: LabelReject) -> str:
    """The path of a rejected picture, which ends with its sanitized name."""
    ending = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in one.file)[-80:]
    return f"{FILES}/{number:06d}-{ending}"
