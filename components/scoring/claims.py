"""Exclusive access to an output: one job at a time, which may resume an unfinished one."""

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

LOCK = "lock"  # in the job's folder, held while the job runs
JOB = "job.json"
LOCK_TIMEOUT = 0.5  # seconds; long enough for a job that is about to end
MAX_TRIES = 20  # attempts to lock a folder that another job keeps removing


@contextlib.contextmanager
def hold(job: Job, resume: bool) -> Iterator[Job]:
    """Hold the output. The job's folder is removed if the job succeeds and kept for `resume` if it fails.

    On a disk, a file lock holds the output and is released with its process. S3 has no locks: there, the first job
    creates `job.json`, and a later one resumes it or is refused. Two jobs that resume the same one write equal bytes.

    Yields:
        The job to run: the unfinished one if it can be resumed, otherwise `job`.

    Raises:
        InputError: another job holds the output, or the unfinished one cannot be resumed.
    """
    if is_remote(job.folder):
        yield _begin_remote(job, resume)
        remove_tree(job.folder)
        return
    with _lock(job):
        with contextlib.suppress(OSError):  # a full disk is reported by the next write
            (job.folder / LOCK).write_text(f"process {os.getpid()} on {platform.node()}")
        remove_leftovers_of(Path(job.output))  # as large as the output if a job was killed near its end
        yield _begin(job, resume)
        _remove(job.folder)


def _lock(job: Job) -> contextlib.AbstractContextManager[object]:
    """Create the folder and lock it, even if another job is removing it at the same time.

    Raises:
        InputError: another job holds the lock.
        OSError: the folder cannot be created.
    """
    lock = FileLock(job.folder / LOCK, timeout=LOCK_TIMEOUT)
    for _ in range(MAX_TRIES):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            job.folder.mkdir(parents=True, exist_ok=True)
            return _acquire(lock, job)
    job.folder.mkdir(parents=True, exist_ok=True)  # raises if the name belongs to something else
    return _acquire(lock, job)


def _acquire(lock: BaseFileLock, job: Job) -> contextlib.AbstractContextManager[object]:
    try:
        return lock.acquire()
    except Timeout:
        raise InputError(job.output, f"another job is writing this output{_read_holder(job.folder / LOCK)}") from None


def _remove(folder: Path) -> None:
    """Remove the folder of a finished job, ignoring errors: once its lock is gone, another job may use the folder.

    The lock is removed last, so that the other job finds the folder empty.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name != LOCK:
                remove(path)
        (folder / LOCK).unlink()
        folder.rmdir()


def _read_holder(path: Path) -> str:
    """The holder of the lock, if it has written its name yet."""
    with contextlib.suppress(OSError):
        if holder := path.read_text(errors="replace"):
            return f": {holder}"
    return ""


def _begin(job: Job, resume: bool) -> Job:
    path = job.folder / JOB
    if resume and path.exists():
        return _resume(job)
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
            return _resume(job)
        reason = f"a job is writing this output or was stopped; if it was stopped, remove {job.folder}"
        raise InputError(job.output, reason).suggesting(Remedy("resume", "", "continues it")) from None
    return job


def _resume(job: Job) -> Job:
    path = job.folder / JOB
    try:
        unfinished = read_record(Job, path.read_bytes(), path, FashionError)
    except (OSError, FashionError) as error:
        raise InputError(job.output, f"its unfinished job cannot be read ({error}); {_restart_advice(job)}") from error
    if not unfinished.same(job):
        reason = f"its unfinished job had {_differences(unfinished, job)}; {_restart_advice(job)}"
        refusal = InputError(job.output, reason)
        if unfinished.same(replace(job, model=unfinished.model)):
            refusal.suggesting(Remedy("model", unfinished.model, "resumes it, unless that model was pruned"))
        raise refusal
    return unfinished


def _differences(unfinished: Job, job: Job) -> str:
    """Describe why the unfinished job cannot be resumed."""
    inputs = {(one.source, one.fingerprint) for one in (unfinished, job)}
    found = {
        "another input, or the input changed since": len(inputs) > 1,
        f"another model, {unfinished.model}": unfinished.model != job.model,
        "other options": any(
            getattr(unfinished, name) != getattr(job, name) for name in ("reading", "rejects", "precision")
        ),
        "another version": unfinished.cut != job.cut,
    }
    return ", ".join(reason for reason, differs in found.items() if differs)


def _restart_advice(job: Job) -> str:
    return f"remove {job.folder}" if is_remote(job.folder) else "start it over"


def _encode(job: Job) -> bytes:
    return json.dumps(asdict(job), indent=2).encode()
