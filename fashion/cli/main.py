"""Running a command: errors, signals and the exit status."""

import os
import sys

from ops.environment import prepare
from ops.stopping import stop

UNREACHABLE = "Failed to reach API at "  # Prefect's words before the address


def main() -> None:
    """Run a command, until it ends or a signal stops it."""
    try:
        stop.listen()
        run_command()
    finally:
        if stop.number:
            stop.leave()


def run_command() -> None:
    """Run the command that the arguments say; an error that was expected is one line and status 1.

    Raises:
        SystemExit: always, with the status.
    """
    prepare()
    from components.errors import FashionError, explain
    from fashion.cli import app

    try:
        app.app(prog_name="fashion")
    except (FashionError, OSError) as error:
        told = explain(error) if isinstance(error, OSError) else str(error)
        sys.exit(_tell("; ".join([told, *getattr(error, "__notes__", [])])))
    except Exception as error:
        if os.environ.get("FASHION_DEBUG"):
            raise
        first_line = next(iter(str(error).splitlines()), "")
        _, unreachable, server = first_line.partition(UNREACHABLE)
        if unreachable:
            server = server.rstrip("./")
            told = f"the Prefect server at {server} no longer answers. Start it, then run the same command again"
        else:
            told = f"{type(error).__name__}: {first_line}; FASHION_DEBUG=1 shows where"
        sys.exit(_tell(told))


def _tell(error: str) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 1
