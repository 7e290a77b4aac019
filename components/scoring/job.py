"""A scoring job: scores the parts of an input in parallel and resumes after a crash.

    .OUTPUT.job/job.json                 the input, the model, the options and the start time
                00000-1a2b3c4d.part      predictions of a part; the hex digits identify the job
                00000-1a2b3c4d.rejects   rows of the part that could not be read
                00000-1a2b3c4d.json      counts of the part and hashes of the two files, written last

When all parts are complete, they are joined into the output and the folder is removed.
"""

import contextlib
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.errors import InputError
from components.files import naming, sha256_of
from components.model.classifier import Classifier
from components.readers.folders.names import LeftOut
from components.readers.folders.opening import find_new, open_input
from components.readers.folders.parts import CUT, Input, InputPart, TableReading
from components.scoring.claims import hold
from components.scoring.input_check import GetWarnings, InputChecker, Mode, checking
from components.scoring.outputs import REJECTED, format_of, schema_with
from components.scoring.precision import Precision, choose, limit_torch, one_thread, use
from components.scoring.summary import Count
from components.scoring.work import Job, Result, score_part
from components.storage import locate, whole

DEFAULT_READING = TableReading()
WORKERS = 2  # default number of parallel parts: reading and inference alternate on a core


@dataclass(frozen=True)
class Summary:
    """The result of a job: rows = scored + rejected."""

    count: Count
    seconds: float
    resumed: int  # parts completed by an earlier run
    model: str
    scored_at: str
    input_sha256: str
    output_sha256: str
    rejects: str  # path of the rejects; "" if there are none
    left_out: LeftOut  # files that were not read
    warnings: tuple[str, ...] = ()  # from the input sanity check and the reader
    arithmetic: dict[str, int] = field(default_factory=dict)  # float32 or int8 -> parts

    def __repr__(self) -> str:
        accuracy = "" if self.count.accuracy is None else f", accuracy {self.count.accuracy:.4f}"
        counts = f"{self.count.scored:,} scored, {self.count.rejected:,} rejected{accuracy}"
        return f"Summary({self.model}: {counts}, {self.seconds:.1f} s)"

    @property
    def rows_per_second(self) -> float:
        """Rows per second of this run, counting rows that an earlier run completed."""
        return self.count.rows / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """All fields as one flat dictionary."""
        values = asdict(self)
        counts = values.pop("count")
        return {**counts, "accuracy": self.count.accuracy, **values, "rows_per_second": self.rows_per_second}


Progress = Callable[[Count, float | None], object]  # called after each part with its count and the completed share


def run_job(
    model: Classifier,
    source: Path,
    output: Path,
    *,
    rejects: Path | None = None,
    resume: bool = False,
    workers: int = WORKERS,
    reading: TableReading = DEFAULT_READING,
    max_reject_rate: float = 1.0,
    precision: Precision = "auto",
    check: Mode = "off",
    checker: InputChecker | None = None,
    progress: Progress = lambda count, share: None,
) -> Summary:
    """Score an input of any size in bounded memory. The output is written atomically.

    Args:
        model: returned by `load_model`; used for the whole job.
        source: see `open_input`.
        output: `*.csv`, `*.parquet` or `*.jsonl`.
        rejects: output for rows that cannot be read, in the same formats; None: next to `output`, see `rejects_path`.
        resume: resume the same job if it was interrupted; otherwise its parts are discarded.
        workers: number of parts to score in parallel.
        reading: how to read the input.
        max_reject_rate: the job fails, and the output is unchanged, if the share of rejected rows is larger.
        precision: "float32", or "auto": integers where they are faster, see `int8`.
        check: action when the input sanity check fails: "fail" the job, only "warn", or "off" to skip the check.
        checker: runs the input sanity check, see `checking`.
        progress: called after each part.

    Raises:
        InputError: the input cannot be read, has too many rejected rows or fails the input sanity check, or another job
            holds the output.
    """
    options: dict[str, Any] = {"rejects": rejects, "reading": reading, "resume": resume, "precision": precision}
    with open_job(source, output, model, **options, check=check, checker=checker) as opened, one_thread():
        scorer = use(model, opened.job.arithmetic)
        return finish_job(opened, _run_parts(opened, scorer, workers, progress), max_reject_rate)


@dataclass(frozen=True)
class Opened:
    """A job that is held. Any process may score its parts."""

    job: Job
    read: Input
    schema: pa.Schema  # of the output
    resumed: int  # parts that are already complete
    began: float  # on the monotonic clock
    get_warnings: GetWarnings  # of the input sanity check, see `checking`

    def parts(self) -> Iterator[InputPart]:
        """All parts of the input, in order."""
        with naming(Path(self.job.source)):
            yield from self.read.parts()


