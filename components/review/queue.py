"""The queue: who labels which image. Several people and worker processes share a folder, without a lock.

    REVIEW/waiting/NAME             kept, and not shown to anyone
           leased/NAME@REVIEWER     shown to one person, until it expires
           decided/NAME             the last images that were labelled or skipped, for undo
           decisions/NAME           what was said about an image; kept for the estimate

An image's file is in one place at any time, and each step is one rename, which only one process can do. A lease is as
old as its file's modification time.
"""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from components.contract import DataContract, Images
from components.dataset.labels.corrections import NONE_OF_THESE, Correction, write_correction
from components.errors import ReviewError
from components.files import DAY
from components.review.bounds import ReviewBounds
from components.review.choosing import choose
from components.review.decisions import DECISION_DAYS, MOST_DECISIONS, decide, read_decision, write_decision
from components.review.images import (
    KINDS,
    NAME,
    Kind,
    ReviewImage,
    hash_in,
    kind_in,
    list_names,
    read_review_image,
    remove_old,
    time_in,
)
from components.review.keeping import UNDO

LEASE = 300.0  # seconds that a person may look at an image before it is shown to others
RANDOM_OF = 3  # one of so many images that are shown is a random one, while both kinds wait
REVIEWER = re.compile("[A-Za-z0-9]{8,40}")


# Of images that were read: (fingerprint of the contract, name) -> the image without pixels, or None if it does not fit.
outlines: dict[tuple[str, str], ReviewImage | None] = {}


class TakenAway(ReviewError):
    """Another person has the image, or has decided about it, or it was removed because of its age."""


class Shown(NamedTuple):
    """An image that is leased to a person."""

    name: str
    image: ReviewImage
    pixels: Images  # (1,)


