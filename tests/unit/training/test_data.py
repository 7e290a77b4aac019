"""Shift, flip and erase, each image found again among the ones that it could have become."""

import collections
import math
import statistics
import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from trainings import one_thread  # noqa: F401, for every test here

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Images
from components.model.tensors import to_input
from components.training.config import TrainConfig
from components.training.data import TrainingData, TrainingImages
from components.training.presets import PRESETS
from components.training.train import Phase, build

DRAWS = 6000


@pytest.fixture
def images() -> Images:
    """Noise without a black pixel: what is black afterwards came from outside or was erased."""
    return np.random.default_rng(0).integers(1, 256, (3, 28, 28), np.uint8)


def augment(images: Images, config: TrainConfig, rows: Tensor) -> NDArray[np.uint8]:
    """uint8 (b, 28, 28), seed 0."""
    torch.manual_seed(0)
    x = TrainingImages(torch.tensor(images), config)(rows)
    assert (x.dtype, x.shape) == (torch.float32, (len(rows), 784))
    pixels = (x * 255).round()
    torch.testing.assert_close(x, pixels / 255, rtol=0, atol=1e-7)
    return pixels.to(torch.uint8).view(-1, 28, 28).numpy()


def moved(image: Images, most: int, flip: bool) -> list[bytes]:
    """Every way to move an image by up to so many pixels each way, and its mirror image likewise."""
    ways = []
    for one in (image, image[:, ::-1])[: 1 + flip]:
        padded = np.pad(one, most)
        for down in range(2 * most + 1):
            ways += [padded[down : down + 28, right : right + 28].tobytes() for right in range(2 * most + 1)]
    return ways


@pytest.mark.parametrize(("shift", "flip"), [(1, False), (0, True), (1, True), (2, True), (4, False)])
def test_every_image_is_moved_or_mirrored_and_all_ways_are_equally_likely(
    images: Images, shift: int, flip: bool
) -> None:
    rows = torch.arange(DRAWS) % len(images)
    found = augment(images, TrainConfig(shift=shift, flip=flip), rows)
    ways = [moved(image, shift, flip) for image in images]
    taken = [ways[row].index(image.tobytes()) for row, image in zip(rows.tolist(), found, strict=True)]
    expected = DRAWS / len(ways[0])
    counts = collections.Counter(taken)
    assert len(counts) == len(ways[0]) == (2 * shift + 1) ** 2 * (1 + flip)
    assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in counts.values())


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_at_most_one_rectangle_is_erased_and_the_rest_is_untouched(images: Images, share: float) -> None:
    rows = torch.arange(DRAWS) % len(images)
    found = augment(images, TrainConfig(erase=share), rows)
    erased = 0
    sides, edges = set(), set()
    for row, image in zip(rows.tolist(), found, strict=True):
        black = image == 0
        assert np.array_equal(image[~black], images[row][~black])
        if black.any():
            erased += 1
            down, right = black.any(axis=1).nonzero()[0], black.any(axis=0).nonzero()[0]
            assert black[down[0] : down[-1] + 1, right[0] : right[-1] + 1].all()
            assert black.sum() == len(down) * len(right)
            assert (down[-1] - down[0] + 1, right[-1] - right[0] + 1) == (len(down), len(right))
            sides |= {("down", len(down)), ("right", len(right))}
            edges |= {("top", down[0]), ("bottom", down[-1]), ("left", right[0]), ("right", right[-1])}
    assert abs(erased - share * DRAWS) <= 4 * math.sqrt(share * (1 - share) * DRAWS)
    assert sides == {(way, length) for way in ("down", "right") for length in range(4, 14 + 1)}
    assert {("top", 0), ("bottom", 27), ("left", 0), ("right", 27)} <= edges


def test_erasing_goes_with_moving(images: Images) -> None:
    """Outside its rectangle, an image is one of the moved ones."""
    config = TrainConfig(shift=1, flip=True, erase=1.0)
    for image in augment(images[:1], config, torch.zeros(100, dtype=torch.int64)):
        ways = (np.frombuffer(way, np.uint8).reshape(28, 28) for way in moved(images[0], 1, flip=True))
        differing = (np.argwhere(image != way) for way in ways)
        extents = [np.ptp(where, axis=0).max() + 1 if len(where) else 0 for where in differing]
        assert min(extents) <= 14


