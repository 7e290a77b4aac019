"""Accuracy under small disturbances that a photographer's day brings."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from components.contract import Images

MAX_IMAGES = 2_500  # at even distances: a tenth of a per cent of them is two images, and both models see the same


def measure_robustness(
    answer: Callable[[Images], Tensor], images: Images, labels: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.bool_]]]:
    """Which images a model is right on, and which under each disturbance, by name; (n,) of the same images.

    Args:
        answer: images -> the model's logits, float32 (n, classes).
        images: at least one.
        labels: the true ones.
    """
    step = -(-len(images) // MAX_IMAGES)
    images, labels = images[::step], labels[::step]

    def find_right(seen: Images) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = answer(seen).argmax(1).numpy() == labels
        return right

    return find_right(images), {name: find_right(disturb(images)) for name, disturb in DISTURBANCES.items()}


def move(images: Images) -> Images:
    """By two pixels: every fourth image up, the next right, down, left; zeros come in."""
    moved = np.zeros_like(images)
    moved[0::4, :-2] = images[0::4, 2:]
    moved[1::4, :, 2:] = images[1::4, :, :-2]
    moved[2::4, 2:] = images[2::4, :-2]
    moved[3::4, :, :-2] = images[3::4, :, 2:]
    return moved


def darken(images: Images) -> Images:
    """Every pixel to 0.7 of its brightness."""
    return (images * np.float32(0.7)).astype(np.uint8)


def brighten(images: Images) -> Images:
    """Every pixel to 1.3 of its brightness, 255 at most."""
    brighter: Images = np.minimum(images * np.float32(1.3), 255).astype(np.uint8)
    return brighter


def add_noise(images: Images) -> Images:
    """Gaussian noise with a standard deviation of 16, the same for the same number of images."""
    noise = np.random.default_rng(0).normal(0, 16, images.shape).astype(np.float32)
    noisy: Images = np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)
    return noisy


DISTURBANCES: dict[str, Callable[[Images], Images]] = {
    "moved by 2 pixels": move,
    "0.7 as bright": darken,
    "1.3 as bright": brighten,
    "with noise": add_noise,
}
