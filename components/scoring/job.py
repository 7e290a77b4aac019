"""A scoring job: parts that are scored side by side, and whatever was done before a crash is not done again.

    .OUTPUT.job/job.json                 what is scored, with what, since when
                00000-1a2b3c4d.part      the predictions of a part; the letters stand for this job
                00000-1a2b3c4d.rejects   the rows of it that could not be read
                00000-1a2b3c4d.json      the count of it, and the hashes of the two: written last

When all parts are there they are put together, the output takes its name, and the folder goes.
"""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from components.errors import InputError
from components.files import naming, sha256_of
from components.model.classifier import Classifier
from components.readers.folders.names import LeftOut
from components.readers.folders.opening import find_new, open_input
from components.readers.folders.parts import CUT, Input, InputPart, TableReading
from components.scoring.claims import hold
from components.scoring.input_check import InputChecker, Mode, checking
from components.scoring.outputs import REJECTED, format_of, schema_with
from components.scoring.summary import Count
from components.scoring.work import Job, Result, score_part
from components.storage import locate, whole

AS_IT_IS = TableReading()
WORKERS = 2  # parts at a time, where nothing else is said: reading and model take turns on a core


@dataclass(frozen=True)
class Summary:
    """What came of a job: rows = scored + rejected."""

    count: Count
    seconds: float
    resumed: int  # parts that an earlier run had done
    model: str
    scored_at: str
    input_sha256: str
    output_sha256: str
    rejects: str  # path of the rejects; "" where there are none
    left_out: LeftOut  # files beside those that were read
    warnings: tuple[str, ...] = ()  # what is unusual about the first rows

    @property
    def rows_per_second(self) -> float:
        """Of this run, what an earlier one had done included."""
        return self.count.rows / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """All of it in one flat value."""
        told = asdict(self)
        return {**told.pop("count"), "accuracy": self.count.accuracy, **told, "rows_per_second": self.rows_per_second}


Progress = Callable[[Count, float | None], object]  # called after each part: its count, and the share that is done


def run_job(
    model: Classifier,
    source: Path,
    output: Path,
    *,
    rejects: Path | None = None,
    resume: bool = False,
    workers: int = WORKERS,
    reading: TableReading = AS_IT_IS,
    max_reject_rate: float = 1.0,
    check: Mode = "off",
    checker: InputChecker | None = None,
    progress: Progress = lambda count, share: None,
) -> Summary:
    """Score an input of any size in bounded memory; the output appears whole or not at all.

    Args:
        model: what `load_model` returned; it stays the same to the end.
        source: see `open_input`.
        output: `*.csv`, `*.parquet` or `*.jsonl`.
        rejects: where the rows go that cannot be read, likewise; None: beside the output, see `rejects_path`.
        resume: go on where the same job stopped, if it did; without it, such a beginning is thrown away.
        workers: parts at a time.
        reading: how the input is read.
        max_reject_rate: with a larger share of rejects in all, the job fails, and the output is as it was.
        check: "fail": end the job where the first rows cannot be right; "warn": only tell it; "off": do not look.
        checker: who looks, see `checking`.
        progress: called after each part.

    Raises:
        InputError: the input cannot be read, or too much of it, or is not checked well; another job holds this output.
    """
    with open_job(
        source, output, model, rejects=rejects, reading=reading, resume=resume, check=check, checker=checker
    ) as opened:
        return finish_job(opened, _run_parts(opened, model, workers, progress), max_reject_rate)


@dataclass(frozen=True)
class Opened:
    """A job that is held: its parts may be scored, by whomever."""

    job: Job
    read: Input
    schema: pa.Schema  # of the output
    resumed: int  # parts that are done already
    began: float  # on the monotonic clock
    look: Callable[[bool], tuple[str, ...]]  # at the first rows, see `checking`

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
    check: Mode = "fail",
    checker: InputChecker | None = None,
) -> Iterator[Opened]:
    """Hold a job until the block ends.

    Args:
        source, output, model, rejects, reading, resume, check, checker: see `run_job`.

    Raises:
        InputError: as for `run_job`.
    """
    began = time.monotonic()
    source = source.absolute()  # workers are elsewhere; a link in it is not followed: it has the suffix
    output = output.resolve()  # a link is followed, not replaced
    rejects = (rejects or rejects_path(output)).resolve()
    read = open_input(source, reading, model.contract)
    _check_outputs(read, output, rejects)
    schema = schema_with(read.extra, model.contract.classes)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    where = str(source), str(output), str(rejects)
    wanted = Job(*where, model.tag, reading, read.fingerprint(), CUT, now)
    with hold(wanted, resume) as job, checking(source, reading, check, model.contract, checker) as look:
        yield Opened(job, read, schema, sum(1 for _ in job.folder.glob(f"*-{job.key}.json")), began, look)


