"""Training, card, report and export for a catalogue with three classes and 20 x 24 colour images."""

import dataclasses
import html
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from pages import Page
from shop import SHOP, draw_shop, write_shop
from trainings import QUICK, one_thread  # noqa: F401, one_thread: for every test here

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Calibration, Dataset, ModelCard, Validated
from components.errors import DatasetError, ModelError
from components.evaluation.card import write_card
from components.evaluation.datasets import compare_versions
from components.evaluation.metrics import evaluate
from components.evaluation.report import write_report
from components.export.onnx import Precision, export_onnx
from components.model.classifier import Classifier
from components.model.mlp import to_mlp
from components.model.readme import write_readme
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import Trained, train

PRECISIONS: list[Precision] = ["float32", "int8"]


@pytest.fixture(scope="module")
def receipt(tmp_path_factory: pytest.TempPathFactory) -> Validated:
    return write_shop(tmp_path_factory.mktemp("data") / "datasets")


@pytest.fixture(scope="module")
def learned(receipt: Validated) -> Trained:
    return train(receipt, dataclasses.replace(QUICK, shift=1, flip=True, erase=0.1))


@pytest.fixture(scope="module")
def shop_card(receipt: Validated, learned: Trained) -> ModelCard:
    return write_card("quick", receipt, learned)


@pytest.fixture(scope="module")
def shop_model(learned: Trained, shop_card: ModelCard) -> Classifier:
    return Classifier("shop-mlp:aaaaaaaa", shop_card, learned.network.to_numpy())


def test_the_card_has_the_catalogue_s_classes(shop_card: ModelCard) -> None:
    assert shop_card.contract == SHOP
    assert tuple(one.name for one in shop_card.test.classes) == shop_card.classes == SHOP.classes
    assert shop_card.test.accuracy > 0.9
    assert [len(probe.probabilities) for probe in shop_card.probes] == [3] * 30
    assert shop_card.profile
    assert {len(counts) for counts in shop_card.profile.counts.values()} == {3}
    assert len(shop_card.calibration.thresholds) == 3


def test_the_report_shows_the_catalogue_s_images_and_names(
    shop_model: Classifier, receipt: Validated, tmp_path: Path
) -> None:
    path = write_report(shop_model, receipt.dataset, settings=Settings(data_dir=tmp_path))
    page, source = Page(path), path.read_text()
    assert all(name in page.text for name in SHOP.classes)
    assert not any(name in page.text for name in CLASSES)
    assert 'width="24" height="20"' in source
    assert ">20 x 24 x 3<" in source
    assert ">1,440<" in source


def test_the_readme_describes_the_catalogue_s_images(shop_card: ModelCard) -> None:
    readme = " ".join(write_readme("shop-mlp:aaaaaaaa", shop_card).split())
    assert "Classifies pictures of products, 20 x 24 in colour, into three categories." in readme
    assert "1440-16-3" in readme
    assert "uint8 (n, 20, 24, 3), 0 to 255" in readme
    assert f"| data contract, SHA-256 | {SHOP.fingerprint} |" in readme
    assert not any(f" {name} " in readme for name in CLASSES)


def test_another_data_contract_is_refused_by_name(
    shop_model: Classifier, receipt: Validated, dataset: Dataset, trained: Trained, card: ModelCard, tmp_path: Path
) -> None:
    message = "its data contract differs: name: found 'shop', expected 'fashion-mnist'"
    with pytest.raises(ModelError, match=f"^the network: {message}"):
        evaluate(to_mlp(shop_model.network), dataset, "test", shop_model.card.calibration)
    with pytest.raises(ModelError, match=f"^shop-mlp:aaaaaaaa: {message}"):
        write_report(shop_model, dataset, settings=Settings(data_dir=tmp_path))
    other = Classifier("fashion-mlp:aaaaaaaa", card, trained.network.to_numpy())
    page = write_report(shop_model, receipt.dataset, other, Settings(data_dir=tmp_path)).read_text()
    assert "Not compared with fashion-mlp:aaaaaaaa" in page
    assert "name: found" in html.unescape(page)
    assert 'id="comparison"' not in page


def test_dataset_versions_with_different_contracts_are_not_compared(receipt: Validated, tmp_path: Path) -> None:
    folder = receipt.dataset.path.parent
    changed = dataclasses.replace(
        receipt.dataset, contract=dataclasses.replace(SHOP, classes=("Kids 2-6", "11", "Étagère, 2 m"))
    )
    assert compare_versions(receipt.dataset.version, receipt.dataset).added == {}
    with pytest.raises(DatasetError, match="class 1: found '10', expected '11'"):
        compare_versions(receipt.dataset.version, changed)
    assert folder.is_dir()


def test_colour_images_are_flattened_row_by_row(shop_model: Classifier) -> None:
    images = draw_shop(6)[0]
    expected = to_mlp(shop_model.network)(torch.tensor(images.reshape(6, -1)) / 255)
    torch.testing.assert_close(torch.from_numpy(shop_model.logits(images)), expected)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_exported_file_takes_the_catalogue_s_images(
    shop_model: Classifier, receipt: Validated, tmp_path: Path, precision: Precision
) -> None:
    """The export itself compares the file with PyTorch on the test split."""
    card = dataclasses.replace(shop_model.card, calibration=Calibration())  # abstains on blank images only
    shop_model = dataclasses.replace(shop_model, card=card)
    path = export_onnx(shop_model, receipt.dataset, tmp_path / "shop.onnx", precision).path
    blank, faint = np.full((2, 20, 24, 3), 90, np.uint8), np.arange(2 * 1440).reshape(2, 20, 24, 3).astype(np.uint8) % 9
    images = np.concatenate([draw_shop(30, seed=5)[0], blank, faint])
    session = onnxruntime.InferenceSession(path)
    probabilities, labels, sure = session.run(["probabilities", "labels", "sure"], {"images": images})
    assert probabilities.shape == (34, 3)
    assert (labels == shop_model.logits(images).argmax(1)).mean() > 0.9
    assert np.array_equal(sure, predict(shop_model, images).sure)
    assert sure.tolist() == [1] * 30 + [0] * 4
    contract = json.loads(session.get_modelmeta().custom_metadata_map["data_contract"])
    assert (contract["fingerprint"], tuple(contract["classes"])) == (SHOP.fingerprint, SHOP.classes)
