"""A catalogue is indexed row by row, and its items are found again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from readings import PIXEL_COLUMNS

from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.errors import InputError, NeighboursError
from components.model.classifier import Classifier
from components.neighbours.similar import build_catalogue, open_catalogue
from components.readers.folders.parts import TableReading
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import Trained

READING = TableReading()


@pytest.fixture
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:tested1", replace(card, weights_sha256="1" * 64), trained.network.to_numpy())


@pytest.fixture
def catalogue(tmp_path: Path, test_split: Examples) -> Path:
    """A CSV of 50 items, one of which cannot be read."""
    rows = [f"sku{number}," + ",".join(map(str, image.ravel())) for number, image in enumerate(test_split.images[:50])]
    rows[3] = rows[3].replace("sku3,", "sku3,x", 1)
    path = tmp_path / "catalogue.csv"
    path.write_text("\n".join([",".join(["id", *PIXEL_COLUMNS]), *rows]) + "\n")
    return path


def test_every_row_is_indexed_or_rejected(
    catalogue: Path, model: Classifier, settings: Settings, test_split: Examples
) -> None:
    built = build_catalogue(model, catalogue, READING, settings)
    assert (built.rows, built.record.rows, built.rejected) == (50, 49, 1)
    assert built.reason.startswith("5: pixel1: ")
    index = open_catalogue(model, settings)
    (found,) = index.find(model, test_split.images[20:21], 4)
    assert found[0].id == "sku20"
    assert found[0].distance == pytest.approx(0, abs=1e-4)
    expected = predict(model, np.stack([one.picture for one in found])).names
    assert [one.name for one in found] == expected, "the class that the model predicts"


def test_without_a_catalogue_the_command_is_named(model: Classifier, settings: Settings) -> None:
    with pytest.raises(NeighboursError, match="no catalogue is indexed; run 'fashion similar build INPUT'"):
        open_catalogue(model, settings)


def test_a_catalogue_of_another_model_is_refused(catalogue: Path, model: Classifier, settings: Settings) -> None:
    build_catalogue(model, catalogue, READING, settings)
    other = Classifier("fashion-mlp:tested2", replace(model.card, weights_sha256="2" * 64), model.network)
    with pytest.raises(NeighboursError, match="expected one of fashion-mlp:tested2; run 'fashion similar build"):
        open_catalogue(other, settings)


def test_an_input_without_a_readable_row_leaves_the_index(
    catalogue: Path, model: Classifier, settings: Settings, tmp_path: Path
) -> None:
    build_catalogue(model, catalogue, READING, settings)
    (tmp_path / "bad.csv").write_text(f"{','.join(PIXEL_COLUMNS)}\nx{',0' * (len(PIXEL_COLUMNS) - 1)}\n")
    with pytest.raises(InputError, match="no row can be read; the first is 2: pixel1: 'x'"):
        build_catalogue(model, tmp_path / "bad.csv", READING, settings)
    assert open_catalogue(model, settings).record.rows == 49
