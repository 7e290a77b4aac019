"""Running a command: errors, signals and the exit status."""

import gc
import json
import os
import sys

from ops.environment import prepare
from ops.stopping import stop

UNREACHABLE = "Failed to reach API at "  # Prefect's words before the address
MISUSED = 2  # the status of a command line that cannot be parsed
FEW_COLLECTIONS = 50_000  # objects; imports make a million, and looking at them often takes an eighth of the time


def main() -> None:
    """Run a command, until it ends or a signal stops it."""
    gc.set_threshold(FEW_COLLECTIONS)
    try:
        stop.listen()
        run_command()
    finally:
        gc.freeze()  # else the interpreter goes through all objects as it ends, which adds over a second to a training
        if stop.number:
            stop.leave()


def run_command() -> None:
    """Run the command in the arguments; an expected error is one line and status 1.

    With --json among the arguments the error is also one JSON object on standard output: {"error": "..."}.

    Raises:
        SystemExit: always, with the status.
    """
    from components.errors import FashionError, explain

    try:
        prepare()
        from fashion.cli.app import app

        sys.exit(app(prog_name="fashion", standalone_mode=False) or 0)
    except (FashionError, OSError) as error:
        message = explain(error) if isinstance(error, OSError) else str(error)
        sys.exit(_report("; ".join([message, *getattr(error, "__notes__", [])])))
    except Exception as error:
        if show := getattr(error, "show", None):  # Typer's: a command line that cannot be parsed
            show()
            _report_as_json(getattr(error, "format_message", error.__str__)())
            sys.exit(MISUSED)
        if os.environ.get("FASHION_DEBUG"):
            raise
        sys.exit(_report(_explain_unexpected(error)))


def _explain_unexpected(error: Exception) -> str:
    first_line = next(iter(str(error).splitlines()), "")
    _, unreachable, server = first_line.partition(UNREACHABLE)
    if unreachable:
        server = server.rstrip("./")
        return f"the Prefect server at {server} no longer answers. Start it, then run the same command again"
    return f"{type(error).__name__}: {first_line}. Run it again with FASHION_DEBUG=1 to see the traceback"


def _report(error: str) -> int:
    print(f"error: {error}", file=sys.stderr)
    _report_as_json(error)
    return 1


def _report_as_json(error: str) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": error}))
