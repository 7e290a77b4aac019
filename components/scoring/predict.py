"""Classify images with a loaded model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.contract import Images, Labels, Predictions
from components.errors import InputError, ModelError
from components.model.classifier import Classifier
from components.readers.blocks import Block
from components.readers.images.content import has_content

MAX_AT_ONCE = 1024  # images per forward pass: 3 MB of input, about the size of a CPU cache
SURE_OF_VIEWS = 0.7  # threshold for the mean probability of several views; see decision 8


def predict(model: Classifier, images: Images, all_show: bool = False) -> Predictions:
    """Classify images. The model abstains on blank images (see `has_content`).

    Args:
        model: returned by `load_model`.
        images: (n,), as in the model's contract; n may be 0.
        all_show: skip the check for blank images, because the caller has already done it.

    Raises:
        InputError: the images have another dtype or shape.
    """
    probabilities, distances = _judge(model, images)
    labels = probabilities.argmax(axis=1).astype(np.uint16)
    sure = probabilities.max(axis=1) > model.thresholds[labels]
    if not all_show:
        sure &= has_content(images)
    return _to_predictions(model, labels, probabilities, sure, distances)


def _to_predictions(
    model: Classifier,
    labels: Labels,
    probabilities: NDArray[np.float32],
    sure: NDArray[np.bool_],
    distances: NDArray[np.float32] | None,
) -> Predictions:
    known = model.card.known
    if known is None or distances is None:
        return Predictions(model.tag, model.contract.classes, labels, probabilities, sure)
    found = known.is_known(distances), known.familiarity(distances)
    return Predictions(model.tag, model.contract.classes, labels, probabilities, sure, *found)


def predict_photos(model: Classifier, photos: Sequence[Images]) -> Predictions:
    """Classify photos by the mean probabilities of their views.

    The mean is lower if views disagree, and the model abstains if any view is blank. A photo is as familiar as its most
    familiar view. A photo with a single view is classified as by `predict`.

    Args:
        model: returned by `load_model`.
        photos: n arrays returned by `read_views`; n at least 1.

    Raises:
        InputError: the views have another dtype or shape.
    """
    return predict_views(model, np.concatenate(photos), np.array([len(views) for views in photos]))


def predict_block(model: Classifier, block: Block) -> Predictions:
    """Classify the rows of a block; rows with several views are classified as by `predict_photos`.

    Raises:
        InputError: the images have another dtype or shape.
    """
    return predict_views(model, block.images, block.views)


def predict_views(
    model: Classifier, images: Images, counts: NDArray[np.intp] | None, all_show: bool = False
) -> Predictions:
    """Classify n photos, given as concatenated views.

    Args:
        model: returned by `load_model`.
        images: all views of the first photo, then of the second, and so on.
        counts: (n,), number of views per photo, at least 1; n may be 0. None: one each.
        all_show: see `predict`.

    Raises:
        InputError: the images have another dtype or shape.
    """
    if counts is None or (counts == 1).all():
        return predict(model, images, all_show)
    starts = counts.cumsum() - counts
    of_views, distances = _judge(model, images)
    sums = np.add.reduceat(of_views, starts)
    probabilities = (sums / counts[:, None]).astype(np.float32)
    labels = probabilities.argmax(axis=1).astype(np.uint16)
    needed = np.where(counts > 1, SURE_OF_VIEWS, model.thresholds[labels])
    sure = (probabilities.max(axis=1) > needed) & np.logical_and.reduceat(has_content(images), starts)
    least = None if distances is None else np.minimum.reduceat(distances, starts)
    return _to_predictions(model, labels, probabilities, sure, least)


def require_finite(predictions: Predictions) -> Predictions:
    """Return predictions whose probabilities are finite. Those of a broken model may not be, for some images only.

    Raises:
        ModelError: one is not.
    """
    if not np.isfinite(predictions.probabilities).all():
        raise ModelError(f"{predictions.model}: its probabilities of some images are not finite")
    return predictions


def _judge(model: Classifier, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Probabilities, float32 (n, classes), and distances, float32 (n,), see `Classifier.judge`."""
    contract = model.contract
    if images.dtype != contract.dtype.base or images.shape[1:] != contract.dtype.shape or not images.ndim:
        shape = ", ".join(map(str, contract.image.shape))
        expected = "photos read by read_views" if contract.embedding else f"uint8 (n, {shape}), 0 to 255"
        raise InputError("images", f"found {images.dtype} {images.shape}, expected {expected}")
    starts = range(0, max(len(images), 1), MAX_AT_ONCE)
    chunks = [model.judge(images[start : start + MAX_AT_ONCE]) for start in starts]
    if len(chunks) == 1:
        return chunks[0]
    distances = [one for _, one in chunks if one is not None]
    return np.concatenate([one for one, _ in chunks]), np.concatenate(distances) if distances else None
