"""What a run prints, where nobody may be left to read it.

A worker reads its runs' output through pipes. Once it was killed, the next line that a run logs meets a broken pipe,
which Rich, in Prefect's handler, answers with the end of the program.
"""

import logging
import os
import sys

from prefect.logging.handlers import PrefectConsoleHandler


class LastingConsole(PrefectConsoleHandler):
    """Prefect's handler, which goes on in silence after its reader; the server has the lines all the same."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it, if anybody reads."""
        try:
            super().emit(record)
        except SystemExit:
            silence()


def silence() -> None:
    """Let nothing that this process prints from now on meet a broken pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
