"""End a command within two seconds after Ctrl-C, SIGTERM or SIGHUP, with one line that says what is saved.

The first signal raises KeyboardInterrupt, so that the command cleans up as after an error. Code that waits for a thread
or a process may not notice it: its child processes are killed after 0.5 s, and this process exits after 1 s. A second
signal ends it at once. Files are written atomically, so no partial files remain.
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
CHILDREN = 0.5  # seconds from the signal until child processes are killed
END = 1.0  # seconds from the signal until this process exits


class Stop:
    """Handles the stop signals of this process and knows what to report."""

    def __init__(self) -> None:
        self.number = 0  # of the signal received; 0: none
        self.kept = "no partial files remain; run the same command again"
        self.command = ""  # command that resumes
        self.can_resume = False
        self.spared: list[int] = []  # child processes needed until the end, which end by themselves
        self.last: list[Callable[[], None]] = []  # called before the exit
        self.is_raised = False
        self.leaving = threading.Lock()

    def listen(self) -> None:
        """Install the handlers, except for signals that this process inherited as ignored, as under nohup."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forget)
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._raise)
        threading.Thread(target=self._watch, args=(reading,), name="stop", daemon=True).start()

    def keep(self, kept: str, can_resume: bool = False) -> None:
        """Set the text that a stop reports from now on."""
        self.kept, self.can_resume = kept, can_resume

    def leave(self) -> None:
        """Print what is saved, and exit with the status that shells use for the signal."""
        self.leaving.acquire()  # a second thread waits here until the process exits
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
        logging.disable()  # Prefect logs a long traceback for an interrupted run

    def _watch(self, reading: int) -> None:
        """Watch from a thread, because Python runs handlers only in the main thread, which may be blocked."""
        self._begin(_next_signal(reading))
        began = time.monotonic()
        if not _next_signal(reading, CHILDREN):
            _kill_children(self.spared)
            _next_signal(reading, began + END - time.monotonic())
        self.leave()


def _next_signal(reading: int, timeout: float | None = None) -> int:
    """Wait for the next of `SIGNALS`; 0 on timeout. The pipe receives every signal that Python handles."""
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
    """Reset the handlers in a forked child, which shares the pipe and would report its signals as the parent's."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    _release()


stop = Stop()
