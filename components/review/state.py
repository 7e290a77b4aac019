"""The state of a queue: how many images wait, and what people's labels say of the model."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from components.review.bounds import ReviewBounds
from components.review.decisions import read_decisions
from components.review.estimate import LiveAccuracy, estimate, estimate_days
from components.review.images import KINDS, NAME, Kind, kind_in


@dataclass(frozen=True)
class ReviewState:
    """The state of a queue."""

    waiting: dict[Kind, int]  # images that no one has decided about
    labelled: int  # images of both kinds that people labelled
    skipped: int
    live: LiveAccuracy  # on requests to the service
    scored: LiveAccuracy  # on inputs that were added from files
    days: dict[str, LiveAccuracy]  # on the requests of each UTC day, by ISO date, oldest first


def describe_queue(bounds: ReviewBounds) -> ReviewState:
    """Count the images and estimate the accuracy. A folder that does not exist has none."""
    names = [*_names(bounds.folder / "waiting"), *_names(bounds.folder / "leased")]
    decisions = read_decisions(bounds.folder / "decisions")
    return ReviewState(
        waiting={kind: sum(kind_in(name) == kind for name in names) for kind in KINDS},
        labelled=sum(one.label is not None and one.shown for one in decisions),
        skipped=sum(one.label is None for one in decisions),
        live=estimate(decisions, "live"),
        scored=estimate(decisions, "scored"),
        days=estimate_days(decisions, "live"),
    )


def _names(folder: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return [name for path in folder.iterdir() if NAME.fullmatch(name := path.name.partition("@")[0])]
    return []
