"""The prediction log -> what was seen lately. Nothing is written, and whoever writes need not wait."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson

from components.evaluation.profile import SEEN, Seen
from components.readers.images.statistics import MEASURES

AT_ONCE = 20_000  # lines held as Python's objects
LONGEST_LINE = 4096  # bytes; what is longer is none of ours
MOST = 2_000_000  # images, 100 MB: more than the bounds of the log let it hold


@dataclass
class LogReading:
    """What the log has of a model in a time."""

    seen: Seen  # in the order of time
    others: int = 0  # lines of other models in that time
    unreadable: int = 0  # lines, of any time, that are none of the log's


@dataclass
class _Rows:
    """The lines read so far."""

    seen: Seen = field(default_factory=lambda: np.zeros(0, SEEN))
    new: list[Seen] = field(default_factory=list)
    others: int = 0
    unreadable: int = 0

    def settle(self) -> Seen:
        """All of it in the order of time; of too many, the newest."""
        together = np.concatenate([self.seen, *self.new])
        self.seen, self.new = together[np.argsort(together["time"], kind="stable")][-MOST:], []
        return self.seen


def read_log(folder: Path, model: str, classes: int, since: float, until: float) -> LogReading:
    """Read the lines of all processes, rotated files too.

    Args:
        folder: of the prediction log; where it is not there, nothing was seen.
        model: exact tag; lines of others are counted and left out.
        classes: how many the model knows; a line with another label is none of its.
        since: seconds since 1970; a line of exactly then is left out.
        until: likewise; a line of exactly then is in.
    """
    rows = _Rows()
    with contextlib.ExitStack() as stack:
        for file in _open_all(folder, since, stack):
            while lines := list(islice(_lines(file), AT_ONCE)):
                _keep(rows, lines, model, classes, since, until)
                if sum(map(len, rows.new)) > MOST // 2:
                    rows.settle()
    return LogReading(rows.settle(), rows.others, rows.unreadable)


def _open_all(folder: Path, since: float, stack: contextlib.ExitStack) -> list[BinaryIO]:
    """Each file once, though the log renames them meanwhile: what is open stays open; a second look finds the rest."""
    found: dict[tuple[int, int], BinaryIO] = {}
    for _ in range(2):
        for path in sorted(folder.glob("*.jsonl*")):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                if (stat.st_dev, stat.st_ino) not in found and stat.st_mtime > since:
                    file = stack.enter_context(path.open("rb"))
                    found[stat.st_dev, stat.st_ino] = file
    return list(found.values())


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines; the last one of a file may still be written."""
    while line := file.readline(LONGEST_LINE):
        if line.endswith(b"\n"):
            yield line
        elif len(line) == LONGEST_LINE:
            yield b"\n"
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass


def _keep(rows: _Rows, lines: list[bytes], model: str, classes: int, since: float, until: float) -> None:
    kept = []
    for line in lines:
        try:
            told = orjson.loads(line)
            time = datetime.fromisoformat(told["time"]).timestamp()
            if not since < time <= until:
                continue
            if told["model"] != model:
                rows.others += 1
                continue
            kept.append(_to_row(told, time, classes))
        except (KeyError, TypeError, ValueError):
            rows.unreadable += 1
    if kept:
        rows.new.append(np.array(kept, SEEN))


def _to_row(told: dict[str, object], time: float, classes: int) -> tuple[object, ...]:
    """A line's values in the order of `SEEN`.

    Raises:
        KeyError, TypeError, ValueError: it is none of the log's.
    """
    label, sure = told["label"], told["sure"]
    values = [told[measure] for measure in MEASURES]
    if type(label) is not int or not 0 <= label < classes or type(sure) is not bool:
        raise ValueError(f"label {label}, sure {sure}")
    if any(type(value) not in (int, float) for value in values):
        raise TypeError(f"measures {values}")
    return time, label, sure, int.from_bytes(bytes.fromhex(str(told["hash"]))[:8]), *values
