"""The slices of a model: test images by class and looks, held-out images by where their labels come from."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from shop import write_shop
from trainings import QUICK, one_thread  # noqa: F401, one_thread: for every test here

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Dataset, ModelCard
from components.dataset.ingest import ingest
from components.dataset.labels.adding import import_labels
from components.dataset.manifest import Examples, check_receipt, read_split
from components.dataset.validate import validate
from components.errors import ModelError
from components.evaluation.card import write_card
from components.evaluation.model_slices import HELD_OUT, slice_model
from components.evaluation.origins import CORRECTED
from components.evaluation.report import write_report
from components.model.classifier import Classifier
from components.settings import Settings
from components.training.data import divide_ids
from components.training.train import Trained, train


@pytest.fixture(scope="module")
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:aaaaaaaa", card, trained.network.to_numpy())


def test_the_test_images_are_sliced_by_class_and_looks(
    model: Classifier, dataset: Dataset, test_split: Examples
) -> None:
    (found,) = slice_model(model, dataset).found
    right = model.logits(test_split.images).argmax(1) == test_split.labels
    assert (found.on, found.images, found.accuracy) == ("test images", 200, right.mean())
    assert found.abstained == pytest.approx(1 - model.card.test.coverage)
    assert {one.by[0] for one in found.slices} == {"brightness", "contrast", "size"}
    assert any(note.startswith("class: ") for note in found.notes), "20 images of each class are too few"
    for name in ("brightness", "contrast", "size"):
        assert sum(one.images for one in found.slices if one.by == (name,)) == 200


@pytest.fixture(scope="module")
def corrected(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Dataset, Settings]:
    """A model of a dataset in which people gave 220 of 600 training images another class, against their looks."""
    folder = tmp_path_factory.mktemp("corrected")
    settings = Settings(data_dir=folder / "data")
    first = validate(ingest(str(archives), settings=settings).dataset, settings=settings).dataset
    rows = read_split(first, "train")
    with (folder / "labels.csv").open("w", newline="") as file:
        changes = [(rows.ids[row], CLASSES[(rows.labels[row] + 1) % len(CLASSES)]) for row in range(220)]
        csv.writer(file).writerows([("id", "label"), *changes])
    imported = import_labels(folder / "labels.csv", settings=settings)
    assert len(imported.relabelled) == 220
    validated = check_receipt(imported.dataset)
    trained = train(validated, dataclasses.replace(QUICK, epochs=12, validation_share=0.4))
    card = write_card("quick", validated, trained)
    return Classifier("fashion-mlp:corrected", card, trained.network.to_numpy()), imported.dataset, settings


def test_labels_that_people_corrected_are_a_slice_of_the_held_out_images(
    corrected: tuple[Classifier, Dataset, Settings],
) -> None:
    model, dataset, _ = corrected
    test, held_out = slice_model(model, dataset).found
    train_split = read_split(dataset, "train")
    ids = divide_ids(train_split, dataclasses.replace(QUICK, epochs=12, validation_share=0.4)).held_out
    rows = [row for row, row_id in enumerate(train_split.ids) if row_id in ids]
    right = model.logits(train_split.images[rows]).argmax(1) == train_split.labels[rows]
    assert (held_out.on, held_out.images, held_out.accuracy) == (HELD_OUT, 240, right.mean())
    weakest, other = held_out.slices
    assert (weakest.name, weakest.weaker) == (f"label source {CORRECTED}", True)
    assert weakest.images == sum(row < 220 for row in rows)
    assert weakest.right == right[[row < 220 for row in rows]].sum()
    assert (other.name, other.weaker) == (f"label source {dataset.source}", False)
    assert test.chance + held_out.chance == pytest.approx(0.05), "the page shares it"


def test_the_report_has_them(corrected: tuple[Classifier, Dataset, Settings]) -> None:
    model, dataset, settings = corrected
    text = write_report(model, dataset, settings=settings).read_text()
    assert f"label source {CORRECTED}" in text
    assert HELD_OUT in text


def test_which_images_were_held_out_from_a_training_on_other_data_is_not_guessed(
    corrected: tuple[Classifier, Dataset, Settings],
) -> None:
    model, dataset, _ = corrected
    for changed in (
        {"dataset_version": "0123456789abcdef"},
        {"training": {**model.card.training, "start_from": "fashion-mlp:before00"}},
        {"training": {**model.card.training, "new_field": 3}},
        {"calibration": dataclasses.replace(model.card.calibration, rows=7)},
    ):
        card = dataclasses.replace(model.card, **changed)
        found = slice_model(dataclasses.replace(model, card=card), dataset)
        assert len(found.found) == 1
        (note,) = found.notes
        assert note.startswith("not sliced by label source: ")


def test_colour_images_of_another_catalogue_are_sliced(tmp_path: Path) -> None:
    receipt = write_shop(tmp_path / "datasets", train=300, test=240)
    trained = train(receipt, QUICK)
    model = Classifier("shop-mlp:aaaaaaaa", write_card("quick", receipt, trained), trained.network.to_numpy())
    (found,) = slice_model(model, receipt.dataset).found
    assert {one.by[0] for one in found.slices} >= {"class", "brightness", "contrast"}
    assert found.images == 240
    names = {one.values[0] for one in found.slices if one.by == ("class",)}
    assert names == set(model.contract.classes)


def test_a_dataset_of_another_catalogue_is_refused(model: Classifier, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its data contract differs"):
        slice_model(model, write_shop(tmp_path / "datasets").dataset)


def test_the_same_model_has_the_same_slices(model: Classifier, dataset: Dataset, test_split: Examples) -> None:
    assert slice_model(model, dataset) == slice_model(model, dataset, test_split)
    assert np.isfinite([one.chance for one in slice_model(model, dataset).found[0].slices]).all()
