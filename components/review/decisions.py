"""What people said about images, without the images: one file per decision, named like the image."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import orjson

from components.contract import NonNegative, Share
from components.errors import ReviewError
from components.files import whole_file
from components.records import read_file, read_record
from components.review.images import Kind, Rate, ReviewImage, Source, list_names

MOST_DECISIONS, DECISION_DAYS = 20_000, 365  # kept for the estimate


@dataclass(frozen=True)
class Decision:
    """What a person said about an image."""

    kind: Kind
    source: Source
    time: NonNegative  # of the answer, seconds since 1970
    decided: NonNegative  # of the decision, seconds since 1970
    model: str
    said: str  # the class that the model named
    label: str | None  # a class, or "none of these"; None: the image was skipped
    rate: Rate  # see `ReviewImage`
    rank: Share
    oldest: NonNegative  # random images from this time on were all kept until then, or shown
    shown: bool  # False: another image with the same pixels was shown

    @property
    def is_right(self) -> bool:
        """Whether the model named the class that the person chose."""
        return self.label == self.said


def decide(image: ReviewImage, label: str | None, now: float, oldest: float, shown: bool) -> Decision:
    """The decision about an image."""
    return Decision(
        image.kind,
        image.source,
        image.time,
        now,
        image.model,
        image.said,
        label,
        image.rate,
        image.rank,
        oldest,
        shown,
    )


def write_decision(path: Path, decision: Decision) -> None:
    """Write a decision. Raises OSError if the folder is not writable."""
    with whole_file(path) as temporary:
        temporary.write_bytes(orjson.dumps(asdict(decision)))


def read_decision(path: Path) -> Decision:
    """Read a decision.

    Raises:
        FileNotFoundError: it was undone.
        ReviewError: the file is damaged.
    """
    return read_record(Decision, read_file(path, ReviewError), path, ReviewError)


def read_decisions(folder: Path) -> list[Decision]:
    """All decisions in a folder, which need not exist, oldest image first. Damaged files are left out."""
    found = []
    for name in list_names(folder):
        with suppress(FileNotFoundError, ReviewError):
            found.append(_read_once(folder / name, (folder / name).stat().st_mtime_ns))
    return found


@lru_cache(MOST_DECISIONS)
def _read_once(path: Path, modified: int) -> Decision:
    """Cached, because most decisions are read again and again; one that was undone and made again has another time."""
    return read_decision(path)
