"""Choosing which images of the traffic are kept for review, in the thread that counts predictions.

Two kinds are kept. `random` images are a Bernoulli sample of all images: each is kept with a probability, its `rate`,
that depends on the traffic so far and never on the image. The rate halves with every so many kept images and starts
each hour from the traffic of the hour before, so that a busy hour does not fill the folder. `uncertain` images are the
most uncertain of those that the model is not sure of or does not know, without near-duplicates: when there is no room,
a more uncertain image takes the place of the least uncertain one.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Predictions, pictures_of
from components.monitoring.prediction_log import LoggedAnswer
from components.review.bounds import ReviewBounds
from components.review.images import (
    Kind,
    Source,
    make_review_image,
    measure_uncertainty,
    remove_old,
    uncertainty_in,
    write_review_image,
)

HOUR = 3600  # seconds
UNDO = 50  # images kept for undo; the rest of the bound is shared out evenly between the kinds
LOG_FACTOR = 1.5  # images that a share keeps in an hour, for each that it is meant to
CELLS, SAME = 8, 3.0  # of a thumbnail: cells a side; mean difference of near-duplicates, 0 to 255
REMEMBERED = 500  # thumbnails of recent uncertain images
LOOK = 60  # seconds after which the least uncertainty is read again, since people take images

Room = Callable[[], float]


class AdaptiveShare:
    """A Bernoulli sample whose rate adapts to the traffic."""

    def __init__(self, per_hour: Room, source: np.random.Generator) -> None:
        """`per_hour` says how many images the next hour should keep; more than 0."""
        self._per_hour, self._random = per_hour, source
        self.rate = 1.0
        self._hour = self._seen = -1
        self._per = 1.0
        self._gap = 0  # images to pass over before the next one is kept

    def draw(self, images: int, when: float) -> list[tuple[int, float, float]]:
        """Choose among images that were answered at one time, in seconds since 1970.

        Returns:
            The position of each chosen image, the rate that it was drawn with, and its rank, uniform from 0 to the
            rate.
        """
        if (hour := int(when // HOUR)) != self._hour:
            self._start(hour)
        self._seen += images
        chosen, place = list[tuple[int, float, float]](), self._gap
        while place < images:
            chosen.append((place, self.rate, self._random.random() * self.rate))
            self.rate *= 0.5 ** (1 / self._per)
            place += 1 + self._draw_gap()
        self._gap = place - images
        return chosen

    def _start(self, hour: int) -> None:
        before = self._seen if hour == self._hour + 1 else 0
        self._hour, self._seen, self._per = hour, 0, self._per_hour()
        self.rate = min(1.0, self._per / max(before, 1))
        self._gap = self._draw_gap()

    def _draw_gap(self) -> int:
        """Number of failures before a success of probability `rate`."""
        return int(self._random.geometric(self.rate)) - 1


class Keeper:
    """Keeps images in the folder `waiting` of a queue."""

    def __init__(
        self,
        bounds: ReviewBounds,
        source: Source,
        network: Callable[[], str | None],
        workers: int = 1,
        seed: int | None = None,
    ) -> None:
        """Keep at most `images - UNDO` images.

        Args:
            bounds: the folder and its bounds.
            source: where the images come from.
            network: SHA-256 of the live model's frozen network; None if it has none.
            workers: processes that keep images in this folder.
            seed: of the sample; None: random.
        """
        self.bounds, self.source, self.network = bounds, source, network
        self.folder, self.most = bounds.folder / "waiting", (bounds.images - UNDO) // 2
        self._workers = workers
        self._share = AdaptiveShare(self._per_hour, np.random.default_rng(seed))
        self._least, self._looked = -1, -math.inf
        self._recent = np.empty((0, 0), np.float32)  # thumbnails, a row each

    def add(self, answer: LoggedAnswer) -> int:
        """Keep some images of an answer.

        Returns:
            How many were kept.

        Raises:
            OSError: the folder is not writable.
        """
        if not len(answer.images):  # too many at once to log
            return 0
        kept = 0
        for row, *drawn in self._share.draw(len(answer.images), answer.time):
            kept += self._keep("random", answer, row, drawn)
        rows = find_uncertain(answer.predictions)
        uncertainty = measure_uncertainty(answer.predictions, rows) if len(rows) else rows
        for row, value in zip(rows.tolist(), uncertainty.tolist(), strict=True):
            if value > self._find_least(answer.time) and self._is_new(answer.images[row]):
                kept += self._keep("uncertain", answer, row, [1.0, 0.0])
                self._looked = -math.inf
        return kept

    def _keep(self, kind: Kind, answer: LoggedAnswer, row: int, drawn: list[float]) -> int:
        rate, rank = drawn
        image = make_review_image(
            kind, self.source, answer.time, answer.predictions, row, answer.images[row], (rate, rank), self.network()
        )
        remove_old(self.folder, kind, self.most - 1, self.bounds.days)
        write_review_image(self.folder, image)
        return 1

    def _find_least(self, when: float) -> int:
        """The uncertainty that an image must exceed to be kept, in thousandths; -1 while there is room."""
        if abs(when - self._looked) > LOOK:
            waiting = remove_old(self.folder, "uncertain", self.most, self.bounds.days)
            self._least = uncertainty_in(waiting[0]) if len(waiting) >= self.most else -1
            self._looked = when
        return self._least

    def _is_new(self, image: Images) -> bool:
        """Whether no recent uncertain image looks nearly the same; remembers this one."""
        small = shrink(pictures_of(image[None])[0] if image.dtype.names is None else image["picture"]).reshape(1, -1)
        if small.shape[1] != self._recent.shape[1]:
            self._recent = np.empty((0, small.shape[1]), np.float32)
        if (np.abs(self._recent - small).mean(axis=1) < SAME).any():
            return False
        self._recent = np.concatenate([self._recent[1 - REMEMBERED :], small])
        return True

    def _per_hour(self) -> float:
        """More while there is room: an empty queue may fill in a day, a full one keeps what its days allow."""
        waiting = remove_old(self.folder, "random", self.most, self.bounds.days)
        return per_hour(self.most - len(waiting), self.most, self.bounds.days) / self._workers


def per_hour(free: int, most: int, days: int) -> float:
    """Images to keep in an hour, so that `free` of `most` last for a day, or all of them for `days` days."""
    return max(free, most / days) / 24 / LOG_FACTOR


def find_uncertain(predictions: Predictions) -> NDArray[np.intp]:
    """The rows that the model is not sure of, or that it does not know."""
    certain = predictions.sure if predictions.known is None else predictions.sure & predictions.known
    return np.flatnonzero(~certain)


def shrink(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of a grid of cells: uint8 (height, width[, 3]) -> float32 (8, 8[, 3]), 0 to 255."""
    rows, columns = (np.linspace(0, side, CELLS, endpoint=False).astype(np.intp) for side in picture.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(picture, rows, 0, np.float32), columns, 1, np.float32)
    heights, widths = (
        np.diff([*starts, side]) for starts, side in zip((rows, columns), picture.shape[:2], strict=True)
    )
    areas = np.outer(heights, widths).reshape(CELLS, CELLS, *[1] * (picture.ndim - 2))
    return np.asarray(sums / areas, np.float32)
