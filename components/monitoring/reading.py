"""Read recent predictions from the prediction log, without locks or writes."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson

from components.evaluation.profile import NOT_CHECKED, SEEN, Seen
from components.readers.images.statistics import MEASURES

BATCH_LINES = 20_000  # lines held as Python objects
LONGEST_LINE = 4096  # bytes; longer lines are invalid
MAX_IMAGES = 2_000_000  # 100 MB; more than the size limits of the log allow


@dataclass
class LogReading:
    """Predictions of one model in a period."""

    seen: Seen  # in order of time
    others: int = 0  # lines of other models in that period
    unreadable: int = 0  # invalid lines of any time


@dataclass
class _Rows:
    """The lines read so far."""

    seen: Seen = field(default_factory=lambda: np.zeros(0, SEEN))
    new: list[Seen] = field(default_factory=list)
    others: int = 0
    unreadable: int = 0

    def merge(self) -> Seen:
        """Merge all rows in order of time and keep the newest."""
        merged = np.concatenate([self.seen, *self.new])
        self.seen, self.new = merged[np.argsort(merged["time"], kind="stable")][-MAX_IMAGES:], []
        return self.seen


def read_log(folder: Path, model: str, classes: int, since: float, until: float) -> LogReading:
    """Read the lines of all processes, including rotated files.

    Args:
        folder: folder of the prediction log; if it does not exist, the result is empty.
        model: exact tag; lines of other models are only counted.
        classes: number of classes of the model; a line with another label is invalid.
        since: start of the period, exclusive, seconds since 1970.
        until: end of the period, inclusive, seconds since 1970.
    """
    rows = _Rows()
    with contextlib.ExitStack() as stack:
        for file in _open_all(folder, since, stack):
            while lines := list(islice(_lines(file), BATCH_LINES)):
                _parse(rows, lines, model, classes, since, until)
                if sum(map(len, rows.new)) > MAX_IMAGES // 2:
                    rows.merge()
    return LogReading(rows.merge(), rows.others, rows.unreadable)


def _open_all(folder: Path, since: float, stack: contextlib.ExitStack) -> list[BinaryIO]:
    """Open each file once, even if the log rotates meanwhile: list twice, as open files survive a rename."""
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
    """Yield complete lines; the last line of a file may be incomplete."""
    while line := file.readline(LONGEST_LINE):
        if line.endswith(b"\n"):
            yield line
        elif len(line) == LONGEST_LINE:
            yield b"\n"
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass


def _parse(rows: _Rows, lines: list[bytes], model: str, classes: int, since: float, until: float) -> None:
    kept = []
    for line in lines:
        try:
            entry = orjson.loads(line)
            time = datetime.fromisoformat(entry["time"]).timestamp()
            if not since < time <= until:
                continue
            if entry["model"] != model:
                rows.others += 1
                continue
            kept.append(_to_row(entry, time, classes))
        except (KeyError, TypeError, ValueError):
            rows.unreadable += 1
    if kept:
        rows.new.append(np.array(kept, SEEN))


def _to_row(entry: dict[str, object], time: float, classes: int) -> tuple[object, ...]:
    """Convert a line to the fields of `SEEN`.

    Raises:
        KeyError, TypeError, ValueError: the line is invalid.
    """
    label, sure, known = entry["label"], entry["sure"], entry.get("known")  # older lines have no `known`
    values = [entry[measure] for measure in MEASURES]
    if type(label) is not int or not 0 <= label < classes or type(sure) is not bool:
        raise ValueError(f"label {label}, sure {sure}")
    if known is not None and type(known) is not bool:
        raise ValueError(f"known {known}")
    if any(type(value) not in (int, float) for value in values):
        raise TypeError(f"measures {values}")
    flag = NOT_CHECKED if known is None else known
    return time, label, sure, flag, int.from_bytes(bytes.fromhex(str(entry["hash"]))[:8]), *values
