"""One command at a time changes a stack."""

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from components.errors import StackError
from ops.layout import StackLayout


@contextlib.contextmanager
def alone(layout: StackLayout) -> Iterator[None]:
    """Hold the stack's lock while the block lasts.

    Raises:
        StackError: another command holds it.
    """
    layout.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(layout.home / "change.lock", timeout=0):
            yield
    except Timeout as error:
        raise StackError("another 'make up' or 'make down' is at work on this stack") from error