@dataclass(frozen=True)
class ReviewQueue:
    """The queue in a folder, for images of one contract.

    Images of another contract stay where they are until their age removes them.
    """

    bounds: ReviewBounds
    contract: DataContract
    corrections: Path  # the inbox for labels
    lease: float = LEASE  # seconds
    clock: Callable[[], float] = time.time

    def take(self, reviewer: str) -> Shown | None:
        """Lease the next image to a person: the one that they have already, or a new one. None if none waits."""
        self._tidy()
        for name, holder in self._leases():
            if holder == reviewer and (shown := self._read(self._leased(name, reviewer), name)):
                self._touch(self._leased(name, reviewer))
                return shown
        while chosen := self._choose():
            waiting, leased = self._folder("waiting") / chosen, self._leased(chosen, reviewer)
            with suppress(FileNotFoundError):  # another person was faster
                self._touch(waiting)  # before the move, after which another process may compare its age
                self._move(waiting, leased)
                if shown := self._read(leased, chosen):
                    return shown
        return None

    def label(self, name: str, reviewer: str, label: int | None) -> None:
        """Label an image, and write the label to the inbox for corrections.

        Args:
            name: of the image.
            reviewer: who has its lease. An expired lease counts as long as no one else has taken the image.
            label: a class of the contract; None: none of the classes.

        Raises:
            TakenAway: the image is no longer this person's.
            InboxFull, OSError: the label cannot be written; the image stays this person's.
        """
        shown = self._take_over(name, reviewer)
        said = self.contract.label_of(shown.image.said)
        correction = Correction(shown.image.to_bytes(), label, said or 0, shown.image.model)
        try:
            write_correction(self.corrections, correction, self.contract)
            self._decide(shown, NONE_OF_THESE if label is None else self.contract.classes[label])
        except BaseException:
            self._move(self._folder("decided") / name, self._leased(name, reviewer))
            raise

    def skip(self, name: str, reviewer: str) -> None:
        """Decide not to label an image. Raises TakenAway: it is no longer this person's."""
        self._decide(self._take_over(name, reviewer), None)

    def undo(self, name: str, reviewer: str) -> Shown:
        """Withdraw a decision with its correction, and lease the image to the person again.

        Raises:
            TakenAway: the image is no longer kept, or its label has been imported.
        """
        if not NAME.fullmatch(name):
            raise TakenAway(f"{name}: no such image")
        decided, decision = self._folder("decided") / name, self._folder("decisions") / name
        correction = self.corrections / f"correction-{hash_in(name)}.json"
        try:
            was_labelled = read_decision(decision).label is not None
        except FileNotFoundError as error:
            raise TakenAway(f"{name}: no such decision; it was undone or is too old") from error
        if was_labelled and not correction.exists():
            raise TakenAway(f"{name}: its label was imported; import another label for it")
        try:
            self._touch(decided)
            self._move(decided, self._leased(name, reviewer))
        except FileNotFoundError as error:
            raise TakenAway(f"{name}: only the last {UNDO} decisions can be undone") from error
        decision.unlink(missing_ok=True)
        correction.unlink(missing_ok=True)
        shown = self._read(self._leased(name, reviewer), name)
        if shown is None:
            raise TakenAway(f"{name}: it is not an image of {self.contract.name}")
        return shown

    def _take_over(self, name: str, reviewer: str) -> Shown:
        """Move an image from its lease to `decided`, as only one person can."""
        target = self._folder("decided") / name
        for place in (self._leased(name, reviewer), self._folder("waiting") / name) if NAME.fullmatch(name) else ():
            with suppress(FileNotFoundError):
                self._touch(place)
                self._move(place, target)
                if shown := self._read(target, name):
                    return shown
        raise TakenAway(f"{name}: another person has it or has labelled it, or it is too old")

    def _decide(self, shown: Shown, label: str | None) -> None:
        """Write the decision. A label holds for all waiting images with the same pixels."""
        folder, now = self._folder("decisions"), self.clock()
        waiting = list_names(self._folder("waiting"))
        oldest = self._find_oldest(waiting, now)
        write_decision(folder / shown.name, decide(shown.image, label, now, oldest, shown=True))
        for name in waiting if label is not None else ():
            if hash_in(name) == hash_in(shown.name):
                with suppress(FileNotFoundError, ReviewError):
                    self._move(self._folder("waiting") / name, self._folder("decided") / name)
                    same = read_review_image(self._folder("decided") / name, name)
                    write_decision(folder / name, decide(same, label, now, oldest, shown=False))

    def _find_oldest(self, waiting: list[str], now: float) -> float:
        """The time from which on no random image has been removed: if the folder is full, that of the oldest one."""
        times = [time_in(name) for name in waiting if kind_in(name) == "random"]
        is_full = len(times) >= (self.bounds.images - UNDO) // 2 - 1
        return min(times) if is_full and times else max(0.0, now - self.bounds.days * DAY)

    def _choose(self) -> str | None:
        """The name of the next image: of three, one random and two uncertain, while there are both."""
        names = list_names(self._folder("waiting"))
        before = len(list_names(self._folder("decisions"))) + len(self._leases())
        kinds: tuple[Kind, ...] = ("random", "uncertain") if before % RANDOM_OF == 0 else ("uncertain", "random")
        for kind in kinds:
            if found := self._outlines("waiting", [name for name in names if kind_in(name) == kind]):
                return min(found, key=lambda name: found[name].rank) if kind == "random" else self._pick(found)
        return None

    def _pick(self, found: dict[str, ReviewImage]) -> str:
        """The most uncertain image; of several, one that differs from the last ones that people saw."""
        recent = [*self._outlines("decided", list_names(self._folder("decided"))).values()]
        recent += [*self._outlines("leased", [f"{name}@{holder}" for name, holder in self._leases()]).values()]
        return list(found)[choose(list(found.values()), recent, self.contract)]

    def _outlines(self, folder: str, names: list[str]) -> dict[str, ReviewImage]:
        """The images in a folder that fit the contract, without their pixels. Each file is read once."""
        if len(outlines) > 2 * len(names) + 4 * self.bounds.images:
            outlines.clear()
        for name in names:
            key = self.contract.fingerprint, name.partition("@")[0]
            if key not in outlines:
                shown = self._read(self._folder(folder) / name, key[1])
                outlines[key] = replace(shown.image, pixels="") if shown else None
        found = {name: outlines.get((self.contract.fingerprint, name.partition("@")[0])) for name in names}
        return {name: image for name, image in found.items() if image}

    def _read(self, path: Path, name: str) -> Shown | None:
        """Read an image; None if it is gone, damaged, or of another contract."""
        with suppress(FileNotFoundError, ReviewError):
            image = read_review_image(path, name)
            pixels = image.to_image(self.contract)
            if pixels is not None and self.contract.label_of(image.said) is not None:
                return Shown(name, image, pixels)
        return None

    def _leases(self) -> list[tuple[str, str]]:
        """Names of leased images, and who has them."""
        with suppress(FileNotFoundError):
            split = [path.name.partition("@") for path in self._folder("leased").iterdir()]
            return [(name, holder) for name, _, holder in split if NAME.fullmatch(name) and REVIEWER.fullmatch(holder)]
        return []

    def _leased(self, name: str, reviewer: str) -> Path:
        return self._folder("leased") / f"{name}@{reviewer}"

    def _tidy(self) -> None:
        """Return expired leases, and remove what is too old."""
        for name, holder in self._leases():
            with suppress(FileNotFoundError):
                if self.clock() - self._leased(name, holder).stat().st_mtime > self.lease:
                    self._move(self._leased(name, holder), self._folder("waiting") / name)
        for kind in KINDS:
            remove_old(self._folder("waiting"), kind, (self.bounds.images - UNDO) // 2, self.bounds.days)
        decided = [self._folder("decided") / name for name in list_names(self._folder("decided"))]
        for path in sorted(decided, key=_modified_at)[: max(0, len(decided) - UNDO)]:
            path.unlink(missing_ok=True)
        remove_old(self._folder("decisions"), None, MOST_DECISIONS, DECISION_DAYS)

    def _folder(self, name: str) -> Path:
        return self.bounds.folder / name

    def _touch(self, path: Path) -> None:
        os.utime(path, (self.clock(), self.clock()))

    @staticmethod
    def _move(path: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def _modified_at(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0
