"""Classifies a batch with the candidate and counts how its answers differ from the champion's."""

import contextlib
import time
from bisect import bisect_left
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Predictions, fold_name
from components.errors import ModelError
from components.model.classifier import Classifier
from components.registry.store import describe_stored
from components.revisions import Lineage, group, relate
from components.scoring.predict import predict_views
from components.shadow.batches import Batch, kind_of, to_images
from components.shadow.counts import FAILED, LIMITS, OTHER_INPUT
from components.shadow.flips import FlipFile, ShadowFlip, describe_image

NONE: dict[str, Any] = {
    "pairs": [],  # champion's class, candidate's class, images, whether they are the same class
    "champion_sure": 0,
    "candidate_sure": 0,
    "both_sure": 0,
    "seconds": [0] * (len(LIMITS) + 1),  # images by processor time
    "cpu_seconds": 0.0,
    "skipped": {},
    "error": "",
}


class Comparison:
    """Compares a candidate with any champions."""

    def __init__(self, candidate: Classifier) -> None:
        """Count nothing yet."""
        self.candidate = candidate
        self.same_classes = lru_cache(4)(self._same_classes)
        self.flip_file = lru_cache(4)(lambda path: FlipFile(Path(path)))
        contract = candidate.contract
        self.kind = kind_of(contract.dtype.base, contract.dtype.shape)

    def compare(self, batch: Batch, content: bytearray) -> dict[str, Any]:
        """Classify a batch. What a worker gets back accounts for each photo: `pairs` and `skipped`.

        Args:
            batch: the champion's answers.
            content: bytes of the images.
        """
        photos = len(batch.labels)
        if batch.kind != self.kind:
            error = f"the live model {batch.champion} takes other images: {batch.kind}, expected {self.kind}"
            return {**NONE, "skipped": {OTHER_INPUT: photos}, "error": error}
        images = to_images(content, self.candidate.contract.dtype)
        began = time.process_time()
        try:
            found = predict_views(self.candidate, images, np.array(batch.views, np.intp))
        except Exception as error:  # whatever a broken model raises, it is counted
            return {**NONE, "skipped": {FAILED: photos}, "error": f"{type(error).__name__}: {error}"}
        spent = time.process_time() - began
        finite = np.isfinite(found.probabilities).all(axis=1)
        counted = self._count(batch, images, found, np.flatnonzero(finite))
        failed = photos - int(finite.sum())
        counted["seconds"] = [0] * (len(LIMITS) + 1)
        counted["seconds"][bisect_left(LIMITS, spent / photos)] = photos - failed
        counted["cpu_seconds"] = spent
        if failed:
            counted |= {"skipped": {FAILED: failed}, "error": f"{failed} images: its probabilities are not finite"}
        return counted

    def _count(self, batch: Batch, images: Images, found: Predictions, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Count the photos in these rows, and keep flips."""
        same = self.same_classes(batch.champion, batch.classes)
        before, after = np.array(batch.labels, np.intp), found.labels.astype(np.intp)
        counts = Counter(zip(before[rows].tolist(), after[rows].tolist(), strict=True))
        sure, sure_before = found.sure[rows], np.array(batch.sure, bool)[rows]
        self._keep_flips(batch, images, found, rows[~same[before[rows], after[rows]]])
        return {
            **NONE,
            "pairs": [
                [batch.classes[left], found.classes[right], images, bool(same[left, right])]
                for (left, right), images in counts.items()
            ],
            "champion_sure": int(sure_before.sum()),
            "candidate_sure": int(sure.sum()),
            "both_sure": int((sure & sure_before).sum()),
        }

    def _keep_flips(self, batch: Batch, images: Images, found: Predictions, rows: NDArray[np.intp]) -> None:
        file, flips = self.flip_file(batch.flips), list[ShadowFlip]()
        firsts = np.cumsum(batch.views) - batch.views
        asked = Counter[tuple[str, str]]()
        for row in rows.tolist():
            pair = batch.classes[batch.labels[row]], found.classes[int(found.labels[row])]
            if not file.wants(*pair, batch.keep_images, asked[pair]):
                continue
            asked[pair] += 1
            name, png = describe_image(images[firsts[row] : firsts[row] + 1], bool(batch.keep_images))
            confidences = batch.confidences[row], float(found.confidences[row])
            sure = batch.sure[row], bool(found.sure[row])
            flips.append(ShadowFlip(batch.times[row], *pair, *confidences, *sure, name, png))
        with contextlib.suppress(OSError):  # a full disk loses examples, not counts
            file.append(flips)

    def _same_classes(self, champion: str, classes: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which classes of the champion are which of the candidate, bool (champion's, candidate's).

        Classes that changed are mapped by the changes that both models record. A champion that is not in the store
        any more has the classes of the same name.
        """
        card = self.candidate.card
        if classes == card.classes:
            return np.eye(len(classes), dtype=bool)
        try:
            related = relate(
                Lineage(card.classes, card.revisions), Lineage(classes, describe_stored(champion).revisions)
            )
        except ModelError:
            related = None
        if related is None:
            ours, theirs = ([fold_name(name) for name in names] for names in (card.classes, classes))
            return np.array([[mine == other for mine in ours] for other in theirs])
        same = np.zeros((len(classes), len(card.classes)), bool)
        for left, right in group(related):
            same[np.ix_(right, left)] = True
        return same
