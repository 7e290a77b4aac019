"""A scoring job: parts that are scored side by side, and whatever was done before a crash is not done again.

    .OUTPUT.job/job.json        what is scored, with what, since when
                00000.part      the predictions of a part
                00000.rejects   the rows of it that could not be read
                00000.json      the count of it, and the hashes of the two: written last

When all parts are there they are put together, the output takes its name, and the folder goes.
"""

import contextlib
import itertools
import json
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from components.errors import InputError
from components.files import sha256_of, whole_file, write_whole
from components.inputs.opening import fingerprint, list_files, open_input
from components.inputs.parts import Input, Part, Reading
from components.model.classifier import Classifier
from components.scoring.expectations import Mode, checking
from components.scoring.outputs import REJECTED, format_of, schema_with
from components.scoring.summary import Count
from components.scoring.work import Job, Result, score_part

AS_IT_IS = Reading()
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
    warnings: tuple[str, ...] = ()  # what is unusual about the first rows

    @property
    def rows_per_second(self) -> float:
        """Of this run, what an earlier one had done included."""
        return self.count.rows / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """All of it in one flat value."""
        told = asdict(self)
        return {**told.pop("count"), "accuracy": self.count.accuracy, **told, "rows_per_second": self.rows_per_second}


LOCK = "lock"  # in the job's folder, held while it is done
Progress = Callable[[Count, float | None], object]  # called after each part: its count, and the share that is done


def run_job(
    model: Classifier,
    source: Path,
    output: Path,
    *,
    rejects: Path | None = None,
    resume: bool = False,
    workers: int = WORKERS,
    reading: Reading = AS_IT_IS,
    max_reject_rate: float = 1.0,
    check: Mode = "off",
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
        check: "fail": end the job where the first rows cannot be right, see `checking`; "warn": only tell it.
        progress: called after each part.

    Raises:
        InputError: the input cannot be read, or too much of it, or is not checked well; another job holds this output.
    """
    began = time.monotonic()
    output = output.resolve()  # a link is followed, not replaced
    rejects = (rejects or rejects_path(output)).resolve()
    _check_outputs(source, output, rejects)
    read = open_input(source, reading)
    schema_with(read.extra)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    job = Job(str(source.resolve()), str(output), str(rejects), model.tag, reading, fingerprint(source), now)
    with _alone(job), checking(source, reading, check) as look:
        job = _begin(job, resume)
        resumed = sum(1 for _ in job.folder.glob("*.json")) - 1

        def after_part(count: Count, share: float | None) -> None:
            look(False)
            progress(count, share)

        results = list(_run_parts(job, read, model, workers, after_part, max_reject_rate))
        warnings = look(True)
        _put_together(job, read, results)
        count = sum((result.count for result in results), Count())
        return Summary(
            count=count,
            seconds=time.monotonic() - began,
            resumed=resumed,
            model=model.tag,
            scored_at=job.scored_at,
            input_sha256=read.digest(),
            output_sha256=sha256_of(output),
            rejects=job.rejects if count.rejected else "",
            warnings=warnings,
        )


def rejects_path(output: Path) -> Path:
    """Where the rejects of `out.csv` go: `out.rejects.csv` beside it."""
    return output.with_name(f"{output.stem}.rejects{output.suffix}")


def _check_outputs(source: Path, output: Path, rejects: Path) -> None:
    if output == rejects:
        raise InputError(str(output), "the rejects would overwrite the output")
    for path in (output, rejects):
        format_of(path)
        if path.exists() and not path.is_file():
            raise InputError(str(path), "not a file; an output takes the place of a file or of nothing")
        if path.exists() and any(path.samefile(one) for one in list_files(source)):
            raise InputError(str(path), "the output would overwrite the input")


@contextlib.contextmanager
def _alone(job: Job) -> Iterator[None]:
    """Hold the output; the folder goes where the job ends well, and stays for `resume` where it does not."""
    job.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(job.folder / LOCK)
    try:
        with lock.acquire(timeout=0):
            yield
            shutil.rmtree(job.folder, ignore_errors=True)  # with the lock: who comes now makes a folder of its own
    except Timeout:
        raise InputError(job.output, "another job is writing it") from None


def _begin(job: Job, resume: bool) -> Job:
    """The job to do: the unfinished one where it may be gone on with, else this one from its beginning."""
    path = job.folder / "job.json"
    if resume and path.exists():
        try:
            unfinished = Job.from_json(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(job.output, "its unfinished job cannot be read; score it without --resume") from error
        if not unfinished.same(job):
            told = "its unfinished job had another input, model or options; score it without --resume"
            raise InputError(job.output, told)
        return unfinished
    for item in job.folder.iterdir():
        if item.name != LOCK:
            item.unlink()
    write_whole(path, json.dumps(asdict(job), indent=2).encode())
    return job


def _run_parts(
    job: Job, read: Input, model: Classifier, workers: int, progress: Progress, max_reject_rate: float
) -> Iterator[Result]:
    """Score the parts side by side, few enough at a time to fit into the memory; their results in order."""
    waiting: deque[tuple[Part, Future[Result]]] = deque()
    total = Count()
    try:
        with ThreadPoolExecutor(workers, "part", initializer=_take_one_core) as pool:
            for part in itertools.chain(read.parts(), itertools.repeat(None, workers + 1)):
                if part is not None:
                    waiting.append((part, pool.submit(score_part, job, read, part, model)))
                while waiting and (part is None or len(waiting) > workers):
                    scored, future = waiting.popleft()
                    result = future.result()
                    total += result.count
                    progress(result.count, read.share(scored))
                    yield result
    finally:
        for _, future in waiting:
            future.cancel()
    if total.rows and total.rejected / total.rows > max_reject_rate:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in list(total.reasons.items())[:3])
        told = f"{total.rejected:,} of {total.rows:,} rows cannot be read, more than {max_reject_rate:.1%}: {reasons}"
        raise InputError(job.source, told)


def _take_one_core() -> None:
    """Said in each thread: else its first product is made by two, and added up in another order."""
    torch.set_num_threads(1)


def _put_together(job: Job, read: Input, results: list[Result]) -> None:
    """Join the parts; both outputs appear whole, that of rejects where there are any."""
    output, rejects = Path(job.output), Path(job.rejects)
    with whole_file(output) as whole, whole.open("wb") as file:
        parts = [job.folder / result.scored for result in results]
        format_of(output).join(parts, schema_with(read.extra), file)
    if not any(result.count.rejected for result in results):
        rejects.unlink(missing_ok=True)
        return
    with whole_file(rejects) as whole, whole.open("wb") as file:
        format_of(rejects).join([job.folder / result.rejects for result in results], REJECTED, file)