@contextlib.contextmanager
def open_job(
    source: Path,
    output: Path,
    model: Classifier,
    *,
    rejects: Path | None = None,
    reading: TableReading,
    resume: bool,
    precision: Precision = "auto",
    check: Mode = "fail",
    checker: InputChecker | None = None,
) -> Iterator[Opened]:
    """Hold a job until the block ends.

    Args:
        source, output, model, rejects, reading, resume, precision, check, checker: see `run_job`.

    Raises:
        InputError: as for `run_job`.
    """
    began = time.monotonic()
    source = source.absolute()  # for workers in other folders; links are not resolved, because they have the suffix
    output = output.resolve()  # write to a link's target instead of replacing the link
    rejects = (rejects or rejects_path(output)).resolve()
    read = open_input(source, reading, model.contract)
    _check_outputs(read, output, rejects)
    schema = schema_with(read.extra, model.contract.classes)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    paths = str(source), str(output), str(rejects)
    arithmetic = choose(model, precision)
    requested = Job(*paths, model.tag, reading, read.fingerprint(), CUT, now, precision, arithmetic)
    with hold(requested, resume) as job, checking(source, reading, check, model.contract, checker) as get_warnings:
        yield Opened(job, read, schema, sum(1 for _ in job.folder.glob(f"*-{job.key}.json")), began, get_warnings)


def finish_job(opened: Opened, results: Iterable[Result], max_reject_rate: float) -> Summary:
    """Join the parts as they complete and write both outputs atomically.

    Rejects are written first, so that the output never exists without them.

    Args:
        opened: a job that is held.
        results: of all parts, in order. They are streamed: only the names of the reject files stay in memory.
        max_reject_rate: see `run_job`.

    Raises:
        InputError: too many rows were rejected, the input sanity check failed, or the input changed in the meantime.
    """
    job, count, rejected, arithmetic = opened.job, Count(), list[Path](), Counter[str]()

    def scored() -> Iterator[Path]:
        nonlocal count
        for result in results:
            opened.get_warnings(False)
            count += result.count
            arithmetic[result.arithmetic] += 1
            rejected.append(job.folder / result.rejects)
            yield job.folder / result.scored

    with whole(locate(job.output)) as path:
        _join(job.output, scored(), opened.schema, path)
        _require_unchanged(opened)
        warnings = opened.get_warnings(True) + _describe_new(opened)
        _check_rejects(job, count, max_reject_rate)
        output_sha256 = sha256_of(path)
        if count.rejected:
            with whole(locate(job.rejects)) as path_of_rejects:
                _join(job.rejects, rejected, REJECTED, path_of_rejects)
    if not count.rejected:
        locate(job.rejects).unlink(missing_ok=True)
    return Summary(
        count=count,
        seconds=time.monotonic() - opened.began,
        resumed=opened.resumed,
        model=job.model,
        scored_at=job.scored_at,
        input_sha256=opened.read.digest(),
        output_sha256=output_sha256,
        rejects=job.rejects if count.rejected else "",
        left_out=opened.read.left_out,
        arithmetic=dict(arithmetic),
        warnings=(*opened.read.notes, *warnings),
    )


def rejects_path(output: Path) -> Path:
    """The default path for rejects: `out.rejects.csv` next to `out.csv`."""
    return output.with_name(f"{output.stem}.rejects{output.suffix}")


def _check_outputs(read: Input, output: Path, rejects: Path) -> None:
    if output == rejects:
        raise InputError(str(output), "the rejects would overwrite the output")
    for path in (output, rejects):
        format_of(path)
        if path.exists() and not path.is_file():
            raise InputError(str(path), "not a file; an output must be a new path or replace a file")
        if path.exists() and any(_is_same(path, one) for one in read.files()):
            raise InputError(str(path), "the output would overwrite the input")


def _is_same(path: Path, one: Path) -> bool:
    try:
        return path.samefile(one)
    except OSError:  # an unreadable input, such as a broken link, cannot be overwritten either
        return False


def _run_parts(opened: Opened, model: Classifier, workers: int, progress: Progress) -> Iterator[Result]:
    """Score the parts in parallel and yield their results in order. Limits the pending parts to bound memory."""
    job, read = opened.job, opened.read
    waiting: deque[tuple[InputPart, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, "part", initializer=limit_torch)
    is_stopped = False
    try:
        for part in itertools.chain(opened.parts(), itertools.repeat(None, workers + 1)):
            if part is not None:
                waiting.append((part, pool.submit(score_part, job, read, part, model)))
            while waiting and (part is None or len(waiting) > workers):
                scored, future = waiting.popleft()
                result = future.result()
                progress(result.count, read.share(scored))
                yield result
    except KeyboardInterrupt:
        is_stopped = True  # do not wait for the parts that are being scored
        raise
    finally:
        pool.shutdown(wait=not is_stopped, cancel_futures=True)


def _require_unchanged(opened: Opened) -> None:
    if opened.read.fingerprint() != opened.job.fingerprint:
        reason = "it changed while it was scored, so the output would mix old and new rows; score a copy of it"
        raise InputError(opened.job.source, reason)


def _describe_new(opened: Opened) -> tuple[str, ...]:
    new = find_new(locate(opened.job.source), opened.read)
    return (f"{len(new):,} file(s) arrived during scoring and are not in the output: {new[0]}",) if new else ()


def _check_rejects(job: Job, total: Count, max_reject_rate: float) -> None:
    if total.rows and total.rejected / total.rows > max_reject_rate:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in list(total.reasons.items())[:3])
        rejected = f"{total.rejected:,} of {total.rows:,} rows cannot be read"
        raise InputError(job.source, f"{rejected}, more than {max_reject_rate:.1%}: {reasons}")


def _join(name: str, parts: Iterable[Path], schema: pa.Schema, path: Path) -> None:
    """Join the parts and write them to `path`, in the format of `name`."""
    with path.open("wb") as file:
        format_of(locate(name)).join(parts, schema, file)
