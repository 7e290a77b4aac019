"""A custom catalogue end to end: 14 classes with awkward names, 20 x 24 RGB images, no catalogue-specific code."""

import colorsys
import csv
import html
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from servers import serve, using_home

import components
from components.contract import DataContract, Images, ImageSpec, Labels, Validated
from components.dataset.archives import ARCHIVES, declare_source
from components.dataset.ingest import ingest
from components.dataset.labels.adding import import_labels
from components.dataset.manifest import read_manifest, read_split
from components.dataset.validate import validate
from components.evaluation.card import write_card
from components.evaluation.report import write_report
from components.export.onnx import export_onnx
from components.model.classifier import Classifier
from components.monitoring.drift.bounds import DriftBounds
from components.monitoring.drift.check import DriftCheck, check_live
from components.monitoring.drift.page import write_page
from components.promotion.canary_steps import STEPS
from components.promotion.promote import Promotion, promote
from components.readers.images.idx import encode_idx
from components.registry import champion, store
from components.scoring.job import run_job
from components.settings import Settings
from components.training.presets import configure
from components.training.train import train

pytestmark = pytest.mark.slow

NAMES = (
    "T-shirt/top",
    "10",
    "Kids 7-12",
    "Kids 2-6",
    "naïve café",
    "<b>bold</b>",
    "a,b",
    'quote"d',
    "Straße",
    "着物",
    "👟",
    "and so on...",
    "from $5 to $10, a name of 100 characters, " + "and on " * 8 + "on",
    "NaN",
)
SHOP = DataContract("awkward-shop", NAMES, ImageSpec(20, 24, 3), "letterbox")
TRAIN, TEST = 40, 20  # images per class
ANOTHERS = re.compile(r"\b(Trouser|Pullover|Sneaker|Ankle boot|garment)\b")  # found only in Fashion-MNIST
SIZES = re.compile(r"\b(28|784)\b")
COLUMNS = [f"pixel{number}" for number in range(1, SHOP.image.size + 1)]


def draw(each: int, seed: int) -> tuple[Images, Labels]:
    """Draw `each` distinct images per class: a box in the class's colour and place; uint8 (n, 20, 24, 3), (n,)."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(NAMES), dtype=np.uint8), each))
    images = np.zeros((len(labels), *SHOP.image.shape), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = generator.integers(1, 5, 2) + np.array([0, 4]) * (label % 2)
        cloth = 255 * np.array(colorsys.hsv_to_rgb(label / len(NAMES), 0.7, 0.9))
        box = image[top : top + 14, left : left + 14]
        box[:] = np.clip(cloth + generator.normal(0, 25, box.shape), 5, 255)
    return images, labels


@dataclass(frozen=True)
class Shop:
    """The results of the end-to-end run."""

    home: Path  # BENTOML_HOME
    settings: Settings
    validated: Validated
    tag: str
    promotion: Promotion
    model: Classifier
    images: Images  # of the test split
    labels: Labels


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's input: four IDX files and a `source.json` that describes them."""
    folder = tmp_path_factory.mktemp("archives")
    for split, each in (("train", TRAIN), ("test", TEST)):
        images, labels = draw(each, seed=len(split))
        (folder / ARCHIVES[split].images).write_bytes(encode_idx(images))  # type: ignore[index]
        (folder / ARCHIVES[split].labels).write_bytes(encode_idx(labels))  # type: ignore[index]
    declare_source(folder, "awkward-shop-2026", "its owner's", SHOP)
    return folder


