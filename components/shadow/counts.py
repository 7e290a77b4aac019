"""What a shadow found so far: the counts of one candidate beside one champion, merged from those of all processes.

    BENTOML_HOME/fashion/shadow/ID/shadow.json                 the shadow, see `components.registry.shadowed`
    BENTOML_HOME/fashion/shadow/ID/CHAMPION/PROCESS.json       counts of one worker, written once a second
    BENTOML_HOME/fashion/shadow/ID/CHAMPION/PROCESS.seen       images that it has seen, written 20 times a second
    BENTOML_HOME/fashion/shadow/ID/CHAMPION/PROCESS.jsonl      images with another label, see `flips`

Every image that the service answered is either mirrored or skipped for one reason. What a worker has seen is written
apart from what became of it, so whatever a kill loses is the difference of the two.
"""

import fcntl
import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.contract import Natural, NonNegative, Time
from components.errors import ModelError
from components.records import read_file, read_record
from components.registry.champion import Tag, try_live
from components.registry.shadowed import FOLDER, RECORD, Shadow, read_shadow_file
from components.registry.store import home

# Why images were not mirrored.
NOT_SAMPLED = "not sampled"  # by chance, see `Shadow.share`
NO_IMAGE = "no image"  # under overload the service keeps no images
BUSY = "busy"  # too many images wait for the candidate
OTHER_INPUT = "other input"  # the champion takes other images than the candidate
FAILED = "candidate failed"  # it could not be loaded, raised an error, or its probabilities are not finite
STOPPED = "candidate stopped"  # its process ended, or was ended because it did not respond
OFF = "shadow ended"  # while they waited
KILLED = "worker stopped"  # with images that waited, or with counts of less than a second
WAITING = "waiting"  # not decided yet

LIMITS = tuple(1e-5 * 2**power for power in range(18))  # of the histogram of seconds per image: 10 us to 1.3 s
SEEN = struct.Struct("<Q")


@dataclass(frozen=True)
class PairCount:
    """How many images got one label by the champion and one by the candidate."""

    champion: str  # class name
    candidate: str  # class name
    images: Natural
    same: bool  # the two are one class, or became one another by a change of classes


@dataclass(frozen=True)
class ProcessCounts:
    """The counts of one worker."""

    champion: Tag
    candidate: Tag
    since: Time  # UTC; its first image
    until: Time  # UTC; when this was written
    mirrored: Natural
    skipped: dict[str, Natural]  # reason -> images
    pairs: tuple[PairCount, ...]  # of the mirrored images
    champion_sure: Natural  # mirrored images on which the champion does not abstain
    candidate_sure: Natural
    both_sure: Natural
    seconds: Annotated[tuple[Natural, ...], Field(min_length=len(LIMITS) + 1, max_length=len(LIMITS) + 1)]
    cpu_seconds: NonNegative  # processor time of the candidate for all mirrored images
    error: str = ""  # of the candidate, the last one


@dataclass(frozen=True)
class ShadowCounts:
    """The counts of a candidate beside a champion: `seen` is `mirrored` plus all of `skipped`."""

    champion: str  # exact tag
    candidate: str  # exact tag
    shadow: Shadow  # its share, and who started it
    since: str  # ISO 8601, UTC; the first image
    until: str  # ISO 8601, UTC; the last change
    seen: int  # images that the champion answered
    mirrored: int  # images that the candidate classified too
    skipped: dict[str, int]  # reason -> images
    pairs: tuple[PairCount, ...]  # of the mirrored images, most frequent first
    champion_sure: int  # mirrored images on which the champion does not abstain
    candidate_sure: int
    both_sure: int
    seconds: tuple[int, ...]  # mirrored images by the candidate's processor time for one, up to each of `LIMITS`
    cpu_seconds: float
    error: str = ""  # of the candidate, the last one
    unreadable: int = 0  # files of processes that are damaged; their images are missing everywhere

    @property
    def same(self) -> int:
        """Mirrored images with the same label."""
        return sum(one.images for one in self.pairs if one.same)

    @property
    def changed(self) -> int:
        """Mirrored images with another label."""
        return self.mirrored - self.same

    @property
    def failed(self) -> int:
        """Images that the candidate could not classify."""
        return self.skipped.get(FAILED, 0)

    def seconds_at(self, quantile: float) -> float | None:
        """The candidate's processor time for an image, seconds; None without images. The error is below a factor of 2.

        Args:
            quantile: 0 to 1.
        """
        sums = list(accumulate(self.seconds))
        if not sums[-1]:
            return None
        place = bisect_left(sums, max(1, quantile * sums[-1]))
        return float(LIMITS[min(place, len(LIMITS) - 1)])


