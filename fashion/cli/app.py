"""The `fashion` command: its groups, and what each command is an example of.

Each command imports what it needs when it runs, so that help is instant.
"""

import os
from collections.abc import Callable
from typing import Annotated, NamedTuple

import typer

from fashion.cli import (
    audit,
    classes,
    doctor,
    inbox,
    init,
    labels,
    models,
    monitoring,
    notify,
    predict,
    probation,
    retention,
    review,
    shadow,
    similar,
    slices,
    stack,
    sweep,
    training,
    use,
)
from fashion.cli.advice import advising
from fashion.cli.help import MARKUP, SETTINGS, Grouped, show_example


class Entry(NamedTuple):
    """A command, and an example of it that can be typed as it is."""

    function: Callable[..., None]
    example: str


GROUPS: dict[str, tuple[Entry, ...]] = {
    "Data": (
        Entry(init.init, "fashion init shop"),
        Entry(training.ingest, "fashion ingest --source sample"),
        Entry(training.validate, "fashion validate"),
        Entry(audit.audit, "fashion audit"),
    ),
    "Train": (
        Entry(training.train, "fashion train --preset quick --source sample"),
        Entry(sweep.sweep, "fashion sweep --presets quick,dense-128 --seeds 0,1,2"),
        Entry(training.presets, "fashion presets"),
    ),
    "Release": (
        Entry(models.models, "fashion models"),
        Entry(models.report, "fashion report latest"),
        Entry(slices.slices, "fashion slices latest"),
        Entry(models.verdict, "fashion verdict latest"),
        Entry(models.impact, "fashion impact latest"),
        Entry(shadow.shadow, "fashion shadow latest --share 0.1"),
        Entry(models.promote, "fashion promote latest"),
        Entry(models.rollback, "fashion rollback --reason 'too many shirts'"),
        Entry(models.history, "fashion history"),
        Entry(retention.pin, "fashion pin live --reason 'the summer sale'"),
        Entry(retention.unpin, "fashion unpin live"),
        Entry(retention.prune, "fashion prune --keep 5 --dry-run"),
    ),
    "Predict and serve": (
        Entry(predict.predict, "fashion predict boot.jpg"),
        Entry(use.score, "fashion score catalogue.csv predictions.csv"),
        Entry(inbox.inbox, "fashion inbox"),
        Entry(use.serve, "fashion serve --port 3000"),
        Entry(use.bento, "fashion bento live"),
        Entry(use.export, "fashion export live --precision int8"),
    ),
    "Operate": (
        Entry(stack.up, "fashion up"),
        Entry(stack.status, "fashion status"),
        Entry(stack.down, "fashion down"),
        Entry(monitoring.drift, "fashion drift --hours 48"),
        Entry(probation.probation, "fashion probation --check"),
        Entry(notify.notify, "fashion notify --test"),
        Entry(doctor.doctor, "fashion doctor"),
    ),
}


def build_app() -> typer.Typer:
    """Put the commands together."""
    built = typer.Typer(
        name="fashion",
        cls=Grouped,
        no_args_is_help=True,
        context_settings=SETTINGS,
        pretty_exceptions_enable=False,
        rich_markup_mode=MARKUP,
        callback=root,
    )
    for group, entries in GROUPS.items():
        for function, example in entries:
            built.command(rich_help_panel=group, **show_example(example))(advising(function))
    parts = (
        (labels.label, "Data"),
        (classes.classes, "Data"),
        (similar.similar, "Predict and serve"),
        (review.review, "Operate"),
    )
    for part, group in parts:
        built.add_typer(part, rich_help_panel=group, context_settings=SETTINGS)
    return built


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from fashion import __version__

        print(f"fashion {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log more; show the traceback of an unexpected error.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
) -> None:
    """Classify product photos: ingest, validate, train, promote, serve, score.

    Wherever a command takes a model, `live`, `previous`, `latest` or the start of a tag will do.
    """
    if verbose:
        os.environ |= {"FASHION_DEBUG": "1", "PREFECT_LOGGING_LEVEL": "DEBUG"}
    if quiet:
        os.environ |= {"PREFECT_LOGGING_LEVEL": "ERROR", "FASHION_QUIET": "1"}


app = build_app()
