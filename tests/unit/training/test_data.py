"""Augmentation, validation splits and sampling of rare classes."""

import collections
import dataclasses
import math
import statistics
import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from trainings import one_thread  # noqa: F401, for every test here

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import DataContract, Images, ImageSpec
from components.dataset.manifest import Examples
from components.model.tensors import to_input
from components.training.config import TrainConfig
from components.training.data import TrainingData, TrainingImages, divide
from components.training.presets import PRESETS
from components.training.train import Phase, build

DRAWS = 6000


@pytest.fixture
def images() -> Images:
    """Noise without black pixels: a black pixel after augmentation comes from padding or was erased."""
    return np.random.default_rng(0).integers(1, 256, (3, 28, 28), np.uint8)


def augment(images: Images, config: TrainConfig, rows: Tensor) -> NDArray[np.uint8]:
    """Augment rows with seed 0 -> uint8 (b, 28, 28)."""
    torch.manual_seed(0)
    x = TrainingImages(torch.tensor(images), config)(rows)
    assert (x.dtype, x.shape) == (torch.float32, (len(rows), 784))
    pixels = (x * 255).round()
    torch.testing.assert_close(x, pixels / 255, rtol=0, atol=1e-7)
    return pixels.to(torch.uint8).view(-1, 28, 28).numpy()


def moved(image: Images, most: int, flip: bool) -> list[bytes]:
    """Return every shift of an image by at most `most` pixels per axis, and with `flip` those of its mirror image."""
    ways = []
    for one in (image, image[:, ::-1])[: 1 + flip]:
        padded = np.pad(one, most)
        for down in range(2 * most + 1):
            ways += [padded[down : down + 28, right : right + 28].tobytes() for right in range(2 * most + 1)]
    return ways


@pytest.mark.parametrize(("shift", "flip"), [(1, False), (0, True), (1, True), (2, True), (4, False)])
def test_images_are_shifted_and_flipped_with_equal_probabilities(images: Images, shift: int, flip: bool) -> None:
    rows = torch.arange(DRAWS) % len(images)
    found = augment(images, TrainConfig(shift=shift, flip=flip), rows)
    ways = [moved(image, shift, flip) for image in images]
    taken = [ways[row].index(image.tobytes()) for row, image in zip(rows.tolist(), found, strict=True)]
    expected = DRAWS / len(ways[0])
    counts = collections.Counter(taken)
    assert len(counts) == len(ways[0]) == (2 * shift + 1) ** 2 * (1 + flip)
    assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in counts.values())


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_at_most_one_rectangle_is_erased_and_the_rest_is_unchanged(images: Images, share: float) -> None:
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


def test_erasing_combines_with_shifting(images: Images) -> None:
    """Outside its rectangle, an image is one of the shifted ones."""
    config = TrainConfig(shift=1, flip=True, erase=1.0)
    for image in augment(images[:1], config, torch.zeros(100, dtype=torch.int64)):
        ways = (np.frombuffer(way, np.uint8).reshape(28, 28) for way in moved(images[0], 1, flip=True))
        differing = (np.argwhere(image != way) for way in ways)
        extents = [np.ptp(where, axis=0).max() + 1 if len(where) else 0 for where in differing]
        assert min(extents) <= 14


def test_augmentation_does_not_change_its_input(images: Images) -> None:
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


def test_without_augmentation_preprocessing_equals_serving(images: Images) -> None:
    random = torch.get_rng_state()
    rows = torch.tensor([2, 0, 0])
    x = TrainingImages(torch.tensor(images), TrainConfig())(rows)
    assert torch.equal(x, to_input(images[rows.numpy()]))
    assert np.array_equal(x.numpy(), images[rows.numpy()].reshape(3, 784).astype(np.float32) / 255)
    assert torch.equal(torch.get_rng_state(), random), "no random number is drawn"


def test_augmentation_is_faster_than_a_training_step() -> None:
    """With the flagship's settings, images and cheaper phase; a thirtieth of the time when measured."""
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


def test_colour_images_are_shifted_flipped_and_erased_in_all_channels_alike() -> None:
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


# --- rotation, scaling, translation and brightness ---


