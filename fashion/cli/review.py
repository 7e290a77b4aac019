"""The review queue: what waits for a label, what the labels say, and adding rows of a scored input."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fashion.cli.arguments import Json, ModelOption
from fashion.cli.help import MARKUP, Grouped, show_example
from fashion.cli.tables import print_table

if TYPE_CHECKING:
    from components.review.bounds import ReviewBounds
    from components.review.estimate import LiveAccuracy
    from components.review.state import ReviewState

review = typer.Typer(
    name="review",
    cls=Grouped,
    rich_markup_mode=MARKUP,
    help="Show the review queue and the accuracy on live traffic, or add a scored input to the queue.",
)


@review.callback(invoke_without_command=True, epilog="Example: fashion review")
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show the review queue and the accuracy on live traffic, or add a scored input to the queue.

    People label the images on the page /review of the service. The accuracy is estimated from the random images.
    """
    if context.invoked_subcommand:
        return
    from components.review.state import describe_queue

    bounds = _read_bounds()
    state = describe_queue(bounds)
    if as_json:
        print(json.dumps({"folder": str(bounds.folder), **asdict(state)}))
    else:
        _print_state(bounds, state)


@review.command(**show_example("fashion review add catalogue.csv"))
def add(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="Table, picture, archive, folder or 'pattern*', as for fashion score."),
    ],
    model: ModelOption = None,
    as_json: Json = False,
) -> None:
    """Add images of an input to the review queue: a random share, and some that the model is not sure of."""
    from components.registry.champion import load_model
    from components.review.keeping import Keeper
    from components.storage import locate
    from fashion.cli.progress import waiting

    bounds, classifier = _read_bounds(), load_model(model)
    embedding = classifier.contract.embedding
    keeper = Keeper(bounds, "scored", lambda: embedding.sha256 if embedding else None)
    with waiting("scoring"):
        from components.monitoring.prediction_log import LoggedAnswer
        from components.readers.folders.opening import open_input
        from components.readers.folders.parts import TableReading
        from components.scoring.predict import predict_block

        table = open_input(locate(source), TableReading(), classifier.contract)
        kept = rows = rejected = 0
        for part in table.parts():
            for block in table.read(part):
                predictions = predict_block(classifier, block)
                kept += keeper.add(LoggedAnswer(time.time(), predictions, block.shown))
                rows, rejected = rows + len(block.shown), rejected + len(block.rejects)
    if as_json:
        print(json.dumps({"scored": rows, "rejected": rejected, "added": kept, "model": classifier.tag}))
        return
    entries = "entry" if kept == 1 else "entries"  # an image may be random and uncertain
    print(f"{rows:,} images scored, {kept:,} {entries} added to {bounds.folder}")
    print("label them on the page /review of the service")
    if rejected:
        print(f"{rejected:,} rows cannot be read; 'fashion score' says why")


def _read_bounds() -> "ReviewBounds":
    from components.errors import SettingsError
    from components.review.bounds import read_review_bounds

    bounds = read_review_bounds()
    if bounds is None:
        advice = "Set it, and start the service with it"
        raise SettingsError(f"FASHION_REVIEW_DIR: not set, expected the folder of the review queue. {advice}")
    return bounds


def _print_state(bounds: "ReviewBounds", state: "ReviewState") -> None:
    waiting = state.waiting
    print(f"{bounds.folder}: {sum(waiting.values()):,} images wait, at most {bounds.images:,} for {bounds.days} days")
    print(f"  {waiting['uncertain']:,} uncertain, {waiting['random']:,} random")
    print(f"  {state.labelled:,} labelled, {state.skipped:,} skipped")
    print(f"accuracy on live traffic: {_in_words(state.live)}")
    if state.scored.labelled:
        print(f"accuracy on scored inputs: {_in_words(state.scored)}")
    rows = [(day, *_in_words(found).partition(", ")[::2]) for day, found in state.days.items() if found.labelled]
    if rows:
        print()
        print_table(rows, ("DAY (UTC)", "ACCURACY", "FROM"))


def _in_words(found: "LiveAccuracy") -> str:
    if found.accuracy is None:
        return "unknown, no random image was labelled"
    images = "image" if found.labelled == 1 else "images"
    skipped = f", {found.skipped:,} skipped" if found.skipped else ""
    return f"{found.accuracy:.1%} ({found.low:.1%} to {found.high:.1%}), {found.labelled:,} random {images}{skipped}"
