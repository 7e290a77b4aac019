"""A lock that lets only one command change a stack."""

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from components.errors import StackError
from ops.layout import StackLayout


@contextlib.contextmanager
def alone(layout: StackLayout) -> Iterator[None]:
    """Context manager that holds the stack's lock.

    Raises:
        StackError: another command holds it.
    """
    layout.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(layout.home / "change.lock", timeout=0):
            yield
    except Timeout as error:
        raise StackError("another 'fashion up' or 'fashion down' is running. Wait until it ends") from error
