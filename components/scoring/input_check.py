"""The input sanity check on the first rows, concurrent with the scoring. Wrong images stop the job before any output.

Great Expectations runs in a separate process, because its import would block every thread of this one for seconds.
Fewer than 100 rows would be scored by then, so `inspect_images` checks them in this process instead.
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
from components.contract import DataContract, Images, pictures_of
from components.errors import FashionError, InputError, Remedy
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.scoring import expectations
from components.scoring.sanity import Finding, inspect_images
from components.settings import CHECKOUT

Mode = Literal["fail", "warn", "off"]
GetWarnings = Callable[[bool], tuple[str, ...]]  # the warnings so far; with True, waits for the check to finish
MIN_ROWS, MAX_ROWS = 100, 5000  # rows that Great Expectations checks
ENOUGH_PICTURES = MIN_ROWS  # picture files to check: reading a photo takes as long as reading a thousand rows
SAMPLE_BYTES = 12 << 20  # of CSV to read for the check
WARN_ONLY = Remedy("check", "warn", "scores the input anyway")
SKIP_CHECK = Remedy("check", "off", "skips the check")


class InputChecker:
    """A reusable process that runs the input sanity check. It starts with the first check, or earlier with `start`."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115, `close` closes it

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting; it spends seconds importing Great Expectations."""
        if self.process is None:
            command = [sys.executable, "-m", expectations.__name__]
            self.process = subprocess.Popen(command, cwd=CHECKOUT, stdin=PIPE, stdout=PIPE, stderr=self.errors)
        return self.process

    def check(self, images: Images, bounds: InputBounds) -> tuple[Finding, ...]:
        """Run `check_images` in the process, or `inspect_images` here for fewer than 100 images.

        Args:
            images: uint8 (n, height, width[, 3]).
            bounds: the usual range of each measure.

        Raises:
            FashionError: the process failed.
        """
        if len(images) < MIN_ROWS:
            return inspect_images(images, bounds)
        process = self.start()
        requests, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        with contextlib.suppress(BrokenPipeError):  # the missing answer is handled below
            requests.write(expectations.encode_request(images, bounds))
            requests.flush()
        if not (answer := answers.readline()):
            self.errors.seek(0)
            lines = self.errors.read().decode("utf-8", "replace").splitlines()
            reason = (lines or [f"exit status {process.wait()}"])[-1]
            raise FashionError(f"the input sanity check failed to run: {reason}").suggesting(SKIP_CHECK)
        return tuple(Finding(**finding) for finding in json.loads(answer))

    def close(self) -> None:
        """End the process."""
        self.errors.close()
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@contextlib.contextmanager
def checking(
    source: Path, reading: TableReading, mode: Mode, contract: DataContract, checker: InputChecker | None = None
) -> Iterator[GetWarnings]:
    """Check the first rows of an input in the background while the block runs.

    Args:
        source, reading: the input.
        mode: "fail" raises an error if the rows are wrong, "warn" returns warnings, "off" skips the check.
        contract: the data contract of the input.
        checker: runs the check and stays open; None creates one that ends with the block.

    Yields:
        A function that returns the warnings so far; called with True, it waits for the check to finish.

    Raises:
        InputError: raised by that function if `mode` is "fail" and the rows are wrong.
        FashionError: raised by that function if the check could not run.
    """
    if mode == "off":
        yield no_warnings
        return
    with contextlib.ExitStack() as stack:
        own = checker or stack.enter_context(contextlib.closing(InputChecker()))
        pool = stack.enter_context(ThreadPoolExecutor(1, "check"))
        future = pool.submit(lambda: own.check(read_first(source, reading, contract), catalogue_of(contract).inputs))

        def get_warnings(wait: bool) -> tuple[str, ...]:
            if not (wait or future.done()):
                return ()
            found = future.result()
            if mode == "fail" and (wrong := [one.message for one in found if one.is_wrong]):
                raise InputError(source.name, "; ".join(wrong)).suggesting(WARN_ONLY)
            return tuple(one.message for one in found)

        yield get_warnings


def no_warnings(wait: bool) -> tuple[str, ...]:
    """No warnings, because the check is off."""
    return ()


def read_first(source: Path, reading: TableReading, contract: DataContract) -> Images:
    """Read the pictures of the first readable rows, uint8 (n, height, width[, 3]), n at most 5,000.

    Raises:
        InputError: the input cannot be read.
    """
    read = open_input(source, replace(reading, part=min(reading.part, SAMPLE_BYTES)), contract)
    found, rows = list[Images](), 0
    for block in itertools.chain.from_iterable(map(read.read, read.parts())):
        found.append(pictures_of(block.shown))
        rows += len(found[-1])
        if rows >= (MAX_ROWS if block.views is None else ENOUGH_PICTURES):
            break
    return np.concatenate(found)[:MAX_ROWS] if found else np.empty((0, *contract.image.shape), np.uint8)
