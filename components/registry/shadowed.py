"""The shadow record: the candidate that classifies a share of the live traffic, without anyone getting its answers.

    BENTOML_HOME/fashion/shadow.json          the current shadow; no file: none
    BENTOML_HOME/fashion/shadow/ID/           what one shadow found, see `components.shadow.counts`

The service follows the record. `components.shadow.control` writes it; it is read here because a prune keeps its model.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from components.contract import Positive, Sha256, Time
from components.errors import ModelError
from components.files import write_whole
from components.records import read_file, read_record
from components.registry.champion import Tag
from components.registry.store import home

RECORD, FOLDER = "shadow.json", "shadow"
MOST_IMAGES = 100  # pictures that can be kept of each pair of labels
RecordState = tuple[int, ...] | None


@dataclass(frozen=True)
class Shadow:
    """A candidate in shadow, and how much of the traffic it classifies."""

    id: Annotated[str, Field(pattern="^[0-9]{8}-[0-9]{6}-[0-9a-f]{8}$")]  # time of its start, UTC, and a random number
    tag: Tag  # the candidate
    card_sha256: Sha256  # of its card, which contains the hash of its weights
    share: Annotated[float, Field(gt=0, le=1)]  # of the images that the service answers
    since: Time  # UTC
    who: str
    why: str
    keep_images: Annotated[int, Field(ge=0, le=MOST_IMAGES)] = 0  # pictures per pair of labels; 0: only their hashes
    until: Time | None = None  # UTC; None: until it is stopped
    images: Positive | None = None  # it ends after about so many have been mirrored; None: until it is stopped

    @property
    def folder(self) -> Path:
        """The folder of its counts."""
        return home() / FOLDER / self.id


def read_shadow() -> Shadow | None:
    """Return the current shadow; None if there is none.

    Raises:
        ModelError: the record is damaged.
    """
    return read_shadow_file(shadow_path())


def read_shadow_file(path: Path) -> Shadow | None:
    """Read a record; None if there is no such file.

    Raises:
        ModelError: the record is damaged.
    """
    try:
        return read_record(Shadow, read_file(path, ModelError), path, ModelError)
    except FileNotFoundError:
        return None


def write_shadow(path: Path, shadow: Shadow) -> None:
    """Write a record atomically."""
    write_whole(path, orjson.dumps(asdict(shadow), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def shadow_path() -> Path:
    """The file of the current shadow."""
    return home() / RECORD


def shadow_state() -> RecordState:
    """Return a fingerprint that changes when the record is written or removed; takes microseconds."""
    try:
        found = shadow_path().stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
