"""Predictions for arrays and photos, and the thresholds below which the model abstains."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from blanks import draw_blanks
from readings import PIXEL_COLUMNS

from components.catalogues.fashion_mnist import CLASSES
from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.errors import InputError
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.scoring.predict import SURE_OF_VIEWS, predict, predict_photos
from components.scoring.tables import inert
from components.settings import Settings

HEADER = ",".join(PIXEL_COLUMNS)
ROW = ",".join(["7"] * 784)


@pytest.fixture
def model(network: MLP, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:abcdefgh", card, network.to_numpy())


def with_thresholds(model: Classifier, thresholds: list[float]) -> Classifier:
    """The same network with other thresholds."""
    calibration = dataclasses.replace(model.card.calibration, thresholds=tuple(thresholds))
    return dataclasses.replace(model, card=dataclasses.replace(model.card, calibration=calibration))


def test_predictions_do_not_depend_on_the_batch(model: Classifier, test_split: Examples) -> None:
    together = predict(model, test_split.images)
    for row in (0, 7, 199):
        alone = predict(model, test_split.images[row : row + 1])
        assert np.allclose(alone.probabilities[0], together.probabilities[row], atol=1e-6)
        assert alone.names == [CLASSES[together.labels[row]]]
    assert np.array_equal(together.confidences, together.probabilities.max(axis=1))


def test_large_and_empty_batches(model: Classifier, test_split: Examples) -> None:
    many = predict(model, np.concatenate([test_split.images] * 42))
    assert np.allclose(many.probabilities[-200:], predict(model, test_split.images).probabilities, atol=1e-6)
    assert predict(model, test_split.images[:0]).probabilities.shape == (0, 10)


def test_a_photo_is_classified_by_the_mean_of_its_views(model: Classifier, test_split: Examples) -> None:
    each = predict(model, test_split.images)
    photos = [test_split.images[:6], test_split.images[6:7], test_split.images[7:10]]
    predictions = predict_photos(model, photos)
    assert predictions.probabilities.dtype == np.float32
    for row, views in enumerate((slice(0, 6), slice(6, 7), slice(7, 10))):
        assert np.allclose(predictions.probabilities[row], each.probabilities[views].mean(axis=0), atol=1e-6)
    assert np.array_equal(predictions.labels, predictions.probabilities.argmax(axis=1))


def test_a_photo_of_one_view_is_classified_as_an_image(model: Classifier, test_split: Examples) -> None:
    expected = predict(model, test_split.images)
    predictions = predict_photos(model, [image[None] for image in test_split.images])
    assert np.array_equal(predictions.probabilities, expected.probabilities)
    assert np.array_equal(predictions.sure, expected.sure)


def test_the_model_abstains_if_views_disagree(model: Classifier, test_split: Examples) -> None:
    """Photos with several views have a fixed threshold; the class thresholds, here 0, do not apply."""
    model = with_thresholds(model, [0.0] * len(CLASSES))
    plain = predict(model, test_split.images)
    clear, *_, unclear = np.argsort(-plain.confidences)
    other = np.flatnonzero(plain.labels != plain.labels[clear])[0]
    pairs = [(clear, clear), (unclear, unclear), (clear, other)]
    assert plain.confidences[clear] > SURE_OF_VIEWS > plain.confidences[unclear]
    assert predict_photos(model, [test_split.images[list(pair)] for pair in pairs]).sure.tolist() == [
        True,
        False,
        False,
    ]
    with pytest.raises(InputError, match="expected uint8"):
        predict_photos(model, [np.zeros((2, 28, 27), np.uint8)])


def test_the_model_abstains_below_the_threshold_of_the_class(model: Classifier, test_split: Examples) -> None:
    """Each class's threshold equals one of its confidences, so that only higher confidences exceed it."""
    plain = predict(model, test_split.images)
    middles = [float(np.sort(plain.confidences[plain.labels == label])[-2:][0]) for label in np.unique(plain.labels)]
    thresholds = np.ones(len(CLASSES))
    thresholds[np.unique(plain.labels)] = middles
    predictions = predict(with_thresholds(model, thresholds.tolist()), test_split.images)
    assert predictions.sure.dtype == np.bool_
    for label, confidence, sure in zip(predictions.labels, predictions.confidences, predictions.sure, strict=True):
        assert sure == (confidence > thresholds[label])
    assert 0 < predictions.sure.sum() <= len(middles)


@pytest.mark.parametrize(("threshold", "sure"), [(0.0, True), (1.0, False)])
def test_the_model_can_abstain_never_or_always(
    model: Classifier, test_split: Examples, threshold: float, sure: bool
) -> None:
    assert set(predict(with_thresholds(model, [threshold] * 10), test_split.images).sure.tolist()) == {sure}


def test_the_model_abstains_on_blank_images(model: Classifier, test_split: Examples) -> None:
    """Even with thresholds of 0, at which it abstains on nothing else."""
    model = with_thresholds(model, [0.0] * len(CLASSES))
    blanks = np.concatenate(list(draw_blanks().values()))
    assert not predict(model, blanks).sure.any()
    assert not predict(model, blanks[:1]).sure.any()
    garment = test_split.images[np.argmax(predict(model, test_split.images).confidences)]
    photos = [blanks[:1], blanks[:2], np.stack([garment, garment]), np.stack([garment, blanks[0]])]
    assert predict_photos(model, photos).sure.tolist() == [False, False, True, False]


def test_logits_are_divided_by_the_temperature(model: Classifier, test_split: Examples) -> None:
    calibration = dataclasses.replace(model.card.calibration, temperature=2.5)
    warm = dataclasses.replace(model, card=dataclasses.replace(model.card, calibration=calibration))
    logits = model.logits(test_split.images).astype(np.float64) / 2.5
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predictions = predict(warm, test_split.images)
    np.testing.assert_allclose(predictions.probabilities, expected, rtol=0, atol=1e-6)
    assert np.array_equal(predictions.labels, predict(model, test_split.images).labels)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 784), np.uint8),
        np.zeros((28, 28), np.uint8),
        np.zeros((1, 28, 28), np.float32),
        np.zeros((1, 28, 27), np.uint8),
    ],
)
def test_another_shape_or_dtype_is_refused(model: Classifier, images: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected uint8 \(n, 28, 28\)"):
        predict(model, images)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        ("\tx", "'\tx"),
        ("'x", "''x"),
        ("-42", "-42"),
        ("+1.5", "+1.5"),
        ("a=1", "a=1"),
    ],
)
def test_formulas_are_neutralized(cell: str, written: str) -> None:
    assert inert(cell) == written


def test_a_relative_data_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASHION_DATA_DIR", "here")
    assert Settings().data_dir == tmp_path / "here"
    monkeypatch.setenv("FASHION_DATA_DIR", "~/here")
    assert Settings().data_dir == Path.home() / "here"