def finish_job(opened: Opened, results: Iterable[Result], max_reject_rate: float) -> Summary:
    """Put the parts together as they are done, unless too many rows cannot be read.

    Both outputs appear whole, and that of rejects, where there are any, first: the other never stands there without it.

    Args:
        opened: a job that is held.
        results: of all its parts, in order; of each no more is kept than the name of its rejects.
        max_reject_rate: see `run_job`.

    Raises:
        InputError: more than that, the first rows cannot be right, or the input changed meanwhile.
    """
    job, count, rejected = opened.job, Count(), list[Path]()

    def scored() -> Iterator[Path]:
        nonlocal count
        for result in results:
            opened.look(False)
            count += result.count
            rejected.append(job.folder / result.rejects)
            yield job.folder / result.scored

    with whole(locate(job.output)) as path:
        _join(job.output, scored(), opened.schema, path)
        _require_unchanged(opened)
        warnings = opened.look(True) + _describe_new(opened)
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
        warnings=(*opened.read.notes, *warnings),
    )


def rejects_path(output: Path) -> Path:
    """Where the rejects of `out.csv` go: `out.rejects.csv` beside it."""
    return output.with_name(f"{output.stem}.rejects{output.suffix}")


def _check_outputs(read: Input, output: Path, rejects: Path) -> None:
    if output == rejects:
        raise InputError(str(output), "the rejects would overwrite the output")
    for path in (output, rejects):
        format_of(path)
        if path.exists() and not path.is_file():
            raise InputError(str(path), "not a file; an output takes the place of a file or of nothing")
        if path.exists() and any(_is_same(path, one) for one in read.files()):
            raise InputError(str(path), "the output would overwrite the input")


def _is_same(path: Path, one: Path) -> bool:
    try:
        return path.samefile(one)
    except OSError:  # what cannot be read, as a link to nothing, cannot be overwritten either
        return False


def _run_parts(opened: Opened, model: Classifier, workers: int, progress: Progress) -> Iterator[Result]:
    """Score the parts side by side, few enough at a time to fit into the memory; their results in order."""
    job, read = opened.job, opened.read
    waiting: deque[tuple[InputPart, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, "part", initializer=take_one_core)
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
        is_stopped = True  # and nobody waits for the parts that are being scored
        raise
    finally:
        pool.shutdown(wait=not is_stopped, cancel_futures=True)


def _require_unchanged(opened: Opened) -> None:
    if opened.read.fingerprint() != opened.job.fingerprint:
        told = "it changed while it was scored, so the output would mix old and new rows; score a copy of it"
        raise InputError(opened.job.source, told)


def _describe_new(opened: Opened) -> tuple[str, ...]:
    new = find_new(locate(opened.job.source), opened.read)
    return (f"{len(new):,} file(s) came while it was scored and are not in the output: {new[0]}",) if new else ()


def _check_rejects(job: Job, total: Count, max_reject_rate: float) -> None:
    if total.rows and total.rejected / total.rows > max_reject_rate:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in list(total.reasons.items())[:3])
        told = f"{total.rejected:,} of {total.rows:,} rows cannot be read, more than {max_reject_rate:.1%}: {reasons}"
        raise InputError(job.source, told)


def take_one_core() -> None:
    """Said in each thread that scores: else its first product is made by two, and added up in another order."""
    torch.set_num_threads(1)


def _join(name: str, parts: Iterable[Path], schema: pa.Schema, path: Path) -> None:
    """Write the parts of an output of that name to `path`, one after the other."""
    with path.open("wb") as file:
        format_of(locate(name)).join(parts, schema, file)
