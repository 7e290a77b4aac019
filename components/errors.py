"""Every error this project raises on purpose.

A message says where, what was found, what was expected and what to do. The command line prints it as one line
and exits with status 1; the service answers with the status beside it.

    FashionError
    ├── SettingsError         an option or setting that cannot be used
    ├── SourceError           raw data that is damaged, foreign or of the wrong shape
    │   └── SourceUnreachable no raw data could be reached at all
    ├── DatasetError          a dataset on disk that is missing or changed since it was written
    ├── ValidationError       data that breaks an expectation
    ├── TrainingError         a training that cannot give a usable model
    │   └── TrainingDiverged  its loss is not finite
    ├── ModelError            a stored model that is damaged or does not fit
    │   ├── ModelNotFound     no model under that tag
    │   └── NoLiveModel       nothing is live, or the pointer cannot be read     (503)
    ├── StackError            a server or worker of the stack that does not come up
    ├── NotificationFailed    a message that could not be delivered
    ├── PromotionRefused      the gate said no
    │   └── LiveModelChanged  another model went live meanwhile; asking again may help
    └── InputError            a caller's images or table are wrong              (400)
        ├── UnknownClass      a label that names no class
        └── InputTooLarge     more than the stated limit                        (413)
"""

import errno
import os
import re
import shutil
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Remedy:
    """A parameter that a caller may have, and what it would change: an option, a query parameter, an argument.

    The code that raises an error does not know its caller. Each caller puts into words the remedies that it has.
    """

    parameter: str  # "drop"
    value: str  # "image"
    effect: str  # "reads the pixels"; the parameter is its subject


class FashionError(Exception):
    """Base of every error raised on purpose."""

    remedies: tuple[Remedy, ...] = ()

    def suggesting(self, *remedies: Remedy) -> Self:
        """The same error, with remedies out of it."""
        self.remedies = remedies
        return self


class SettingsError(FashionError):
    """An option or setting that cannot be used."""


class SourceError(FashionError):
    """Raw data that is damaged, foreign or of the wrong shape."""


class SourceUnreachable(SourceError):
    """No raw data could be reached; trying again later may help."""


class DatasetError(FashionError):
    """A dataset on disk that is missing, damaged or changed since it was written."""


@dataclass(frozen=True)
class BrokenExpectation:
    """One expectation that the data breaks, in words a person can act on."""

    where: str  # the split, or "dataset"
    expectation: str  # e.g. "expect_column_values_to_be_between(edge)"
    expected: str
    observed: str
    rows: tuple[str, ...]  # ids of up to ten rows that break it; empty where it is about the whole

    def __str__(self) -> str:
        rows = f"; rows {', '.join(self.rows)}" if self.rows else ""
        return f"{self.where}: {self.expectation}: expected {self.expected}, observed {self.observed}{rows}"


class ValidationError(FashionError):
    """Data that breaks at least one expectation; `broken` holds them all."""

    def __init__(self, version: str, broken: tuple[BrokenExpectation, ...], advice: str = "") -> None:
        self.broken = broken
        lines = "".join(f"\n  - {item}" for item in broken) + (f"\n{advice}" if advice else "")
        super().__init__(f"dataset {version} breaks {len(broken)} expectation(s), so nothing was trained:{lines}")


class TrainingError(FashionError):
    """A training that cannot give a usable model."""


class TrainingDiverged(TrainingError):
    """The loss is not finite; going on or resuming would not help."""


class ModelError(FashionError):
    """A stored model that is damaged or does not fit the contract."""


class ModelNotFound(ModelError):
    """No model in the store under that exact tag."""


class NoLiveModel(ModelError):
    """Nothing is live, or the live-model pointer cannot be read."""


class PromotionRefused(FashionError):
    """The gate refused a challenger."""


class LiveModelChanged(PromotionRefused):
    """Another model went live while a challenger was judged."""


class StackError(FashionError):
    """A piece of the stack does not come up, or is not well."""


class NotificationFailed(FashionError):
    """Nobody could be told; what the message was about is done all the same."""


class InputError(FashionError):
    """A caller's images or table are wrong; `field` names the place."""

    def __init__(self, field: str, reason: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(f"{field}: {reason}")

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str], dict[str, object]]:
        """Of its two arguments, so that it comes whole from another process."""
        return type(self), (self.field, self.reason), {"remedies": self.remedies}


class UnknownClass(InputError):
    """A label names a class that there is not; `name` is what it says, "" of a number or of nothing."""

    def __init__(self, field: str, reason: str, name: str = "") -> None:
        self.name = "" if name.isdecimal() else name
        super().__init__(field, reason)


class InputTooLarge(InputError):
    """A caller sent more than the stated limit."""


ELSEWHERE = "or name another place"
OF_THE_DISK = {
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
    errno.EEXIST: ("something of that name is there already", f"Move it away, {ELSEWHERE}"),
    errno.ENOTDIR: ("a folder in this path is a file", "Check the path"),
    errno.EISDIR: ("a folder, expected a file", "Check the path"),
    errno.ELOOP: ("a link that leads to itself", "Check the path"),
    errno.EIO: ("the disk reports an input/output error", "Check the disk and the system's log"),
    errno.ESTALE: ("the network file system no longer has it", "Mount it again"),
}


def explain(error: OSError) -> str:
    """An error of the operating system in one line: the path, what is wrong with it, and what to do."""
    if isinstance(error, shutil.Error):  # of a folder's copy: (from, to, the text of an error) of each file
        _, copy, reason = error.args[0][0]
        number = re.match(r"\[Errno (\d+)\]", reason)
        return explain(OSError(int(number[1]), "", copy)) if number else f"{copy}: {reason}"
    if error.errno is None:
        return " ".join(str(error).split())
    found, advice = OF_THE_DISK.get(error.errno, (os.strerror(error.errno), ""))
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return f"{where or 'the system'}: {found}" + (f". {advice}" if advice else "")