@pytest.fixture(scope="module")
def shop(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Ingest, validate, train, save, and promote through the gate and a real canary."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), catalogue=SHOP.name)
    with pytest.MonkeyPatch.context() as patch, using_home(tmp_path_factory.mktemp("shop") / "bentoml") as home:
        patch.setenv("FASHION_CATALOGUE", SHOP.name)
        dataset = ingest(str(archives), settings=settings).dataset
        validated = validate(dataset, settings=settings)
        trained = train(validated, configure("dense-128", {"hidden": [32], "epochs": 15, "threads": 1}))
        tag = store.save_model(trained.network, write_card("dense-128", validated, trained))
        promotion = promote(tag, "the first model of the shop", settings=settings)
        test = read_split(dataset, "test")
        yield Shop(home, settings, validated, tag, promotion, components.load_model(tag), test.images, test.labels)


@pytest.fixture(scope="module")
def client(shop: Shop) -> Iterator[httpx.Client]:
    with serve(shop.home) as server, server.client() as client:
        yield client
    assert "Traceback" not in server.log.read_text()


def csv_of(images: Images, labels: Labels | None = None) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(["label"] if labels is not None else []), *COLUMNS])
    for row, image in enumerate(images):
        writer.writerow([*([NAMES[labels[row]]] if labels is not None else []), *image.ravel().tolist()])
    return text.getvalue()


def png_of(image: Images) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def names_of(labels: Labels) -> list[str]:
    return [NAMES[label] for label in labels]


# --- from the archives to the live model ---


def test_the_dataset_and_each_of_its_parts_carry_the_contract(shop: Shop, archives: Path) -> None:
    dataset = shop.validated.dataset
    manifest = read_manifest(dataset)
    assert dataset.contract == manifest.contract == SHOP
    for part in manifest.parts:
        metadata = pq.read_schema(shop.settings.datasets_dir / part.file).metadata
        assert json.loads(metadata[b"contract"])["classes"] == list(NAMES)
    again = ingest(str(archives), settings=shop.settings)
    assert (again.dataset, again.written) == (dataset, False)


def test_the_images_and_labels_match_the_archives(shop: Shop) -> None:
    images, labels = draw(TEST, seed=len("test"))
    np.testing.assert_array_equal(shop.images, images)
    np.testing.assert_array_equal(shop.labels, labels)


def test_the_model_and_its_readme_carry_the_contract(shop: Shop) -> None:
    card = store.describe_stored(shop.tag)
    assert card.contract == SHOP
    assert card.test.accuracy > 0.95
    assert [one.name for one in card.test.classes] == list(NAMES)
    readme = (store.stored_folder(shop.tag) / "README.md").read_text(encoding="utf-8")
    assert "<b>bold</b>" not in readme
    assert "着物" in readme


def test_the_model_passes_the_gate_and_the_canary(shop: Shop) -> None:
    assert shop.promotion.promoted, str(shop.promotion)
    assert shop.promotion.verdict
    canary = [check.name for check in shop.promotion.verdict.checks if check.name.startswith("canary")]
    assert canary == [f"canary: {step}" for step in STEPS]
    assert champion.live_move().tag == shop.tag


def test_predictions_use_class_names(shop: Shop) -> None:
    predictions = components.predict(shop.model, shop.images)
    assert predictions.classes == NAMES
    assert predictions.names == names_of(predictions.labels)
    assert (predictions.labels == shop.labels).mean() == shop.model.card.test.accuracy


# --- over HTTP ---


def test_the_service_describes_its_model(client: httpx.Client, shop: Shop) -> None:
    described = client.get("/model").json()
    assert (described["model"], described["classes"]) == (shop.tag, list(NAMES))
    assert described["takes_drawings"] is False, "its preparation expects photos"
    assert client.get("/examples").json() == {"examples": []}


def test_the_api_describes_this_catalogue(client: httpx.Client) -> None:
    api = client.get("/openapi.json")
    schemas = api.json()["components"]["schemas"]
    assert list(NAMES) in list(find_all(schemas, "enum"))
    assert SHOP.image.size in list(find_all(schemas, "minItems"))
    assert not ANOTHERS.search(api.text)
    assert not SIZES.search(api.text)


