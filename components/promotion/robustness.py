"""Accuracy under small, realistic disturbances: shift, brightness, noise."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from components.contract import Images

MAX_IMAGES = 2_500  # evenly spaced and the same for both models; resolves 0.04 % of accuracy


def measure_robustness(
    answer: Callable[[Images], NDArray[np.float32]], images: Images, labels: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.bool_]]]:
    """Evaluate a model on images without and with each disturbance; vectors have none, because only pixels move.

    Args:
        answer: images -> logits, float32 (n, classes).
        images: at least one; at most 2,500 of them are used.
        labels: true labels.

    Returns:
        Whether the model is right on each image used, (n,), and the same under each disturbance, by name.
    """
    step = -(-len(images) // MAX_IMAGES)
    images, labels = images[::step], labels[::step]

    def find_right(seen: Images) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = answer(seen).argmax(1) == labels
        return right

    disturbances = {} if images.dtype.names else DISTURBANCES
    return find_right(images), {name: find_right(disturb(images)) for name, disturb in disturbances.items()}


def move(images: Images) -> Images:
    """Shift images by two pixels, in turn up, right, down and left; fill with zeros."""
    moved = np.zeros_like(images)
    moved[0::4, :-2] = images[0::4, 2:]
    moved[1::4, :, 2:] = images[1::4, :, :-2]
    moved[2::4, 2:] = images[2::4, :-2]
    moved[3::4, :, :-2] = images[3::4, :, 2:]
    return moved


def darken(images: Images) -> Images:
    """Scale every pixel by 0.7."""
    return (images * np.float32(0.7)).astype(np.uint8)


def brighten(images: Images) -> Images:
    """Scale every pixel by 1.3, clipped at 255."""
    brighter: Images = np.minimum(images * np.float32(1.3), 255).astype(np.uint8)
    return brighter


def add_noise(images: Images) -> Images:
    """Add Gaussian noise with a standard deviation of 16 and a fixed seed."""
    noise = np.random.default_rng(0).normal(0, 16, images.shape).astype(np.float32)
    noisy: Images = np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)
    return noisy


DISTURBANCES: dict[str, Callable[[Images], Images]] = {
    "moved by 2 pixels": move,
    "0.7 as bright": darken,
    "1.3 as bright": brighten,
    "with noise": add_noise,
}
