"""A console log handler for runs that survives a broken pipe.

A worker reads the output of its runs through pipes. If the worker is killed, the next line that a run logs hits a
broken pipe, and Rich, which Prefect's handler uses, exits the program.
"""

import logging
import os
import sys

from prefect.logging.handlers import PrefectConsoleHandler


class LastingConsole(PrefectConsoleHandler):
    """Prefect's handler, which falls silent after a broken pipe; the server still receives the log lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, or fall silent if the pipe is broken."""
        try:
            super().emit(record)
        except SystemExit:
            silence()


def silence() -> None:
    """Redirect standard output and standard error of this process to /dev/null."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(null, stream.fileno())
    os.close(null)