def find_all(value: Any, key: str) -> Iterator[Any]:
    """Yield every value of a key, at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for one in value.values():
            yield from find_all(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from find_all(one, key)


@pytest.mark.parametrize("form", ["nested", "flat", "bytes"])
def test_pixels_are_predicted(form: str, client: httpx.Client, shop: Shop) -> None:
    images = shop.images[:30]
    if form == "bytes":
        answer = client.post("/predict", content=images.tobytes(), headers={"Content-Type": "application/octet-stream"})
    else:
        given = images if form == "nested" else images.reshape(len(images), -1)
        answer = client.post("/predict", json={"images": given.tolist()}, params={"top": "14"})
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    expected = components.predict(shop.model, images)
    assert [one["name"] for one in found] == expected.names
    np.testing.assert_allclose([one["probabilities"] for one in found], expected.probabilities, atol=1e-5)
    if form != "bytes":
        assert all({one["name"] for one in answer["top"]} == set(NAMES) for answer in found)


def test_images_of_another_shape_are_refused(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"images": np.zeros((1, 28, 28), int).tolist()})
    assert answer.status_code == 400
    assert "20" in answer.json()["error"]["reason"]


def test_a_photo_is_classified(client: httpx.Client, shop: Shop) -> None:
    files = [("files", (f"{row}.png", png_of(shop.images[row]), "image/png")) for row in range(10)]
    answer = client.post("/classify", files=files, params={"seen": "true"})
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    assert [one["name"] for one in found] == components.predict(shop.model, shop.images[:10]).names
    assert all(one["seen"].startswith("data:image/png;base64,") for one in found)


def test_a_table_is_scored(client: httpx.Client, shop: Shop) -> None:
    expected = components.predict(shop.model, shop.images).names
    answer = client.post("/score", content=csv_of(shop.images).encode(), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    assert [row["name"] for row in csv.DictReader(io.StringIO(answer.text))] == expected
    table = pa.table({"pixels": pa.array([image.tobytes() for image in shop.images])})
    file = io.BytesIO()
    pq.write_table(table, file)
    parquet = "application/vnd.apache.parquet"
    answer = client.post("/score", content=file.getvalue(), headers={"Content-Type": parquet})
    assert answer.status_code == 200, answer.text
    assert pq.read_table(io.BytesIO(answer.content))["name"].to_pylist() == expected


def test_the_metrics_count_images_by_class_name(client: httpx.Client, shop: Shop) -> None:
    client.post("/predict", json={"images": shop.images.tolist()}).raise_for_status()
    families = text_string_to_metric_families(client.get("/metrics").text)
    (images,) = (family for family in families if family.name == "fashion_images")
    counted = {sample.labels["name"]: sample.value for sample in images.samples if sample.name.endswith("_total")}
    assert counted.keys() == set(NAMES)
    assert min(counted.values()) >= 1


def test_the_page_names_no_class_from_another_catalogue(client: httpx.Client) -> None:
    page = client.get("/").text + client.get("/page.js").text
    assert "<b>bold</b>" not in page
    assert not ANOTHERS.search(page)
    assert not SIZES.search(page)


# --- in files ---


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_file_with_class_names_as_labels_is_scored(suffix: str, shop: Shop, tmp_path: Path) -> None:
    source, output = tmp_path / "catalogue.csv", tmp_path / f"scored{suffix}"
    source.write_text(csv_of(shop.images, shop.labels), encoding="utf-8")
    summary = run_job(shop.model, source, output, check="fail" if suffix == ".csv" else "off")
    assert summary.count.accuracy == shop.model.card.test.accuracy
    assert summary.count.unlabelled == summary.count.rejected == 0
    expected = components.predict(shop.model, shop.images).names
    assert summary.count.names == {name: expected.count(name) for name in NAMES if name in expected}
    assert read_names(output) == expected


def read_names(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path)["name"].to_pylist())
    if path.suffix == ".jsonl":
        return [json.loads(line)["name"] for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return [row["name"] for row in csv.DictReader(file)]


def test_a_folder_of_pictures_is_scored(shop: Shop, tmp_path: Path) -> None:
    for row in range(20):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{row:02}.png").write_bytes(png_of(shop.images[row]))
    summary = run_job(shop.model, tmp_path / "photos", tmp_path / "scored.csv")
    assert (summary.count.scored, summary.count.rejected) == (20, 0)
    assert read_names(tmp_path / "scored.csv") == components.predict(shop.model, shop.images[:20]).names


def test_the_model_is_exported_to_onnx(shop: Shop, tmp_path: Path) -> None:
    export = export_onnx(shop.model, shop.validated.dataset, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(export.path))
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(NAMES)
    assert session.get_inputs()[0].shape[1:] == list(SHOP.image.shape)
    onnx.checker.check_model(onnx.load(export.path))
    probabilities = session.run(["probabilities"], {"images": shop.images})[0]
    np.testing.assert_allclose(probabilities, components.predict(shop.model, shop.images).probabilities, atol=1e-4)


@pytest.mark.filterwarnings(
    "error:constrained_layout:UserWarning"
)  # from matplotlib: long names must fit in the figures
def test_the_report_escapes_every_class_name(shop: Shop) -> None:
    page = write_report(shop.model, shop.validated.dataset, settings=shop.settings).read_text(encoding="utf-8")
    assert_escaped(page)


@pytest.mark.filterwarnings("error:constrained_layout:UserWarning")
def test_served_predictions_are_compared_with_the_profile(client: httpx.Client, shop: Shop, tmp_path: Path) -> None:
    client.post("/predict", json={"images": shop.images.tolist()}).raise_for_status()
    check = wait_for_log()
    assert (check.unreadable, check.verdict) == (0, "calm")
    write_page(check, tmp_path / "drift.html")
    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert "<b>bold</b>" not in page
    assert not ANOTHERS.search(page)


def wait_for_log() -> DriftCheck:
    """Wait for the prediction log, which is written within a second or two."""
    deadline = time.monotonic() + 20
    while True:
        check = check_live(bounds=DriftBounds(min_images=30, windows=1, drifting=1))
        if sum(window.images for window in check.windows) >= len(NAMES) * 10 or time.monotonic() > deadline:
            return check
        time.sleep(0.2)


def assert_escaped(page: str) -> None:
    assert "<b>bold</b>" not in page
    assert not ANOTHERS.search(page)
    text = html.unescape(page)
    assert not [name for name in NAMES if name not in text]


# --- labels from people ---


def test_labels_given_as_class_names_are_imported(shop: Shop, tmp_path: Path) -> None:
    images, labels = draw(1, seed=99)
    handed_in = tmp_path / "more.csv"
    text = csv_of(images, labels).replace("Straße", "STRASSE").replace("naïve café", " Nai\u0308ve  Cafe\u0301")
    handed_in.write_text(text, encoding="utf-8")
    imported = import_labels(handed_in, settings=shop.settings)
    assert imported.rejected == {}
    assert imported.added == dict.fromkeys(NAMES, 1)
    assert imported.dataset.contract == SHOP
    np.testing.assert_array_equal(read_split(imported.dataset, "train").labels[-len(NAMES) :], labels)


def test_a_name_that_only_resembles_a_class_is_rejected(shop: Shop, tmp_path: Path) -> None:
    """Digits and punctuation distinguish classes, and a number is never a class index."""
    images, labels = draw(1, seed=100)
    handed_in = tmp_path / "strange.csv"
    text = csv_of(images, labels)
    for name, other in (("Kids 7-12", "Kids 7-13"), ("T-shirt/top", "0"), ("and so on...", "and so on")):
        text = text.replace(f"\n{name},", f"\n{other},")
    handed_in.write_text(text, encoding="utf-8")
    imported = import_labels(handed_in, settings=shop.settings)
    assert sum(imported.rejected.values()) == 3
    assert imported.added.keys() == set(NAMES) - {"Kids 7-12", "T-shirt/top", "and so on..."}
