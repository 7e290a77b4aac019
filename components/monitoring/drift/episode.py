"""Drift has a beginning and an end, and each is told once: the state between two checks, in a small file."""

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
    """A drift that goes on."""

    model: str  # that was live when it began
    since: str  # ISO 8601, UTC: when it was noticed
    drifted: tuple[str, ...]  # features


@dataclass(frozen=True)
class News:
    """What somebody should hear of."""

    what: Literal["detected", "ended"]
    episode: Episode


def find_news(before: Episode | None, check: DriftCheck) -> tuple[tuple[News, ...], Episode | None]:
    """What a check changes.

    Drift begins where enough windows drift, and ends where not one of those that are looked at does, so that traffic
    on the border is not told of again each hour. It ends, too, where another model went live. Too few images change
    nothing.

    Returns:
        What to tell, and the episode that goes on.
    """
    news: tuple[News, ...] = ()
    if before and (check.model != before.model or (check.judged and not check.drifted)):
        news, before = (News("ended", before),), None
    if before is None and check.verdict == "drift":
        before = Episode(check.model, check.checked_at, check.drifted)
        news = (*news, News("detected", before))
    return news, before


def read_episode(path: Path) -> Episode | None:
    """The episode that goes on; None where there is none, or the file is not one: then a drift is told once more."""
    try:
        return _episodes().validate_json(path.read_bytes())
    except (FileNotFoundError, pydantic.ValidationError):
        return None


def write_episode(path: Path, episode: Episode | None) -> None:
    """Keep what goes on, atomically."""
    write_whole(path, orjson.dumps(episode and asdict(episode), option=orjson.OPT_INDENT_2) + b"\n")


@cache
def _episodes() -> pydantic.TypeAdapter[Episode | None]:
    return pydantic.TypeAdapter(Episode | None)
