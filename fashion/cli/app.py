"""What `fashion` can do. Each command imports what it needs, so that help comes at once."""

import typer

from fashion.cli import (
    audit,
    classes,
    inbox,
    labels,
    models,
    monitoring,
    notify,
    retention,
    stack,
    sweep,
    training,
    use,
)
from fashion.cli.advice import advising

app = typer.Typer(
    name="fashion",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Classify product photos: ingest, validate, train, promote, serve, score.",
)

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
app.add_typer(classes.classes)
