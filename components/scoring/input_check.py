"""The look at the first rows, beside the scoring: what cannot be right stops the job before anything is written.

Great Expectations looks, in a process of its own: its import takes seconds in which it would hold up every thread of
this one. Fewer than a hundred rows are scored by then: `inspect_images` looks at them, in this process.
"""

import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import IO, Literal, cast

import numpy as np

from components.catalogues import catalogue_of
from components.catalogues.catalogue import InputBounds
from components.contract import DataContract, Images
from components.errors import FashionError, InputError, Remedy
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.scoring import expectations
from components.scoring.sanity import Finding, inspect_images
from components.settings import CHECKOUT

Mode = Literal["fail", "warn", "off"]
Look = Callable[[bool], tuple[str, ...]]  # the warnings that there are; told to, it waits for them
MIN_ROWS, MAX_ROWS = 100, 5000  # that Great Expectations looks at
ENOUGH_PICTURES = MIN_ROWS  # likewise, of picture files: a photo takes as long to read as a thousand rows
SAMPLE_BYTES = 12 << 20  # of them as CSV
GO_ON = Remedy("check", "warn", "scores it all the same")
UNSEEN = Remedy("check", "off", "scores without it")


class InputChecker:
    """A process that looks, as often as it is asked; it is started for the first look, or before, by `start`."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115, `close` closes it

    def start(self) -> subprocess.Popen[bytes]:
        """Have it import Great Expectations, which takes it seconds; it is not waited for."""
        if self.process is None:
            command = [sys.executable, "-m", expectations.__name__]
            self.process = subprocess.Popen(command, cwd=CHECKOUT, stdin=PIPE, stdout=PIPE, stderr=self.errors)
        return self.process

    def look_at(self, images: Images, bounds: InputBounds) -> tuple[Finding, ...]:
        """What `check_images` says of them; of fewer than 100, what `inspect_images` does.

        Args:
            images: uint8 (n, height, width[, 3]).
            bounds: what is usual.

        Raises:
            FashionError: it says nothing.
        """
        if len(images) < MIN_ROWS:
            return inspect_images(images, bounds)
        process = self.start()
        asked, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        with contextlib.suppress(BrokenPipeError):  # no answer comes, then
            asked.write(expectations.ask(images, bounds))
            asked.flush()
        if not (told := answers.readline()):
            self.errors.seek(0)
            said = (self.errors.read().decode("utf-8", "replace").splitlines() or [f"exit status {process.wait()}"])[-1]
            raise FashionError(f"the look at the first rows failed: {said}").suggesting(UNSEEN)
        return tuple(Finding(**finding) for finding in json.loads(told))

    def close(self) -> None:
        """End it."""
        self.errors.close()
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@contextlib.contextmanager
def checking(
    source: Path, reading: TableReading, mode: Mode, contract: DataContract, checker: InputChecker | None = None
) -> Iterator[Look]:
    """Look at the first rows of an input meanwhile.

    Args:
        source, reading: the input.
        mode: "fail": stop where the rows cannot be right; "warn": only tell it; "off": do not look.
        contract: what the input is about.
        checker: who looks; it stays the caller's. None: one that ends with the block.

    Yields:
        A function that gives the warnings that there are; told to, it waits for them.

    Raises:
        InputError: from that function, where `mode` is "fail" and the rows cannot be right.
        FashionError: from that function, where nobody could look.
    """
    if mode == "off":
        yield unchecked
        return
    with contextlib.ExitStack() as stack:
        own = checker or stack.enter_context(contextlib.closing(InputChecker()))
        pool = stack.enter_context(ThreadPoolExecutor(1, "check"))
        future = pool.submit(lambda: own.look_at(read_first(source, reading, contract), catalogue_of(contract).inputs))

        def look(wait: bool) -> tuple[str, ...]:
            if not (wait or future.done()):
                return ()
            found = future.result()
            if mode == "fail" and (wrong := [one.message for one in found if one.is_wrong]):
                raise InputError(source.name, "; ".join(wrong)).suggesting(GO_ON)
            return tuple(one.message for one in found)

        yield look


def unchecked(wait: bool) -> tuple[str, ...]:
    """No warnings, where nothing was looked at."""
    return ()


def read_first(source: Path, reading: TableReading, contract: DataContract) -> Images:
    """The images of the first rows that can be read, uint8 (n, height, width[, 3]), n at most 5,000.

    Raises:
        InputError: the input cannot be read.
    """
    read = open_input(source, replace(reading, part=min(reading.part, SAMPLE_BYTES)), contract)
    found, rows = list[Images](), 0
    for block in itertools.chain.from_iterable(map(read.read, read.parts())):
        found.append(block.shown)
        rows += len(found[-1])
        if rows >= (MAX_ROWS if block.views is None else ENOUGH_PICTURES):
            break
    return np.concatenate(found)[:MAX_ROWS] if found else np.empty((0, *contract.image.shape), np.uint8)
