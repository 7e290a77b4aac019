"""A loaded model + images -> Predictions."""

import numpy as np
import torch

from components.contract import IMAGE_SHAPE, Images, Predictions
from components.errors import InputError
from components.model.classifier import Classifier

MOST_AT_ONCE = 8192  # images a forward pass: 26 MB of input


def predict(model: Classifier, images: Images) -> Predictions:
    """Classify images.

    Args:
        model: what `load_model` returned.
        images: uint8 (n, 28, 28), 0 background to 255; n may be 0.

    Raises:
        InputError: another dtype or shape.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != IMAGE_SHAPE:
        raise InputError("images", f"found {images.dtype} {images.shape}, expected uint8 (n, 28, 28), 0 to 255")
    starts = range(0, max(len(images), 1), MOST_AT_ONCE)
    chunks = [model.probabilities(images[start : start + MOST_AT_ONCE]) for start in starts]
    probabilities = chunks[0] if len(chunks) == 1 else torch.cat(chunks)
    confidences, labels = (found.numpy() for found in probabilities.max(dim=1))
    sure = confidences > model.thresholds[labels]
    return Predictions(model.tag, labels.astype(np.uint8), probabilities.numpy(), sure)
