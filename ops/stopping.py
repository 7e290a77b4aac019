"""Ctrl-C, SIGTERM and SIGHUP end a command within two seconds, with one line that says what is kept.

The first signal raises KeyboardInterrupt, so that the command cleans up as after an error. Code that waits for a thread
or for another process may not notice: its child processes are killed after a while, and in the end this process leaves
without it. A second signal ends it at once. A file is written whole or not at all, so that nothing is half there.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHILDREN = 0.5  # seconds after the signal until child processes are killed
END = 1.0  # seconds after the signal until this process ends, whatever it does


class Stop:
    """The stop of this process: whether one was asked for, and what it leaves."""

    def __init__(self) -> None:
        self.number = 0  # of the signal; 0: none came
        self.kept = "nothing is half-written; the same command starts again"
        self.command = ""  # that resumes, once there is something to resume
        self.can_resume = False
        self.spared: list[int] = []  # child processes that are needed until the end, and end by themselves
        self.last: list[Callable[[], None]] = []  # called in the end, however it comes to that
        self.is_raised = False
        self.leaving = threading.Lock()

    def listen(self) -> None:
        """Take the signals, except for those that this process was started to ignore, as by nohup."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forget)
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._raise)
        threading.Thread(target=self._watch, args=(reading,), name="stop", daemon=True).start()

    def keep(self, kept: str, can_resume: bool = False) -> None:
        """Note what a stop leaves from now on."""
        self.kept, self.can_resume = kept, can_resume

    def leave(self) -> None:
        """Say what is kept, and end this process with the status that shells give to the signal."""
        self.leaving.acquire()  # the thread that comes second waits here until the process is gone
        for call in self.last:
            with contextlib.suppress(Exception):
                call()
        _kill_children([])
        resume = f" To resume: {self.command}" if self.command and self.can_resume else ""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            start = "\n" if sys.stderr.isatty() else ""  # after the terminal's ^C
            print(
                f"{start}stopped by {signal.Signals(self.number).name}: {self.kept}.{resume}",
                file=sys.stderr,
                flush=True,
            )
        os._exit(128 + self.number)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self._begin(number)
        if not self.is_raised:
            self.is_raised = True
            raise KeyboardInterrupt

    def _begin(self, number: int) -> None:
        self.number = self.number or number
        logging.disable()  # Prefect logs a page about a run that is interrupted

    def _watch(self, reading: int) -> None:
        """Python calls handlers between two steps of the main thread, which may be in one for long."""
        self._begin(_next_signal(reading))
        began = time.monotonic()
        if not _next_signal(reading, CHILDREN):
            _kill_children(self.spared)
            _next_signal(reading, began + END - time.monotonic())
        self.leave()


def _next_signal(reading: int, timeout: float | None = None) -> int:
    """Wait for the next of our signals; 0: none came. The pipe has the number of every signal that Python handles."""
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            return 0
        if (number := os.read(reading, 1)[0]) in SIGNALS:
            return number


def _kill_children(spared: list[int]) -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        if child.pid not in spared:
            with contextlib.suppress(psutil.Error):
                child.kill()


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _forget() -> None:
    """A forked child has the pipe too, and would report its own signals as its parent's."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    _release()


stop = Stop()