@pytest.fixture
def square() -> Images:
    """uint8 (1, 40, 40): a bright square of 20 pixels in the middle of grey."""
    images = np.full((1, 40, 40), 50, np.uint8)
    images[:, 10:30, 10:30] = 200
    return images


def many(images: Images, config: TrainConfig, count: int = 400) -> NDArray[np.float32]:
    """float32 (count, height, width[, 3]), 0 to 255, seed 0."""
    torch.manual_seed(0)
    x = TrainingImages(torch.tensor(images), config)(torch.zeros(count, dtype=torch.int64))
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    return (x * 255).view(count, *images.shape[1:]).numpy()


def bright(images: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre and extent of what is brighter than the background, each (n, 2), rows and columns, in pixels."""
    shares = (images - 50) / 150
    down, right = shares.max(axis=2).sum(axis=1), shares.max(axis=1).sum(axis=1)
    places = np.arange(images.shape[1])
    middle = [(shares * grid).sum(axis=(1, 2)) / shares.sum(axis=(1, 2)) for grid in (places[:, None], places[None])]
    return np.stack(middle, 1), np.stack([down, right], 1)


def test_images_are_translated_by_at_most_a_share_of_their_sides_and_the_background_is_extended(square: Images) -> None:
    found = many(square, TrainConfig(translate=0.1))
    middle, extent = bright(found)
    np.testing.assert_allclose(extent, 20, atol=0.01)
    assert abs(middle - 19.5).max(axis=0) == pytest.approx([4, 4], abs=0.1)
    assert abs((middle - 19.5).mean(axis=0)).max() < 0.5
    assert found[:, [0, -1]] == pytest.approx(50, abs=0.01), "the level of the border, not black"


def test_height_and_width_are_scaled_independently(square: Images) -> None:
    middle, extent = bright(many(square, TrainConfig(scale=0.3)))
    np.testing.assert_allclose(middle, 19.5, atol=0.01)
    assert extent.min(axis=0) == pytest.approx([14, 14], abs=0.3)
    assert extent.max(axis=0) == pytest.approx([26, 26], abs=0.3)
    assert abs(np.corrcoef(extent, rowvar=False)).min() < 0.15


@pytest.mark.parametrize("sides", [(40, 40), (30, 50)])
def test_rotation_preserves_shapes_in_rectangular_images(sides: tuple[int, int]) -> None:
    """A bar keeps its length and has an angle within the range."""
    images = np.zeros((1, *sides), np.uint8)
    down, right = (side // 2 for side in sides)
    images[:, down - 2 : down + 2, right - 10 : right + 10] = 255
    found = many(images, TrainConfig(rotate=30))
    grid = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij")) - np.array([down, right])[:, None, None] + 0.5
    spread = np.einsum("nij,aij,bij->nab", found, grid, grid) / found.sum(axis=(1, 2))[:, None, None]
    lengths = np.sqrt(12 * np.linalg.eigvalsh(spread)[:, 1])
    angles = np.degrees(np.arctan2(2 * spread[:, 0, 1], spread[:, 1, 1] - spread[:, 0, 0]) / 2)
    np.testing.assert_allclose(lengths, 20, rtol=0.05)
    assert (angles.min(), angles.max()) == (pytest.approx(-30, abs=1), pytest.approx(30, abs=1))


def test_brightness_scales_all_pixels_and_colour_each_channel() -> None:
    images = np.full((1, 8, 8, 3), 100, np.uint8)
    found = many(images, TrainConfig(brightness=0.4))
    assert np.ptp(found, axis=(1, 2, 3)).max() < 1e-4
    assert (found.min(), found.max()) == (pytest.approx(60, abs=1), pytest.approx(140, abs=1))
    found = many(images, TrainConfig(colour=0.4))
    assert np.ptp(found, axis=(1, 2)).max() < 1e-4
    assert abs(np.corrcoef(found[:, 0, 0].T) - np.eye(3)).max() < 0.2
    grey = many(images[..., 0], TrainConfig(colour=0.4))
    assert (grey == grey[0, 0, 0]).all(), "colour has no effect on a grey image"
    assert many(np.full((1, 8, 8), 250, np.uint8), TrainConfig(brightness=0.5)).max() <= 255


def test_all_augmentations_combine_for_grey_and_colour_images(images: Images) -> None:
    everything = TrainConfig(
        shift=1, flip=True, erase=0.5, rotate=10, scale=0.1, translate=0.1, brightness=0.3, colour=0.2
    )
    for given in (images, np.repeat(images[..., None], 3, axis=3)):
        before = given.copy()
        found = many(given, everything, 50)
        assert np.isfinite(found).all()
        assert len(np.unique(found.reshape(50, -1), axis=0)) == 50
        assert np.array_equal(given, before)


# --- rare classes ---


def examples_with(counts: list[int]) -> Examples:
    names = tuple(f"class {label}" for label in range(len(counts)))
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.uint16)
    images = np.zeros((len(labels), 8, 8), np.uint8)
    images[:, 0, 0] = labels  # an image encodes its class
    return Examples(
        [str(row) for row in range(len(labels))], images, labels, DataContract("skew", names, ImageSpec(8, 8), "none")
    )


def divided(counts: list[int], **options: Any) -> TrainingData:
    torch.manual_seed(0)
    return divide(examples_with(counts), TrainConfig(batch_size=8, **options), torch.device("cpu"))


def test_a_stratified_split_holds_out_the_same_share_of_each_class_and_at_least_one_image() -> None:
    counts = [400, 40, 6, 2, 1]
    data = divided(counts, stratify=True, validation_share=0.25)
    held_out, kept = (torch.bincount(found, minlength=5) for found in (data.validation_labels, data.labels))
    assert held_out.tolist() == [100, 10, 2, 1, 0], "a class with one image keeps it for training"
    assert (held_out + kept).tolist() == counts
    shown = (data.validation_x[:, 0] * 255).round().long()
    assert torch.equal(shown, data.validation_labels)
    shown = (data.images(torch.arange(len(data.labels)))[:, 0] * 255).round().long()
    assert torch.equal(shown, data.labels)


def test_the_held_out_images_depend_on_the_seed() -> None:
    examples = examples_with([60, 30])
    config = TrainConfig(batch_size=8, stratify=True)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        images = np.arange(90, dtype=np.uint8)[:, None, None] * np.ones((8, 8), np.uint8)
        numbered = dataclasses.replace(examples, images=images)
        found.append(divide(numbered, config, torch.device("cpu")).validation_x[:, 0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0].sort().values, found[2].sort().values)


@pytest.mark.parametrize(("balance", "expected"), [(0.0, [800, 80, 20]), (0.5, [550, 174, 87]), (1.0, [270, 270, 270])])
def test_balance_draws_rare_classes_more_often(balance: float, expected: list[int]) -> None:
    """A tenth of the 900 images is held out, which leaves 720, 72 and 18."""
    data = divided([800, 80, 20], stratify=True, balance=balance)
    rows = data.draw_order()
    assert len(rows) == len(data.labels) == 810
    drawn = torch.bincount(data.labels[rows], minlength=3)
    expected = [720, 72, 18] if balance == 0 else expected
    assert abs(drawn - torch.tensor(expected)).max() <= 1
    times = torch.bincount(rows, minlength=810)
    for label in range(3):
        of_class = times[data.labels == label]
        assert of_class.max() - of_class.min() <= 1, "the counts within a class differ by at most one"
    assert not torch.equal(data.draw_order(), rows)


@pytest.mark.parametrize(("counts", "expected"), [([800, 90, 90], [720, 81, 81]), ([800, 80, 70], [530, 168, 157])])
def test_rare_classes_are_drawn_more_often_by_default(counts: list[int], expected: list[int]) -> None:
    data = divided(counts, stratify=True)
    torch.manual_seed(0)
    drawn = torch.bincount(data.labels[data.draw_order()]).tolist()
    assert drawn == pytest.approx(expected, abs=2)


def test_without_balance_the_order_is_a_permutation_and_no_other_random_number_is_drawn() -> None:
    data = divided([30, 20])
    torch.manual_seed(3)
    rows, after = data.draw_order(), torch.get_rng_state()
    torch.manual_seed(3)
    assert torch.equal(rows, torch.randperm(45))
    assert torch.equal(after, torch.get_rng_state())
