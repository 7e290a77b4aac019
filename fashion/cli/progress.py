"""Progress on a terminal; elsewhere, and with --quiet, nothing is drawn."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


def is_shown() -> bool:
    """Whether anyone watches."""
    return sys.stderr.isatty() and not os.environ.get("FASHION_QUIET")


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner with the time passed while something takes seconds that cannot be counted."""
    if not is_shown():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(what, total=None)
        yield


class Bar:
    """A bar with the time left, for `update(done, total)` to move."""

    def __init__(self, what: str, unit: str = "") -> None:
        """Nothing is drawn before the first update.

        Args:
            what: what takes the time, before the bar.
            unit: what is counted.
        """
        self.what, self.unit = what, unit
        self.bar: Any = None

    def update(self, done: int, total: int) -> None:
        """Move to `done` of `total`."""
        if not is_shown():
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=self.what, unit=self.unit, file=sys.stderr, leave=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Remove it."""
        if self.bar is not None:
            self.bar.close()
