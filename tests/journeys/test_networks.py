"""A catalogue with a frozen network: the service, corrections, scoring, pages and commands work on photos."""

import base64
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from networks import start_shop, train_shop
from pages import Page
from photos import draw_photo, encode_photo, write_photos
from servers import serve, using_home

import fashion
from components.audit.audit import audit
from components.contract import Images, Validated
from components.dataset.classes.changing import add_class
from components.dataset.labels.adding import import_labels
from components.dataset.manifest import read_split
from components.errors import InputError
from components.evaluation.report import write_report
from components.model.classifier import Classifier
from components.promotion.impact import write_impact
from components.readers.images.photos import read_views
from components.registry import champion, store
from components.scoring.job import run_job
from components.scoring.predict import predict, predict_photos
from components.settings import Settings

pytestmark = pytest.mark.slow

COUNTS = {"hat": 40, "10": 30, "Kids 2-6": 30}
PHOTOS = [encode_photo(draw_photo(label, 9_000)) for label in range(len(COUNTS))]


@dataclass(frozen=True)
class Shop:
    """A catalogue with a live model."""

    home: Path
    settings: Settings
    validated: Validated
    model: Classifier

    def views(self, content: bytes) -> Images:
        return read_views(content, self.model.contract)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch, using_home(folder / "bentoml") as home:
        patch.setenv("FASHION_CATALOGUE", "shop")
        patch.setenv("FASHION_DATA_DIR", str(folder / "data"))
        settings = Settings()
        validated = start_shop(folder, settings, COUNTS)
        model = train_shop(validated)
        champion.make_live(model.tag, "a test")
        yield Shop(home, settings, validated, model)


@pytest.fixture(scope="module")
def client(shop: Shop) -> Iterator[httpx.Client]:
    environment = {"FASHION_CORRECTIONS_DIR": str(shop.settings.labelled_dir)}
    with serve(shop.home, environment=environment) as server, server.client() as client:
        yield client
    assert "Traceback" not in server.log.read_text()


def files_of(contents: list[bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{number}.png", content)) for number, content in enumerate(contents)]


# --- the service ---


def test_photos_are_classified_as_in_this_process(client: httpx.Client, shop: Shop) -> None:
    answer = client.post("/classify", files=files_of(PHOTOS))
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    assert [one["name"] for one in found] == list(COUNTS)
    expected = predict_photos(shop.model, [shop.views(content) for content in PHOTOS])
    np.testing.assert_allclose([one["probabilities"] for one in found], expected.probabilities, atol=1e-4)


def test_pixels_are_refused_and_records_are_taken(client: httpx.Client, shop: Shop) -> None:
    pixels = client.post("/predict", json={"images": np.zeros((1, 16, 16, 3), int).tolist()})
    assert pixels.status_code == 400
    assert pixels.json()["error"]["reason"].startswith(
        "found pixels, but the models of shop take photos: picture files"
    )
    headers = {"Content-Type": "application/octet-stream"}
    assert client.post("/predict", content=bytes(16 * 16 * 3), headers=headers).status_code == 400
    records = np.concatenate([shop.views(content) for content in PHOTOS])
    answer = client.post("/predict", content=records.tobytes(), headers=headers)
    assert answer.status_code == 200, answer.text
    found = [one["probabilities"] for one in answer.json()["predictions"]]
    np.testing.assert_allclose(found, predict(shop.model, records).probabilities, atol=1e-4)


def test_a_table_of_pictures_is_scored_and_one_of_pixels_refused(client: httpx.Client) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array([*PHOTOS, b"not a picture"], pa.binary())}), file)
    parquet = {"Content-Type": "application/vnd.apache.parquet"}
    answer = client.post("/score", content=file.getvalue(), headers=parquet)
    assert answer.status_code == 200, answer.text
    assert pq.read_table(io.BytesIO(answer.content))["name"].to_pylist() == [*COUNTS, None]
    header = ",".join(f"pixel{number}" for number in range(1, 769))
    text = f"{header}\n{','.join(['0'] * 768)}\n"
    answer = client.post("/score", content=text.encode(), headers={"Content-Type": "text/csv"})
    assert (answer.status_code, "found pixels" in answer.text) == (400, True), answer.text


