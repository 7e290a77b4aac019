"""The command line: `fashion` or `python -m flows`. Each command imports what it needs, so that help comes at once."""

import os
import sys

import typer

from components.errors import FashionError
from flows.commands import audit, inbox, labels, models, monitoring, notify, retention, stack, sweep, training, use
from flows.commands.advice import advising
from flows.environment import prepare

app = typer.Typer(
    name="fashion",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Classify product photos: ingest, validate, train, promote, serve, score.",
)

STOPPED = 130  # the exit status of a command that Ctrl-C ended, as shells have it
UNREACHABLE = "Failed to reach API at "  # Prefect's words before the address

COMMANDS = (
    training.ingest,
    training.validate,
    audit.audit,
    training.train,
    sweep.sweep,
    training.presets,
    models.models,
    models.promote,
    models.verdict,
    models.rollback,
    models.history,
    retention.prune,
    retention.pin,
    retention.unpin,
    models.report,
    models.impact,
    use.export,
    use.score,
    inbox.inbox,
    monitoring.drift,
    use.serve,
    use.bento,
    notify.notify,
    stack.up,
    stack.status,
    stack.down,
)
for command in COMMANDS:
    app.command()(advising(command))
app.add_typer(labels.label)


def main() -> None:
    """Run a command; an error that was foreseen is one line and status 1."""
    prepare()
    try:
        app(prog_name="fashion")
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except (FashionError, OSError) as error:
        sys.exit(_tell("; ".join(filter(None, [str(error), *getattr(error, "__notes__", [])]))))
    except Exception as error:
        if os.environ.get("FASHION_DEBUG"):
            raise
        first_line = next(iter(str(error).splitlines()), "")
        _, unreachable, server = first_line.partition(UNREACHABLE)
        if unreachable:
            server = server.rstrip("./")
            told = f"no Prefect server answers at {server}; start it (make up), or unset PREFECT_API_URL to do without"
        else:
            told = f"{type(error).__name__}: {first_line}; FASHION_DEBUG=1 shows where"
        sys.exit(_tell(told))


def _tell(error: str) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
