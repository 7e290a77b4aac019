"""Score one part of a job: read, predict, write and count. Idempotent."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.errors import FashionError
from components.files import naming, sha256_of
from components.model.classifier import Arithmetic, Classifier
from components.readers.blocks import Block
from components.readers.folders.parts import Input, InputPart, TableReading
from components.records import read_record
from components.scoring.outputs import REJECTED, OutputFormat, format_of, schema_with, to_rejects, to_table
from components.scoring.precision import Precision
from components.scoring.predict import predict_block, require_finite
from components.scoring.summary import Count, count_rows
from components.storage import locate, whole


@dataclass(frozen=True)
class Job:
    """The input and options of a scoring job. Equal jobs give the same output."""

    source: str
    output: str
    rejects: str
    model: str  # exact tag
    reading: TableReading  # how to read the input
    fingerprint: str  # of the input's files: names, sizes and times
    cut: int  # version of the parts, see `CUT`
    scored_at: str  # ISO 8601, UTC: first start of the job
    precision: Precision = "auto"  # as requested
    arithmetic: Arithmetic = "float32"  # chosen by the process that started the job, for all of its parts

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Job":
        """Restore a job from the JSON of `dataclasses.asdict`."""
        return cls(**{**values, "reading": TableReading.from_json(values["reading"])})

    @property
    def folder(self) -> Path:
        """The folder of the parts until the job is finished."""
        output = locate(self.output)
        return output.with_name(f".{output.name}.job")

    @property
    def key(self) -> str:
        """An identifier in the names of the parts, so that a stale worker of another job cannot overwrite them."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:8]

    def same(self, other: "Job") -> bool:
        """Whether one job can resume the other."""
        return replace(other, scored_at=self.scored_at, arithmetic=self.arithmetic) == self


@dataclass(frozen=True)
class Result:
    """The result of a completed part."""

    number: int
    count: Count
    scored: str  # name of the file with the predictions
    rejects: str  # name of the file with the rejects
    sha256: tuple[str, str]  # of the two files
    arithmetic: Arithmetic = "float32"  # of its products

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Result":
        """Restore a result from the JSON of `dataclasses.asdict`."""
        return cls(**{**values, "count": Count.from_json(values["count"]), "sha256": tuple(values["sha256"])})


def score_part(job: Job, read: Input, part: InputPart, model: Classifier) -> Result:
    """Score a part, unless it is already complete.

    Args:
        job: the job of the part.
        read: the job's input.
        part: one part of the input.
        model: the job's model, see `components.scoring.precision.use`.

    Raises:
        InputError: the part cannot be read.
        ModelError: a probability is not finite.
        OSError: the files cannot be written.
    """
    if done := find_done(job, part):
        return done
    count, rejects, scorer = Count(), list[pa.Table](), model

    def tables() -> Iterator[pa.Table]:
        nonlocal count, scorer
        for number, block in enumerate(_read(read, part)):
            if not number:
                scorer = model.checked_with(block.images)
            predictions = require_finite(predict_block(scorer, block))
            count += count_rows(predictions, block)
            if block.rejects:
                rejects.append(to_rejects(block))
            yield to_table(block, predictions, job.scored_at)

    name, schema = name_part(job, part), schema_with(read.extra, model.contract.classes)
    hashes = (
        _write(format_of(Path(job.output)), tables(), schema, name.with_suffix(".part")),
        _write(format_of(Path(job.rejects)), rejects, REJECTED, name.with_suffix(".rejects")),
    )
    result = Result(part.number, count, f"{name.name}.part", f"{name.name}.rejects", hashes, scorer.arithmetic)
    with whole(name.with_suffix(".json"), flush=False) as path:
        path.write_text(json.dumps(asdict(result)))
    return result


def _read(read: Input, part: InputPart) -> Iterator[Block]:
    with naming(Path(part.file)):
        yield from read.read(part)


def find_done(job: Job, part: InputPart) -> Result | None:
    """The result of a part whose files are complete and intact; None if it must be scored."""
    path = name_part(job, part)
    try:
        result = read_record(Result, path.with_suffix(".json").read_bytes(), path, FashionError)
        if (result.scored, result.rejects) != (f"{path.name}.part", f"{path.name}.rejects"):
            return None
        found = [sha256_of(job.folder / name) for name in (result.scored, result.rejects)]
    except (OSError, FashionError):
        return None
    return result if tuple(found) == result.sha256 else None


def name_part(job: Job, part: InputPart) -> Path:
    """The path of a part's files, without the suffix."""
    return job.folder / f"{part.number:05}-{job.key}"


def _write(form: OutputFormat, tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> str:
    """Write a file of a part and return its SHA-256, by which `find_done` detects damage from a power cut."""
    with whole(path, flush=False) as temporary:
        with temporary.open("wb") as file:
            form.write(tables, schema, file)
        return sha256_of(temporary)
