"""All errors that this project raises on purpose.

A message says what failed, what was found, what was expected and what to do. The command line prints it on one line
and exits with status 1; the service responds with the HTTP status in brackets.

    FashionError
    ├── SettingsError         an option or setting is invalid
    ├── SourceError           raw data is damaged, unknown or has the wrong shape
    │   └── SourceUnreachable no source of raw data can be reached
    ├── DatasetError          a dataset on disk is missing, damaged or modified
    ├── ValidationError       data does not meet an expectation
    ├── TrainingError         a training run cannot produce a usable model
    │   └── TrainingDiverged  the loss is not finite
    ├── ModelError            a stored model is damaged or does not fit the contract
    │   ├── ModelNotFound     no model has that tag
    │   └── NoLiveModel       no model is live, or the pointer cannot be read   (503)
    ├── NeighboursError       an index of neighbours is missing, damaged or of another model
    ├── StackError            a server or worker of the stack does not start
    ├── NotificationFailed    a notification could not be delivered
    ├── ReviewError           an image of the review queue is damaged, or is no longer this person's
    ├── PromotionRefused      the gate rejected a challenger
    │   └── LiveModelChanged  another model went live in the meantime; retry
    └── InputError            images or a table from the caller are invalid     (400)
        ├── UnknownClass      a label is not a class
        └── InputTooLarge     the input exceeds the stated limit                (413)
"""

import errno
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Remedy:
    """A parameter that could resolve an error: a command-line option, a query parameter or an argument.

    The code that raises an error does not know its caller, so each caller phrases the remedies that it offers.
    """

    parameter: str  # "drop"
    value: str  # "image"
    effect: str  # "reads the pixels"; continues a sentence that starts with the parameter


class FashionError(Exception):
    """Base of every error raised on purpose."""

    remedies: tuple[Remedy, ...] = ()

    def suggesting(self, *remedies: Remedy) -> Self:
        """Attach remedies and return the same error."""
        self.remedies = remedies
        return self


class SettingsError(FashionError):
    """An option or setting is invalid."""


class SourceError(FashionError):
    """Raw data is damaged, unknown or has the wrong shape."""


class SourceUnreachable(SourceError):
    """No source of raw data can be reached; retrying later may help."""


class DatasetError(FashionError):
    """A dataset on disk is missing, damaged or was modified after it was written."""


@dataclass(frozen=True)
class BrokenExpectation:
    """One expectation that the data does not meet."""

    where: str  # the split, or "dataset"
    expectation: str  # e.g. "expect_column_values_to_be_between(edge)"
    expected: str
    observed: str
    rows: tuple[str, ...]  # IDs of at most ten failing rows; empty if the expectation is about the whole dataset

    def __str__(self) -> str:
        rows = f"; rows {', '.join(self.rows)}" if self.rows else ""
        return f"{self.where}: {self.expectation}: expected {self.expected}, observed {self.observed}{rows}"


class ValidationError(FashionError):
    """Data does not meet at least one expectation; `broken` lists them all, and `page` shows them with images."""

    def __init__(
        self, version: str, broken: tuple[BrokenExpectation, ...], advice: str = "", page: Path | None = None
    ) -> None:
        self.broken, self.page = broken, page
        lines = "".join(f"\n  - {item}" for item in broken) + (f"\n{advice}" if advice else "")
        lines += f"\nValidation page: {page}" if page else ""
        super().__init__(f"dataset {version} breaks {len(broken)} expectation(s), so nothing was trained:{lines}")


class TrainingError(FashionError):
    """A training run cannot produce a usable model."""


class TrainingDiverged(TrainingError):
    """The loss is not finite; continuing or resuming would not help."""


class ModelError(FashionError):
    """A stored model is damaged or does not fit the contract."""


class ModelNotFound(ModelError):
    """The store has no model with that exact tag."""


class NoLiveModel(ModelError):
    """No model is live, or the live-model pointer cannot be read."""


class NeighboursError(FashionError):
    """An index of neighbours is missing, damaged, too large or of another model."""


class ReviewError(FashionError):
    """An image of the review queue is damaged, or is no longer this person's."""


class PromotionRefused(FashionError):
    """The gate rejected a challenger."""


class LiveModelChanged(PromotionRefused):
    """Another model went live while a challenger was being evaluated."""


class StackError(FashionError):
    """A component of the stack does not start or is unhealthy."""


class NotificationFailed(FashionError):
    """A notification could not be delivered; the event it reports is unaffected."""


class InputError(FashionError):
    """Images or a table from the caller are invalid; `field` names the place."""

    def __init__(self, field: str, reason: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(f"{field}: {reason}")

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str], dict[str, object]]:
        """Pickle both arguments, so that the error can cross process boundaries."""
        return type(self), (self.field, self.reason), {"remedies": self.remedies}


class UnknownClass(InputError):
    """A label is not a class; `name` is its text, or "" for a number or an empty label."""

    def __init__(self, field: str, reason: str, name: str = "") -> None:
        self.name = "" if name.isdecimal() else name
        super().__init__(field, reason)


class InputTooLarge(InputError):
    """The input exceeds the stated limit."""


ELSEWHERE = "or choose another location"
DISK_ERRORS = {
    errno.ENOSPC: ("the disk is full", f"Free some space, {ELSEWHERE}"),
    errno.EDQUOT: ("the disk quota is used up", f"Free some space, {ELSEWHERE}"),
    errno.EFBIG: ("the file would be larger than allowed", f"Raise the limit (ulimit -f), {ELSEWHERE}"),
    errno.EROFS: ("the file system is read-only", f"Mount it for writing, {ELSEWHERE}"),
    errno.EACCES: ("permission denied", f"Give user {os.geteuid()} access, {ELSEWHERE}"),
    errno.EPERM: ("operation not permitted", f"Give user {os.geteuid()} access, {ELSEWHERE}"),
    errno.EMFILE: ("this process has too many open files", "Raise the limit: ulimit -n"),
    errno.ENFILE: ("the system has too many open files", "Close other programs, or raise fs.file-max"),
    errno.ENAMETOOLONG: ("the name is too long", "A name has at most 255 bytes, a path 4,095"),
    errno.ENOENT: ("no such file or folder", "Check the path"),
    errno.EEXIST: ("the name already exists", f"Move it away, {ELSEWHERE}"),
    errno.ENOTDIR: ("a folder in this path is a file", "Check the path"),
    errno.EISDIR: ("a folder, expected a file", "Check the path"),
    errno.ELOOP: ("a link that points to itself", "Check the path"),
    errno.EIO: ("the disk reports an input/output error", "Check the disk and the system log"),
    errno.ESTALE: ("stale file handle of a network file system", "Mount it again"),
}


def explain(error: OSError) -> str:
    """Describe an operating system error on one line: the path, what is wrong, and what to do."""
    if isinstance(error, shutil.Error):  # from copying a folder: (source, target, error text) of each file
        _, copy, reason = error.args[0][0]
        number = re.match(r"\[Errno (\d+)\]", reason)
        return explain(OSError(int(number[1]), "", copy)) if number else f"{copy}: {reason}"
    if error.errno is None:
        return " ".join(str(error).split())
    found, advice = DISK_ERRORS.get(error.errno, (os.strerror(error.errno), ""))
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return f"{where or 'the system'}: {found}" + (f". {advice}" if advice else "")
