"""Dynamic batching: answers do not depend on the other requests of a pass, and no request waits for a large one."""

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from promotions import break_a_pixel

from components.contract import Images, ModelCard, Predictions
from components.dataset.manifest import Examples
from components.errors import InputError, ModelError
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.scoring.answers import Answer, to_answers
from components.scoring.predict import predict_views
from serving import batching
from serving.batching import MAX_LOOKS, Batcher, Waiting, share_out


@pytest.fixture
def model(network: MLP, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:abcdefgh", card, network.to_numpy())


@pytest.fixture
def other(network: MLP, card: ModelCard) -> Classifier:
    """Another model, whose probabilities differ."""
    calibration = dataclasses.replace(card.calibration, temperature=3.0)
    return Classifier("fashion-mlp:other234", dataclasses.replace(card, calibration=calibration), network.to_numpy())


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The model and the number of images of each pass."""
    found: list[tuple[str, int]] = []

    def record(model: Classifier, images: Images, *rest: Any) -> Predictions:
        found.append((model.tag, len(images)))
        return predict_views(model, images, *rest)

    monkeypatch.setattr(batching, "predict_views", record)
    return found


def gather(*requests: Coroutine[Any, Any, list[Answer]]) -> list[Any]:
    """Run requests at the same time, and return the answers or the error of each."""

    async def run() -> Any:
        return await asyncio.gather(*requests, return_exceptions=True)

    return list(asyncio.run(run()))


def waiting(model: Classifier, images: Images) -> Waiting:
    return Waiting(model, images, np.ones(len(images), np.intp), False, asyncio.Future(loop=asyncio.new_event_loop()))


def draw_request(chance: np.random.Generator, images: Images) -> tuple[Images, NDArray[np.intp] | None]:
    """One to 40 photos, each of one image or of up to four."""
    photos = int(chance.integers(1, 41))
    counts = chance.integers(1, 5, photos) if chance.random() < 0.4 else None
    rows = chance.integers(len(images), size=photos if counts is None else counts.sum())
    return images[rows], counts


def assert_same(found: list[Any], expected: Predictions) -> None:
    """The answers are the expected ones, but for rounding."""
    rounded = {"confidence": 1e-5, "probabilities": 1e-5, "familiarity": 2e-3}
    for one, other in zip(found, to_answers(expected), strict=True):
        for name, value in dict[str, Any](other).items():
            if name in rounded:
                assert np.allclose(one[name], value, rtol=0, atol=rounded[name]), name
            else:
                assert one[name] == value, name


@pytest.mark.parametrize("seed", range(20))
def test_answers_are_those_of_each_request_alone(
    model: Classifier,
    other: Classifier,
    test_split: Examples,
    passes: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """In random mixes of sizes, photos of several views, cancelled and invalid requests, and a swap of models."""
    chance = np.random.default_rng(seed)
    room = int(chance.choice([1, 7, 64, 1024]))
    monkeypatch.setattr(batching, "MAX_PRODUCTS", room * model.weights)
    batcher = Batcher()
    drawn = [draw_request(chance, test_split.images) for _ in range(30)]
    models = [model if place < 15 else other for place in range(30)]
    invalid, cancelled = set(chance.choice(30, 4, replace=False)), set(chance.choice(30, 4, replace=False))

    async def ask(place: int) -> list[Answer]:
        for _ in range(chance.integers(4)):
            await asyncio.sleep(0)
        images, counts = drawn[place]
        if place in invalid:
            images = images.astype(np.float32) if place % 2 else images[:, :20]
        return await batcher.classify(models[place], images, counts)

    async def run() -> list[Any]:
        tasks = [asyncio.create_task(ask(place)) for place in range(30)]
        for _ in range(chance.integers(1, 5)):
            await asyncio.sleep(0)
        for place in cancelled:
            tasks[place].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    for place, found in enumerate(asyncio.run(run())):
        if isinstance(found, asyncio.CancelledError):
            assert place in cancelled
        elif place in invalid:
            assert isinstance(found, InputError)
        else:
            assert_same(found, predict_views(models[place], *drawn[place]))
    assert not batcher.waiting
    assert {tag for tag, _ in passes} == {model.tag, other.tag}


def test_requests_that_arrive_together_share_a_pass(
    model: Classifier, test_split: Examples, passes: list[tuple[str, int]]
) -> None:
    batcher = Batcher()
    gather(*(batcher.classify(model, test_split.images[row : row + 1]) for row in range(32)))
    assert passes == [(model.tag, 32)]


def test_a_request_alone_is_classified_at_once(model: Classifier, test_split: Examples) -> None:
    async def run() -> int:
        rounds = 0
        answer = asyncio.create_task(Batcher().classify(model, test_split.images[:1]))
        while not answer.done():
            rounds += 1
            await asyncio.sleep(0)
        return rounds

    assert asyncio.run(run()) <= 4  # of the event loop: start, pass, answer


@pytest.mark.parametrize(("arriving", "first"), [(5, 5), (50, MAX_LOOKS + 3)])
def test_requests_that_keep_arriving_share_a_pass_within_bounds(
    model: Classifier, test_split: Examples, passes: list[tuple[str, int]], arriving: int, first: int
) -> None:
    """Two requests, then one more in each round of the event loop."""
    batcher = Batcher()

    async def run() -> None:
        tasks = []
        for row in range(arriving):
            tasks.append(asyncio.create_task(batcher.classify(model, test_split.images[row : row + 1])))
            await asyncio.sleep(0) if row else None
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert passes[0][1] <= first
    assert passes[0][1] > first / 2
    assert sum(images for _, images in passes) == arriving


def test_a_swap_of_models_is_a_boundary(
    model: Classifier, other: Classifier, test_split: Examples, passes: list[tuple[str, int]]
) -> None:
    batcher, images = Batcher(), test_split.images
    models = [model, other, model, other, other]
    found = gather(*(batcher.classify(one, images[:2]) for one in models))
    for answers, one in zip(found, models, strict=True):
        assert_same(answers, predict_views(one, images[:2], None))
    assert passes == [(model.tag, 4), (other.tag, 6)]


def test_an_invalid_request_fails_alone(model: Classifier, test_split: Examples) -> None:
    batcher, good = Batcher(), test_split.images[:3]
    found = gather(*(batcher.classify(model, images) for images in (good, good[:, :20], good.astype(np.int64), good)))
    assert [type(one) for one in found] == [list, InputError, InputError, list]
    for one in (found[0], found[3]):
        assert_same(one, predict_views(model, good, None))


def test_an_image_that_a_broken_model_cannot_classify_fails_alone(network: MLP, card: ModelCard) -> None:
    """The weights are finite, so the model can be stored and loaded."""
    model = break_a_pixel(Classifier("fashion-mlp:abcdefgh", card, network.to_numpy()))
    good, bad = np.zeros((2, 1, 28, 28), np.uint8)
    good[0, 5:20, 5:20] = bad[0, 5:20, 5:20] = 200
    bad[0, 0, 0] = 255
    found = gather(*(Batcher().classify(model, images) for images in (good, bad, good)))
    batcher = Batcher()
    found += gather(*(batcher.classify(model, images) for images in (good, bad, good)))
    assert [type(one) for one in found] == [list, ModelError, list] * 2
    assert_same(found[3], predict_views(model, good, None))


def test_a_cancelled_request_is_not_classified(
    model: Classifier, test_split: Examples, passes: list[tuple[str, int]]
) -> None:
    batcher = Batcher()

    async def run() -> None:
        kept, cancelled = (asyncio.create_task(batcher.classify(model, test_split.images[:2])) for _ in range(2))
        asyncio.get_running_loop().call_soon(cancelled.cancel)
        await kept
        assert cancelled.cancelled()

    asyncio.run(run())
    assert passes == [(model.tag, 2)]


def test_one_photo_does_not_wait_for_a_greedy_client(
    model: Classifier, test_split: Examples, passes: list[tuple[str, int]]
) -> None:
    """While a client keeps 50 requests of a thousand images waiting, each photo of another is in the next pass."""
    batcher, many = Batcher(), np.concatenate([test_split.images] * 5)

    async def run() -> None:
        greedy = [asyncio.create_task(batcher.classify(model, many)) for _ in range(50)]
        for _ in range(5):
            before = len(passes)
            await asyncio.create_task(batcher.classify(model, many[:1]))
            assert len(passes) <= before + 3  # the one before it, and one before the answer arrives
        assert not any(one.done() for one in greedy[25:])
        await asyncio.gather(*greedy)

    asyncio.run(run())
    assert sum(images for _, images in passes) == 50 * len(many) + 5


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([5], [5]),
        ([2000], [100]),
        ([1, 2000, 1, 1], [1, 97, 1, 1]),
        ([60, 30, 60], [35, 30, 35]),
        ([1] * 130, [1] * 100),  # the longest waiting
        ([3] * 60, [1] * 20 + [2] * 40),
    ],
)
def test_a_pass_is_shared_out_evenly(
    model: Classifier, test_split: Examples, monkeypatch: pytest.MonkeyPatch, sizes: list[int], expected: list[int]
) -> None:
    monkeypatch.setattr(batching, "MAX_PRODUCTS", 100 * model.weights)
    requests = [waiting(model, np.resize(test_split.images, (size, 28, 28))) for size in sizes]
    shares = {id(request): share for request, share in share_out(requests)}
    assert sorted(shares[id(one)] for one in requests[: len(expected)]) == sorted(expected)
    assert len(shares) == len(expected)
    assert list(share_out([])) == []
