"""Who may write an output: one job at a time, and the unfinished one where it is gone on with."""

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from components.errors import FashionError, InputError, Remedy
from components.files import remove, remove_leftovers_of, write_whole
from components.records import read_record
from components.scoring.work import Job
from components.storage import is_remote, remove_tree, write_new

LOCK = "lock"  # in the job's folder, held while it is done
JOB = "job.json"
ENDING = 0.5  # seconds to wait for a job that is about to end
MAX_TRIES = 20  # of one that finds its folder removed by another


@contextlib.contextmanager
def hold(job: Job, resume: bool) -> Iterator[Job]:
    """Hold the output; the folder goes where the job ends well, and stays for `resume` where it does not.

    On a disk a lock holds it, which ends with its process. S3 has none: there `job.json` is written where there is
    none yet, and who finds one goes on with it or is refused. Two that go on with one job write the same bytes.

    Yields:
        The job to do: the unfinished one where it may be gone on with, else this one.

    Raises:
        InputError: another job holds it, or the unfinished one cannot be gone on with.
    """
    if is_remote(job.folder):
        yield _begin_remote(job, resume)
        remove_tree(job.folder)
        return
    with _lock(job):
        with contextlib.suppress(OSError):  # of a full disk, which the next write reports
            (job.folder / LOCK).write_text(f"process {os.getpid()} on {platform.node()}")
        remove_leftovers_of(Path(job.output))  # as large as it is, where a job was killed near its end
        yield _begin(job, resume)
        _remove(job.folder)


def _lock(job: Job) -> contextlib.AbstractContextManager[object]:
    """Make the folder and lock it, though another job may be removing it just now.

    Raises:
        InputError: another job holds it.
        OSError: it cannot be made.
    """
    lock = FileLock(job.folder / LOCK, timeout=ENDING)
    for _ in range(MAX_TRIES):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            job.folder.mkdir(parents=True, exist_ok=True)
            return _acquire(lock, job)
    job.folder.mkdir(parents=True, exist_ok=True)  # and if there is something else of that name, this says so
    return _acquire(lock, job)


def _acquire(lock: BaseFileLock, job: Job) -> contextlib.AbstractContextManager[object]:
    try:
        return lock.acquire()
    except Timeout:
        raise InputError(job.output, f"another job is writing it{_read_holder(job.folder / LOCK)}") from None


def _remove(folder: Path) -> None:
    """Remove the folder of a job that is done, as far as that can be done: once its lock is gone, another may have it.

    The lock goes last, so that job finds the folder empty.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name != LOCK:
                remove(path)
        (folder / LOCK).unlink()
        folder.rmdir()


def _read_holder(path: Path) -> str:
    """Who holds the lock, where it says so already."""
    with contextlib.suppress(OSError):
        if told := path.read_text(errors="replace"):
            return f": {told}"
    return ""


def _begin(job: Job, resume: bool) -> Job:
    path = job.folder / JOB
    if resume and path.exists():
        return _go_on(job)
    for item in job.folder.iterdir():
        if item.name != LOCK:
            item.unlink()
    write_whole(path, _encode(job))
    return job


def _begin_remote(job: Job, resume: bool) -> Job:
    try:
        write_new(job.folder / JOB, _encode(job))
    except FileExistsError:
        if resume:
            return _go_on(job)
        told = f"a job is writing it, or was stopped; remove {job.folder} if none is"
        raise InputError(job.output, told).suggesting(Remedy("resume", "", "continues it")) from None
    return job


def _go_on(job: Job) -> Job:
    path = job.folder / JOB
    try:
        unfinished = read_record(Job, path.read_bytes(), path, FashionError)
    except (OSError, FashionError) as error:
        raise InputError(job.output, f"its unfinished job cannot be read ({error}); {_anew(job)}") from error
    if not unfinished.same(job):
        refusal = InputError(job.output, f"its unfinished job had {_differences(unfinished, job)}; {_anew(job)}")
        if unfinished.same(replace(job, model=unfinished.model)):
            refusal.suggesting(Remedy("model", unfinished.model, "resumes it, unless that model was pruned"))
        raise refusal
    return unfinished


def _differences(unfinished: Job, job: Job) -> str:
    """Why one cannot be gone on with, for a person."""
    inputs = {(one.source, one.fingerprint) for one in (unfinished, job)}
    found = {
        "another input, or it changed since": len(inputs) > 1,
        f"another model, {unfinished.model}": unfinished.model != job.model,
        "other options": (unfinished.reading, unfinished.rejects) != (job.reading, job.rejects),
        "another version": unfinished.cut != job.cut,
    }
    return ", ".join(told for told, differs in found.items() if differs)


def _anew(job: Job) -> str:
    return f"remove {job.folder}" if is_remote(job.folder) else "begin it anew"


def _encode(job: Job) -> bytes:
    return json.dumps(asdict(job), indent=2).encode()
