"""The probation of the live model, kept in one small file.

BENTOML_HOME/fashion/probation.json   replaced atomically, after each look
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import orjson
from filelock import FileLock
from pydantic import Field

from components.contract import Positive, Time
from components.errors import ModelError
from components.files import write_whole
from components.probation.settings import LOOKS
from components.records import read_file, read_record
from components.registry.champion import Move, Tag
from components.registry.store import home

log = logging.getLogger(__name__)

LOCK_TIMEOUT = 60  # seconds to wait for another check

State = Literal["running", "passed", "too few", "rolled back", "ended"]


@dataclass(frozen=True)
class Probation:
    """The probation of one promotion."""

    move: Positive  # number of the promotion
    model: Tag  # on probation
    before: Tag  # the champion before, which it is compared with
    since: Time  # the promotion, UTC
    looks: Annotated[int, Field(ge=0, le=LOOKS)] = 0  # that are over
    state: State = "running"  # ended: someone else changed the live model
    why: str = ""  # of the state
    reported: bool = False  # whether people were notified of a rollback


def begin(move: Move) -> Probation | None:
    """The probation of a move; None if it has none: a rollback, or the first promotion."""
    if move.action != "promote" or move.previous is None:
        return None
    return Probation(move.number, move.tag, move.previous, move.when)


def read_probation() -> Probation | None:
    """The last probation; None if there was none. A damaged file is reported in the log, and counts as none: the
    probation of the live model begins again."""
    path = _path()
    try:
        return read_record(Probation, read_file(path, ModelError), path.name, ModelError)
    except FileNotFoundError:
        return None
    except ModelError as error:
        log.warning("the probation begins again: %s", error)
        return None


def write_probation(probation: Probation) -> None:
    """Replace the file atomically."""
    write_whole(_path(), orjson.dumps(asdict(probation), option=orjson.OPT_INDENT_2) + b"\n")


def probation_lock() -> FileLock:
    """The lock of a check: two checks must not take the same look. Acquire other locks inside it, never around it."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "probation.lock", timeout=LOCK_TIMEOUT)


def _path() -> Path:
    return home() / "probation.json"
