"""The journal of class changes, `classes.jsonl`: who changed what, when, why and from which dataset version."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from components.contract import Time
from components.errors import DatasetError
from components.files import user_name, write_whole
from components.records import read_file, read_record

Version = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


@dataclass(frozen=True)
class ClassEntry:
    """One change."""

    time: Time  # UTC
    who: str
    why: str
    change: str  # a description
    before: Version  # the dataset before the change
    after: Version  # the dataset after the change
    undone: bool = False  # whether this entry undoes the change that made `before`


def journal_path(folder: Path) -> Path:
    """The path of the journal in the datasets folder."""
    return folder / "classes.jsonl"


def read_journal(folder: Path) -> list[ClassEntry]:
    """Read all changes, oldest first.

    Raises:
        DatasetError: a line cannot be read.
    """
    path = journal_path(folder)
    try:
        lines = read_file(path, DatasetError).splitlines()
    except FileNotFoundError:
        return []
    return [read_record(ClassEntry, line, f"{path}, line {row}", DatasetError) for row, line in enumerate(lines, 1)]


def write_entry(folder: Path, why: str, change: str, before: str, after: str, undone: bool = False) -> ClassEntry:
    """Append an entry. Call it within `components.dataset.replacing.replacement_lock`."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    entry = ClassEntry(when, user_name(), why, change, before, after, undone)
    lines = [*read_journal(folder), entry]
    write_whole(journal_path(folder), b"".join(orjson.dumps(asdict(one)) + b"\n" for one in lines))
    return entry


def last_standing(folder: Path) -> ClassEntry | None:
    """The newest change that was not undone."""
    standing = list[ClassEntry]()
    for one in read_journal(folder):
        if one.undone:
            standing.pop()
        else:
            standing.append(one)
    return standing[-1] if standing else None
