"""One part of a job: read, predicted, written, counted; done twice, it is the same."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.files import sha256_of, whole_file, write_whole
from components.inference.predict import predict
from components.inputs.parts import Input, Part, Reading
from components.model.classifier import Classifier
from components.scoring.outputs import REJECTED, format_of, schema_with, to_rejects, to_table
from components.scoring.summary import Count, count_rows


@dataclass(frozen=True)
class Job:
    """What is scored, and how; two that are equal give the same output."""

    source: str
    output: str
    rejects: str
    model: str  # exact tag
    reading: Reading  # how the input is read
    fingerprint: str  # of the input's files: names, sizes and times of change
    scored_at: str  # ISO 8601, UTC: when the job began first

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Job":
        """What `dataclasses.asdict` and JSON made of one."""
        return cls(**{**told, "reading": Reading.from_json(told["reading"])})

    @property
    def folder(self) -> Path:
        """Where its parts are until it is done."""
        output = Path(self.output)
        return output.with_name(f".{output.name}.job")

    def same(self, other: "Job") -> bool:
        """Whether one may go on where the other stopped."""
        return replace(other, scored_at=self.scored_at) == self


@dataclass(frozen=True)
class Result:
    """A part that is done."""

    number: int
    count: Count
    scored: str  # name of the file with its predictions
    rejects: str  # name of the file with its rejects
    sha256: tuple[str, str]  # of the two


def score_part(job: Job, read: Input, part: Part, model: Classifier) -> Result:
    """Score a part, unless it is done.

    Args:
        job: whose part it is.
        read: the job's input.
        part: one of its parts.
        model: the job's.

    Raises:
        InputError: its rows cannot be read at all.
        OSError: it cannot be written.
    """
    if done := find_done(job, part):
        return done
    count, rejects = Count(), list[pa.Table]()

    def tables() -> Iterator[pa.Table]:
        nonlocal count
        for block in read.read(part):
            predictions = predict(model, block.images)
            count += count_rows(predictions.labels, predictions.sure, block.labels, block.rejects)
            if block.rejects:
                rejects.append(to_rejects(block))
            yield to_table(block, predictions, job.scored_at)

    names = f"{part.number:05}.part", f"{part.number:05}.rejects"
    with whole_file(job.folder / names[0]) as path, path.open("wb") as file:
        format_of(Path(job.output)).write(tables(), schema_with(read.extra), file)
    with whole_file(job.folder / names[1]) as path, path.open("wb") as file:
        format_of(Path(job.rejects)).write(rejects, REJECTED, file)
    hashes = sha256_of(job.folder / names[0]), sha256_of(job.folder / names[1])
    result = Result(part.number, count, *names, hashes)
    write_whole(_done_path(job, part), json.dumps(asdict(result)).encode())
    return result


def find_done(job: Job, part: Part) -> Result | None:
    """The result of a part whose files are whole; None where it must be scored."""
    try:
        told = json.loads(_done_path(job, part).read_bytes())
        result = Result(**{**told, "count": Count.from_json(told["count"]), "sha256": tuple(told["sha256"])})
        whole = [sha256_of(job.folder / name) for name in (result.scored, result.rejects)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if tuple(whole) == result.sha256 else None


def _done_path(job: Job, part: Part) -> Path:
    return job.folder / f"{part.number:05}.json"