def read_counts(tag: str, champion: str | None = None) -> ShadowCounts | None:
    """Return what the newest shadow of a candidate found beside a champion.

    Args:
        tag: exact tag of the candidate.
        champion: exact tag; None: the live model.

    Returns:
        The counts; None if that shadow has seen no answer of that champion.

    Raises:
        ModelError: the record of a shadow is damaged.
    """
    champion = champion or (live.tag if (live := try_live()) else None)
    shadows = [one for one in list_shadows() if one.tag == tag]
    return read_counts_of(shadows[-1], champion) if shadows and champion else None


def list_shadows() -> list[Shadow]:
    """The shadows whose counts are kept, oldest first.

    Raises:
        ModelError: a record is damaged.
    """
    found = [read_shadow_file(path) for path in (home() / FOLDER).glob(f"*/{RECORD}")]
    return sorted(filter(None, found), key=lambda one: (one.since, one.id))


def champions_of(shadow: Shadow) -> list[ShadowCounts]:
    """The counts of a shadow beside each champion, in the order of their first image."""
    model = shadow.tag.partition(":")[0]
    found = (read_counts_of(shadow, f"{model}:{path.name}") for path in shadow.folder.glob("*/"))
    return sorted(filter(None, found), key=lambda one: one.since)


def is_over(shadow: Shadow) -> bool:
    """Whether its time has come, or as many images were mirrored beside one champion as were asked for."""
    if shadow.until is not None and datetime.now(UTC) >= datetime.fromisoformat(shadow.until):
        return True
    return shadow.images is not None and any(one.mirrored >= shadow.images for one in champions_of(shadow))


def pair_folder(shadow: Shadow, champion: str) -> Path:
    """The folder of the counts beside one champion."""
    return shadow.folder / champion.partition(":")[2]


def read_counts_of(shadow: Shadow, champion: str) -> ShadowCounts | None:
    """Return what one shadow found beside a champion; None if it has seen no image of it."""
    unreadable, found = 0, list[tuple[ProcessCounts, int, bool]]()
    for path in sorted(pair_folder(shadow, champion).glob("*.seen")):
        try:
            is_running, seen = _is_running(path), _read_seen(path)
            found.append((_read_process(path.with_suffix(".json")), seen, is_running))
        except (ModelError, OSError):
            unreadable += 1
    return _merge(shadow, champion, found, unreadable) if found or unreadable else None


def _read_process(path: Path) -> ProcessCounts:
    """Raises FileNotFoundError or ModelError."""
    return read_record(ProcessCounts, read_file(path, ModelError), path, ModelError)


def _read_seen(path: Path) -> int:
    content = path.read_bytes()
    return int(SEEN.unpack(content)[0]) if len(content) == SEEN.size else 0


def _is_running(path: Path) -> bool:
    """Whether the worker holds the lock on its file. The system releases it however the worker ends."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _merge(
    shadow: Shadow, champion: str, found: Sequence[tuple[ProcessCounts, int, bool]], unreadable: int
) -> ShadowCounts:
    processes = [one for one, _, _ in found]
    return ShadowCounts(
        champion=champion,
        candidate=shadow.tag,
        shadow=shadow,
        since=min((one.since for one in processes), default=shadow.since),
        until=max((one.until for one in processes), default=shadow.since),
        seen=sum(max(seen, _accounted(one)) for one, seen, _ in found),
        mirrored=sum(one.mirrored for one in processes),
        skipped=dict(sum(map(_skipped_by, found), Counter[str]())),
        pairs=_merge_pairs(processes),
        champion_sure=sum(one.champion_sure for one in processes),
        candidate_sure=sum(one.candidate_sure for one in processes),
        both_sure=sum(one.both_sure for one in processes),
        seconds=tuple(map(sum, zip(*(one.seconds for one in processes), strict=True))) or (0,) * (len(LIMITS) + 1),
        cpu_seconds=sum(one.cpu_seconds for one in processes),
        error=next((one.error for one in sorted(processes, key=lambda one: one.until, reverse=True) if one.error), ""),
        unreadable=unreadable,
    )


def _accounted(one: ProcessCounts) -> int:
    return one.mirrored + sum(one.skipped.values())


def _skipped_by(found: tuple[ProcessCounts, int, bool]) -> Counter[str]:
    """The images that a process skipped, and those that it has seen but not accounted for."""
    one, seen, is_running = found
    rest = seen - _accounted(one)
    return Counter(one.skipped) + Counter({WAITING if is_running else KILLED: max(0, rest)})


def _merge_pairs(processes: Sequence[ProcessCounts]) -> tuple[PairCount, ...]:
    counts = Counter[tuple[str, str, bool]]()
    for pair in _all_pairs(processes):
        counts[pair.champion, pair.candidate, pair.same] += pair.images
    return tuple(PairCount(left, right, images, same) for (left, right, same), images in counts.most_common())


def _all_pairs(processes: Sequence[ProcessCounts]) -> Iterator[PairCount]:
    for one in processes:
        yield from one.pairs
