"""The distance to the training images, and its tensors in a model's file."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import DataContract, Embedding, ImageSpec, KnownRange, ModelCard
from components.dataset.manifest import Examples
from components.errors import ModelError
from components.model.classifier import Classifier
from components.model.inputs import to_rows
from components.model.known import KnownInputs, KnownMeasure, fit_known
from components.model.mlp import MLP
from components.model.numpy_mlp import Rows
from components.model.weights import PREFIX, check_fit, forms_of
from components.registry import store
from components.scoring.predict import predict, predict_photos
from components.training.train import Trained

INPUTS, UNITS, RANK = 64, 8, 6
PIXELS = DataContract("patterns", ("one", "other"), ImageSpec(8, 8), "garment")


def draw(rows: int, seed: int) -> tuple[Rows, Rows]:
    """Draw inputs near one of two patterns, and a hidden layer that depends on them."""
    random = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).random((2, INPUTS), np.float32)
    noise = random.standard_normal((rows, INPUTS), np.float32) / 50
    inputs: Rows = np.clip(patterns[random.integers(2, size=rows)] + noise, 0, 1)
    return inputs, hide(inputs)


def hide(inputs: Rows) -> Rows:
    weights = np.random.default_rng(1).standard_normal((INPUTS, UNITS), np.float32)
    hidden: Rows = np.maximum(inputs @ weights, 0)
    return hidden


def fit() -> KnownInputs:
    return fit_known(*draw(202, 2), RANK, PIXELS)


def measure_of() -> KnownMeasure:
    return fit().measure(PIXELS)


# --- the distance ---


def test_the_fit_is_deterministic() -> None:
    first, second = fit().arrays(), fit().arrays()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_an_input_unlike_the_training_images_is_farther_than_every_one_like_them() -> None:
    measure = measure_of()
    like = measure(*draw(200, 9))
    other = 1 - draw(200, 9)[0]  # other patterns of the same values
    unlike = measure(other, hide(other))
    assert (str(like.dtype), like.shape) == ("float32", (200,))
    assert unlike.min() > like.max()


def test_the_distance_grows_with_the_difference() -> None:
    measure, (inputs, hidden) = measure_of(), draw(50, 9)
    noise = np.random.default_rng(3).random((50, INPUTS), np.float32)
    means = [
        float(measure((inputs * (1 - share) + noise * share).astype(np.float32), hidden).mean())
        for share in (0, 0.2, 0.5, 1)
    ]
    assert means == sorted(means)


def test_only_the_leading_inputs_are_compared() -> None:
    (inputs, hidden), compared = draw(50, 2), 20
    vectors = dataclasses.replace(PIXELS, embedding=Embedding("network", "0" * 64, INPUTS, 32, compared))
    measure = fit_known(inputs, hidden, RANK, vectors).measure(vectors)
    others = inputs.copy()
    others[:, compared:] = 0.5
    assert np.array_equal(measure(inputs, hidden), measure(others, hidden))


def test_a_distance_does_not_depend_on_the_batch_or_the_brightness() -> None:
    measure, (inputs, hidden) = measure_of(), draw(20, 9)
    together = measure(inputs, hidden)
    alone = np.concatenate([measure(inputs[row : row + 1], hidden[row : row + 1]) for row in range(20)])
    assert np.allclose(together, alone, atol=1e-2)
    assert np.allclose(together, measure((inputs / 2).astype(np.float32), hidden), atol=5e-2)


@pytest.mark.parametrize("value", [0, 1])
def test_an_input_of_one_value_has_a_finite_distance(value: int) -> None:
    inputs, hidden = np.full((1, INPUTS), value, np.float32), np.zeros((1, UNITS), np.float32)
    assert np.isfinite(measure_of()(inputs, hidden)).all()


def test_a_distance_is_the_sum_over_the_groups() -> None:
    known, (inputs, hidden) = fit(), draw(50, 9)
    assert known.sample.shape == (5, 40, RANK)  # of 202 images
    of_groups = [
        dataclasses.replace(known, sample=group[None], scale=scale).measure(PIXELS)(inputs, hidden)
        for group, scale in zip(known.sample, known.scale.reshape(5, 40), strict=True)
    ]
    assert np.allclose(known.measure(PIXELS)(inputs, hidden), np.sum(of_groups, axis=0), atol=1e-4)


def test_no_input_has_no_distance() -> None:
    assert measure_of()(np.empty((0, INPUTS), np.float32), np.empty((0, UNITS), np.float32)).shape == (0,)


# --- models of the first version ---


def fit_first(inputs: Rows, hidden: Rows) -> KnownInputs:
    """All inputs, and a sample without groups."""
    rows = to_directions(inputs, hidden)
    basis = np.linalg.svd(rows, full_matrices=False)[2][:RANK].T.astype(np.float16)
    sample = (rows @ basis.astype(np.float32)).astype(np.float16)
    return KnownInputs(basis, sample, np.linspace(1, 2, len(sample), dtype=np.float32))


def to_directions(inputs: Rows, hidden: Rows) -> Rows:
    return np.concatenate([one / np.linalg.norm(one, axis=1, keepdims=True) for one in (np.sqrt(inputs), hidden)], 1)


def test_a_model_of_the_first_version_sums_the_five_nearest_images() -> None:
    known, (inputs, hidden) = fit_first(*draw(200, 2)), draw(50, 9)
    rows = to_directions(inputs, hidden) @ known.basis.astype(np.float32)
    expected = np.sort((2 - rows @ known.sample.astype(np.float32).T) * known.scale)[:, :5].sum(1)
    assert np.allclose(known.measure(PIXELS)(inputs, hidden), expected, atol=1e-4)


def test_a_stored_model_of_the_first_version_keeps_its_measure(
    network: MLP, card: ModelCard, test_split: Examples, bentoml_home: Path
) -> None:
    inputs = to_rows(test_split.images)
    hidden = network.to_numpy().hidden(inputs)
    network.known = fit_first(inputs, hidden)
    kept, rank = network.known.sample.shape
    threshold = float(np.median(network.known.measure(CONTRACT)(inputs, hidden)))
    assert card.known
    first = dataclasses.replace(card.known, kept=kept, rank=rank, groups=0, threshold=threshold)
    model = store.load_stored(store.save_model(network, dataclasses.replace(card, known=first)))
    found = predict(model, test_split.images)
    assert abs(found.unknown - len(inputs) / 2) <= 1


# --- the tensors ---


def test_the_tensors_of_a_network_round_trip(trained: Trained, test_split: Examples) -> None:
    assert trained.network.known
    tensors = trained.network.to_tensors()
    again = MLP(trained.network.config, CONTRACT)
    again.from_tensors(tensors)
    assert again.known
    assert again.to_tensors().keys() == tensors.keys()
    assert all(torch.equal(again.to_tensors()[name], tensors[name]) for name in tensors)
    assert not [name for name in again.state_dict() if name.startswith(PREFIX)]


def test_the_expected_tensors_match_the_network(trained: Trained, card: ModelCard) -> None:
    assert card.known
    tensors = {name: tensor.numpy() for name, tensor in trained.network.to_tensors().items()}
    forms = forms_of(trained.network.config, CONTRACT, card.known)
    assert {name: (form.shape, form.dtype) for name, form in forms.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()
    }
    check_fit(tensors, trained.network.config, CONTRACT, card.known)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("basis", (784, 3), r"weight known\.basis is float16 \(784, 3\), expected float16 \(212, \d+\)"),
        ("scale", (2,), r"weight known\.scale is float16 \(2,\), expected float32 \(\d+,\)"),
        ("sample", None, r"weight known\.sample is missing, expected float16 \(5, \d+, \d+\)"),
        ("other", (1,), "unknown weights known.other"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    trained: Trained, card: ModelCard, name: str, shape: tuple[int, ...] | None, message: str
) -> None:
    tensors = {name: tensor.numpy() for name, tensor in trained.network.to_tensors().items()}
    tensors.pop(f"{PREFIX}{name}", None)
    if shape:
        tensors[f"{PREFIX}{name}"] = np.zeros(shape, np.float16)
    with pytest.raises(ModelError, match=message):
        check_fit(tensors, trained.network.config, CONTRACT, card.known)


def test_tensors_that_the_card_does_not_describe_are_refused(trained: Trained) -> None:
    tensors = {name: tensor.numpy() for name, tensor in trained.network.to_tensors().items()}
    with pytest.raises(ModelError, match=r"unknown weights known\.basis"):
        check_fit(tensors, trained.network.config, CONTRACT, None)


# --- the answers ---


def test_a_stored_model_answers_as_before(
    network: MLP, card: ModelCard, test_split: Examples, bentoml_home: Path
) -> None:
    stored = store.load_stored(store.save_model(network, card))
    found, expected = (predict(one, test_split.images) for one in (stored, Classifier("", card, network.to_numpy())))
    assert found.known is not None
    assert expected.known is not None
    assert np.array_equal(found.known, expected.known)
    assert card.known
    assert found.unknown == int((~found.known).sum()) == round(card.known.test_refused * len(found.known))


def test_a_model_without_these_tensors_loads_and_cannot_tell(
    network: MLP, card: ModelCard, test_split: Examples, bentoml_home: Path
) -> None:
    network.known = None
    model = store.load_stored(store.save_model(network, dataclasses.replace(card, known=None)))
    assert model.card.known is None
    for found in (predict(model, test_split.images), predict_photos(model, [test_split.images[:3]])):
        assert (found.known, found.familiarity, found.unknown) == (None, None, 0)


def test_noise_is_unknown_and_the_class_stays(network: MLP, card: ModelCard) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 28, 28)).astype(np.uint8)
    found = predict(Classifier("", card, network.to_numpy()), noise)
    assert found.known is not None
    assert found.familiarity is not None
    assert not found.known.any()
    assert found.familiarity.max() < 0.05
    plain = predict(Classifier("", dataclasses.replace(card, known=None), network.to_numpy()), noise)
    assert np.array_equal(found.labels, plain.labels)
    assert np.array_equal(found.sure, plain.sure), "known does not change sure"


def test_a_photo_is_as_familiar_as_its_most_familiar_view(network: MLP, card: ModelCard, test_split: Examples) -> None:
    model, images = Classifier("", card, network.to_numpy()), test_split.images[:4]
    each, photo = predict(model, images), predict_photos(model, [images])
    assert each.familiarity is not None
    assert photo.familiarity is not None
    assert photo.familiarity.tolist() == pytest.approx([each.familiarity.max()], abs=1e-3)


def test_familiarity_falls_from_one_to_zero_and_known_is_up_to_the_threshold() -> None:
    found = KnownRange(0.05, 1.5, (0.0, 1.0, 2.0), rows=40, kept=10, rank=4)
    distances = np.array([-1, 0, 0.5, 1, 1.5, 2, 9], np.float32)
    shares = found.familiarity(distances)
    assert shares.tolist() == [1, 1, 0.75, 0.5, 0.25, 0, 0]
    assert shares.dtype == np.float32
    assert found.is_known(distances).tolist() == [True] * 5 + [False] * 2
