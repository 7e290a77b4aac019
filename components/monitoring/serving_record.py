"""What the service did, in records of ten seconds: requests, failures, latencies, and answers by class.

    BENTOML_HOME/fashion/serving/PID.jsonl     one line for each ten seconds in which a worker served requests
    BENTOML_HOME/fashion/serving/PID.jsonl.1   earlier lines

A line belongs to one model. Lines are appended in one write each, so a line is complete or, if the process was killed,
the last one without a line end. A file is rotated when it is full, and only the newest files are kept: the folder is
bounded, and reaches back a week of constant traffic for one worker.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from components.contract import Natural, NonNegative
from components.errors import ModelError
from components.records import read_file, read_record
from components.registry.champion import Tag

log = logging.getLogger(__name__)

SECONDS = 10.0  # of a record
FILE_BYTES, FILES = 8 << 20, 4  # per process: at most 32 MB
ALL_FILES = 32  # maximum in the folder after a process starts
SMALLEST, STEPS = 0.0005, 4  # seconds; the first latency limit, and limits per doubling
BUCKETS = 64  # of latencies; the last has no limit
LIMITS = tuple(SMALLEST * 2 ** (step / STEPS) for step in range(BUCKETS - 1))  # upper limits, seconds; the last is 23 s
CONFIDENCE_BINS = 20  # of equal width, from 0 to 1

Bucket = Annotated[str, Field(pattern=r"^[0-9]{1,2}$")]  # a bucket's number; JSON has no other keys


def serving_folder(home: Path) -> Path:
    """Return the folder of the records."""
    return home / "serving"


@dataclass(frozen=True)
class ServingRecord:
    """What one worker did with one model during some seconds."""

    model: Tag
    since: NonNegative  # seconds since 1970
    until: NonNegative
    requests: Natural = 0  # answered with predictions
    errors: Natural = 0  # answered with a status of 500 or more
    seconds: dict[Bucket, Natural] = field(default_factory=dict)  # bucket of `LIMITS` -> answered requests
    classes: dict[str, Natural] = field(default_factory=dict)  # class name -> images
    not_sure: Natural = 0  # images on which the model abstained
    checked: Natural = 0  # images for which the model can tell whether they are known
    unknown: Natural = 0  # of those, the unknown ones
    confidence: dict[Bucket, Natural] = field(default_factory=dict)  # bin -> images

    @property
    def images(self) -> int:
        """Number of classified images."""
        return sum(self.classes.values())


@dataclass(frozen=True)
class ServingReading:
    """The records of a period."""

    records: tuple[ServingRecord, ...]  # by time
    unreadable: int = 0  # damaged lines


class ServingLog:
    """The records of one process."""

    def __init__(self, folder: Path) -> None:
        """Prepare the folder, and remove old files of other processes.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.jsonl*"), key=_modified_at, reverse=True)[ALL_FILES - FILES :]:
            old.unlink(missing_ok=True)
        self.path = folder / f"{os.getpid()}.jsonl"

    def append(self, records: Iterable[ServingRecord]) -> None:
        """Append records; if the disk is full, they are lost, with a message in the log."""
        content = b"".join(orjson.dumps(asdict(one)) + b"\n" for one in records)
        if not content:
            return
        try:
            if self.path.exists() and self.path.stat().st_size + len(content) > FILE_BYTES:
                self._rotate()
            with self.path.open("ab", buffering=0) as file:
                if not _ends_a_line(self.path):
                    content = b"\n" + content  # after a write that a full disk cut short
                file.write(content)
        except OSError as error:
            log.error("what was served could not be recorded: %s", error)

    def _rotate(self) -> None:
        for number in range(FILES - 1, 0, -1):
            earlier = self._numbered(number - 1)
            if earlier.exists():
                earlier.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path


def read_serving(folder: Path, since: float, until: float) -> ServingReading:
    """Read the records of all workers that lie in a period.

    Args:
        folder: of the records; need not exist.
        since: start, seconds since 1970.
        until: end, seconds since 1970.
    """
    records, unreadable = list[ServingRecord](), 0
    for path in sorted(folder.glob("*.jsonl*")):
        if _modified_at(path) < since:
            continue
        for line in _complete_lines(path):
            try:
                record = read_record(ServingRecord, line, path.name, ModelError)
            except ModelError:
                unreadable += 1
                continue
            if since <= record.since and record.until <= until:
                records.append(record)
    return ServingReading(tuple(sorted(records, key=lambda one: one.since)), unreadable)


def add_up(records: Iterable[ServingRecord]) -> ServingRecord | None:
    """The sum of records of one model; None if there are none."""
    found = list(records)
    if not found:
        return None
    seconds, classes, confidence = Counter[str](), Counter[str](), Counter[str]()
    for one in found:
        seconds.update(one.seconds)
        classes.update(one.classes)
        confidence.update(one.confidence)
    return ServingRecord(
        model=found[0].model,
        since=min(one.since for one in found),
        until=max(one.until for one in found),
        requests=sum(one.requests for one in found),
        errors=sum(one.errors for one in found),
        seconds=dict(seconds),
        classes=dict(classes),
        not_sure=sum(one.not_sure for one in found),
        checked=sum(one.checked for one in found),
        unknown=sum(one.unknown for one in found),
        confidence=dict(confidence),
    )


def _complete_lines(path: Path) -> Iterator[bytes]:
    try:
        content = read_file(path, ModelError)
    except (FileNotFoundError, ModelError) as error:  # rotated in the meantime, or not a file
        log.warning("%s: not read: %s", path.name, error)
        return
    yield from (line for line in content[: content.rfind(b"\n") + 1].splitlines() if line)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read(1) in (b"\n", b"")


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0
