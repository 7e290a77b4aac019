"""Report the start and the end of a drift once each. The state between checks is kept in a small file."""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import orjson
import pydantic

from components.files import write_whole
from components.monitoring.drift.check import DriftCheck


@dataclass(frozen=True)
class Episode:
    """An ongoing drift."""

    model: str  # exact tag of the live model at its start
    since: str  # time of detection, ISO 8601, UTC
    drifted: tuple[str, ...]  # names of the features


@dataclass(frozen=True)
class News:
    """A change to report."""

    what: Literal["detected", "ended"]
    episode: Episode


def find_news(before: Episode | None, check: DriftCheck) -> tuple[tuple[News, ...], Episode | None]:
    """Compare a check with the ongoing episode.

    A drift starts when enough windows drift. It ends when none of the judged windows drifts, so that borderline traffic
    is not reported every hour, or when another model goes live. Too few images change nothing.

    Args:
        before: the ongoing episode, or None.
        check: the newest check.

    Returns:
        The changes to report, and the ongoing episode or None.
    """
    news: tuple[News, ...] = ()
    if before and (check.model != before.model or (check.judged and not check.drifted)):
        news, before = (News("ended", before),), None
    if before is None and check.verdict == "drift":
        before = Episode(check.model, check.checked_at, check.drifted)
        news = (*news, News("detected", before))
    return news, before


def read_episode(path: Path) -> Episode | None:
    """Read the ongoing episode; None if none exists or the file is invalid, in which case a drift is reported again."""
    try:
        return _adapter().validate_json(path.read_bytes())
    except (FileNotFoundError, pydantic.ValidationError):
        return None


def write_episode(path: Path, episode: Episode | None) -> None:
    """Write the ongoing episode atomically."""
    write_whole(path, orjson.dumps(episode and asdict(episode), option=orjson.OPT_INDENT_2) + b"\n")


@cache
def _adapter() -> pydantic.TypeAdapter[Episode | None]:
    return pydantic.TypeAdapter(Episode | None)