def test_the_api_describes_photos_and_no_json_of_pixels(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert list(paths["/predict"]["post"]["requestBody"]["content"]) == ["application/octet-stream"]
    assert "by tiny.onnx" in paths["/predict"]["post"]["description"]
    assert client.get("/model").json()["takes_drawings"] is False


def test_a_correction_of_what_was_seen_becomes_a_training_image(client: httpx.Client, shop: Shop) -> None:
    photo = encode_photo(draw_photo(1, 9_500))
    (one,) = client.post("/classify", files=files_of([photo]), params={"seen": "true"}).json()["predictions"]
    correction = {"label": "hat", "said": one["name"], "model": shop.model.tag, "seen": one["seen"]}
    assert client.post("/corrections", json=correction).status_code == 200
    pixels = {**correction, "image": np.zeros((16, 16, 3), int).tolist()}
    del pixels["seen"]
    answer = client.post("/corrections", json=pixels)
    assert (answer.status_code, "found pixels" in answer.text) == (400, True)
    for damaged in ("data:image/png;base64,", "data:image/png;base64," + base64.b64encode(photo).decode()):
        assert client.post("/corrections", json={**correction, "seen": damaged}).status_code == 400
    imported = import_labels(shop.settings.labelled_dir, settings=shop.settings)
    assert (imported.added, imported.rejected) == ({"hat": 1}, {})
    assert read_split(imported.dataset, "train").images[-1:].tobytes() == shop.views(photo).tobytes()


# --- files, pages and the command line ---


def test_a_folder_is_scored_and_a_table_of_pixels_refused(shop: Shop, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", dict.fromkeys(COUNTS, 3), first=800)
    (photos / "hat" / "torn.png").write_bytes(PHOTOS[0][:100])
    summary = run_job(shop.model, photos, tmp_path / "out.csv", check="warn")
    assert (summary.count.scored, summary.count.rejected) == (9, 1)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["id"].startswith(row["name"]) for row in rows)
    array = tmp_path / "pixels.npy"
    np.save(array, np.zeros((4, 16, 16, 3), np.uint8))
    (tmp_path / "pixels.csv").write_text(",".join(f"pixel{number}" for number in range(1, 769)) + "\n")
    for table in (array, tmp_path / "pixels.csv"):
        with pytest.raises(InputError, match=r"found pixels, but the models of shop take photos"):
            run_job(shop.model, table, tmp_path / "out2.csv")


def test_the_report_and_the_audit_show_pictures(shop: Shop) -> None:
    report = Page(write_report(shop.model, shop.validated.dataset, settings=shop.settings))
    assert any(one.startswith("data:image/png;base64,") for one in report.references)
    assert "tiny.onnx" in report.text
    found = audit(shop.validated.dataset, settings=shop.settings)
    assert any(one.startswith("data:image/png;base64,") for one in Page(found.page).references)


def test_the_model_describes_its_network(shop: Shop) -> None:
    readme = (store.stored_folder(shop.model.tag) / "README.md").read_text()
    assert "32 x 32 in colour" in readme
    assert 'fashion.classify("photo.jpg", model=model)' in readme
    assert "by tiny.onnx" in readme
    assert fashion.classify(*PHOTOS, model=shop.model).names == list(COUNTS)


def test_two_models_are_compared_on_a_folder_of_photos(shop: Shop, tmp_path: Path) -> None:
    other = train_shop(shop.validated, epochs=21)
    photos = write_photos(tmp_path / "photos", dict.fromkeys(COUNTS, 3), first=800)
    impact = write_impact(other, shop.model, photos, settings=shop.settings)
    assert impact.tally.changes.images == 9


def test_a_class_is_added_with_photos(shop: Shop, tmp_path: Path) -> None:
    folder = write_photos(tmp_path, {"a": 1, "b": 1, "c": 1, "scarf": 12}) / "scarf"
    changed = add_class("scarf", folder, "a test", settings=shop.settings)
    assert "scarf" in changed.dataset.contract.classes
    assert changed.dataset.contract.embedding == shop.model.contract.embedding
    assert np.isfinite(read_split(changed.dataset, "train").images["vector"]).all()