def test_the_images_themselves_are_never_changed(images: Images) -> None:
    before = images.copy()
    augmented = TrainingImages(torch.from_numpy(images), TrainConfig(shift=2, flip=True, erase=1.0))
    for _ in range(20):
        augmented(torch.arange(len(images)))
    assert np.array_equal(images, before)
    augmented.erase = 0.0
    found = (augmented(torch.arange(len(images))) * 255).round().to(torch.uint8).view(-1, 28, 28).numpy()
    assert all(one.tobytes() in moved(image, 2, flip=True) for one, image in zip(found, images, strict=True))


def test_an_image_differs_from_call_to_call() -> None:
    images = torch.randint(1, 256, (200, 28, 28), dtype=torch.uint8)
    for config in (TrainConfig(shift=1), TrainConfig(flip=True), TrainConfig(erase=0.5)):
        augmented = TrainingImages(images, config)
        first, second = (augmented(torch.arange(200)) for _ in range(2))
        assert not torch.equal(first, second)


def test_without_augmentation_images_are_what_serving_makes_of_them(images: Images) -> None:
    random = torch.get_rng_state()
    rows = torch.tensor([2, 0, 0])
    x = TrainingImages(torch.tensor(images), TrainConfig())(rows)
    assert torch.equal(x, to_input(images[rows.numpy()]))
    assert np.array_equal(x.numpy(), images[rows.numpy()].reshape(3, 784).astype(np.float32) / 255)
    assert torch.equal(torch.get_rng_state(), random), "and it draws nothing"


def test_augmentation_costs_less_than_the_step_that_it_feeds() -> None:
    """The flagship's, in the phase with the cheaper steps, of as many images as it has: a thirtieth when measured."""
    config = PRESETS["flagship"].config.phases()[0]
    images, labels = torch.randint(256, (54_000, 28, 28), dtype=torch.uint8), torch.randint(10, (54_000,))
    data = TrainingData(TrainingImages(images, config), labels, labels, to_input(images[:1000]), labels[:1000])
    training = Phase(build(config, CONTRACT), config, data)
    training.network.train()
    augmenting, stepping = [], []
    for rows in torch.randperm(54_000).split(config.batch_size)[:7]:
        began = time.perf_counter()
        x = data.images(rows)
        augmented = time.perf_counter()
        training.learn(x, labels[rows])
        augmenting.append(augmented - began)
        stepping.append(time.perf_counter() - augmented)
    assert statistics.median(augmenting) < statistics.median(stepping)


def test_images_in_colour_are_moved_and_mirrored_as_a_whole_and_erased_in_all_channels() -> None:
    images = np.random.default_rng(0).integers(1, 256, (3, 20, 24, 3), np.uint8)
    rows = torch.arange(300) % 3
    torch.manual_seed(0)
    x = TrainingImages(torch.tensor(images), TrainConfig(shift=1, flip=True))(rows)
    found = (x * 255).round().to(torch.uint8).view(-1, 20, 24, 3).numpy()
    for row, image in zip(rows.tolist(), found, strict=True):
        both = (np.pad(one, ((1, 1), (1, 1), (0, 0))) for one in (images[row], images[row][:, ::-1]))
        ways = [one[down : down + 20, right : right + 24] for one in both for down in range(3) for right in range(3)]
        assert any(np.array_equal(image, way) for way in ways)
    erased = TrainingImages(torch.tensor(images), TrainConfig(erase=1.0))(rows).view(-1, 20, 24, 3).numpy() == 0
    assert np.array_equal(erased.any(axis=3), erased.all(axis=3))
    sides = {(black.any(axis=(1, 2)).sum(), black.any(axis=(0, 2)).sum()) for black in erased}
    assert {down for down, _ in sides} == set(range(2, 11)), "a seventh to half of 20"
    assert {right for _, right in sides} == set(range(3, 13)), "a seventh to half of 24"
