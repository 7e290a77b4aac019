"""A person asks a running service why: which training images, and which items of a catalogue, an image is near."""

import base64
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from filelock import FileLock
from following import save, wait_for
from PIL import Image
from readings import PIXEL_COLUMNS
from servers import Server, serve, using_home

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Dataset, Images, ModelCard
from components.dataset.manifest import Examples, read_split
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.readers.images.photos import write_png
from components.registry import champion, store
from components.training.train import Trained

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

PNG = {"content-type": "image/png"}


@dataclass(frozen=True)
class Shop:
    """A running service with its data folder."""

    server: Server
    data: Path
    home: Path

    def post(self, path: str, image: Images) -> httpx.Response:
        with self.server.client() as client:
            return client.post(path, content=write_png(image), headers=PNG)

    def ask(self, path: str, image: Images) -> Any:
        """Retry while an index is being prepared."""
        deadline = time.monotonic() + 60
        while (response := self.post(path, image)).status_code == 503:
            assert "is being prepared" in response.text
            assert response.headers["retry-after"] == "2"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert response.status_code == 200, response.text
        return response.json()

    def type(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "fashion", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def shop(
    dataset: Dataset, trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("reasons")
    data = folder / "data"
    shutil.copytree(dataset.path.parent, data / "datasets")
    with pytest.MonkeyPatch.context() as patch, using_home(folder / "bentoml") as home:
        patch.setenv("FASHION_DATA_DIR", str(data))
        champion.make_live(save(trained, card, 1.0), "a test")
        with serve(home) as server:
            wait_for(server, champion.live_move().tag)
            yield Shop(server, data, home)
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def image(test_split: Examples) -> Images:
    image: Images = test_split.images[0]
    return image


def decoded(url: str) -> Images:
    content = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    pixels: Images = np.asarray(Image.open(io.BytesIO(content)))
    return pixels


def save_scaled(trained: Trained, card: ModelCard, factor: float) -> str:
    """Store a model with another hidden layer."""
    network = MLP(trained.network.config, card.contract)
    network.from_tensors(trained.network.to_tensors())
    next(network.parameters()).data.mul_(factor)
    return store.save_model(network.eval(), card)


def brute_force(model: Classifier, examples: Examples, image: Images, count: int) -> list[int]:
    rows, query = (model.hidden(images).astype(np.float64) for images in (examples.images, image[None]))
    nearest: list[int] = np.sqrt(((rows - query) ** 2).sum(1)).argsort(kind="stable")[:count].tolist()
    return nearest


def test_an_answer_has_the_nearest_training_images(shop: Shop, dataset: Dataset, image: Images) -> None:
    answer = shop.ask("/classify?because=5", image)
    (prediction,) = answer["predictions"]
    examples = read_split(dataset, "train")
    expected = brute_force(champion.load_model(answer["model"]), examples, image, 5)
    near = prediction["because"]
    assert [one["row"] for one in near] == expected
    assert [one["id"] for one in near] == [examples.ids[row] for row in expected]
    assert [one["name"] for one in near] == [CLASSES[examples.labels[row]] for row in expected]
    assert all(np.array_equal(decoded(one["image"]), examples.images[one["row"]]) for one in near)
    distances = [one["distance"] for one in near]
    assert distances == sorted(distances)


def test_pixels_get_the_same_reasons(shop: Shop, test_split: Examples) -> None:
    shop.ask("/classify?because=1", test_split.images[0])
    with shop.server.client() as client:
        body = {"images": test_split.images[:3].tolist()}
        answer = client.post("/predict?because=2", json=body).json()
    for image, prediction in zip(test_split.images, answer["predictions"], strict=False):
        expected = shop.ask("/classify?because=2", image)["predictions"][0]
        assert [one["id"] for one in prediction["because"]] == [one["id"] for one in expected["because"]]


def test_an_answer_without_the_question_is_as_before(shop: Shop, image: Images) -> None:
    asked, not_asked = (shop.ask(path, image)["predictions"][0] for path in ("/classify?because=3", "/classify"))
    assert len(asked.pop("because")) == 3
    assert asked == not_asked
    assert shop.ask("/classify?because=0", image)["predictions"][0] == not_asked


@pytest.mark.parametrize("value", ["x", "21", "-1", "2.5", ""])
def test_other_values_are_refused(shop: Shop, image: Images, value: str) -> None:
    response = shop.post(f"/classify?because={value}", image)
    assert response.status_code == 400
    reason = f"found {value!r}, expected a whole number from 0 to 20"
    assert response.json() == {"error": {"status": 400, "field": "because", "reason": reason}}


def test_too_many_neighbours_are_refused(shop: Shop, test_split: Examples) -> None:
    shop.ask("/classify?because=1", test_split.images[0])
    with shop.server.client() as client:
        response = client.post("/predict?because=20", json={"images": test_split.images[:17].tolist()})
    assert (response.status_code, response.json()["error"]["field"]) == (413, "because")


def test_a_new_live_model_gives_reasons_of_its_own(
    shop: Shop, image: Images, trained: Trained, card: ModelCard
) -> None:
    """And a rollback the earlier ones again."""
    first = champion.live_move().tag
    before = shop.ask("/classify?because=5", image)
    second = save_scaled(trained, card, 2)
    champion.make_live(second, "a test")
    wait_for(shop.server, second)
    after = shop.ask("/classify?because=5", image)
    assert after["model"] == second
    distances = [[one["distance"] for one in found["predictions"][0]["because"]] for found in (before, after)]
    assert distances[0] != distances[1]
    champion.rollback()
    wait_for(shop.server, first)
    assert shop.ask("/classify?because=5", image)["predictions"] == before["predictions"]


def test_while_an_index_is_prepared_only_its_requests_are_refused(
    shop: Shop, image: Images, trained: Trained, card: ModelCard
) -> None:
    """Another worker that builds an index holds the lock."""
    first = champion.live_move().tag
    shop.ask("/classify?because=1", image)
    with FileLock(shop.data / "neighbours" / ".lock"):
        tag = save_scaled(trained, card, 1.5)
        champion.make_live(tag, "a test")
        wait_for(shop.server, tag)
        refused = shop.post("/classify?because=1", image)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        reason = f"the index of the training images of {tag} is being prepared; retry later"
        assert refused.json() == {"error": {"status": 503, "field": "because", "reason": reason}}
        assert shop.post("/classify", image).status_code == 200
    assert shop.ask("/classify?because=1", image)["model"] == tag
    champion.rollback()
    wait_for(shop.server, first)


def test_without_the_dataset_the_reason_is_given_and_nothing_else_changes(
    shop: Shop, image: Images, trained: Trained, card: ModelCard
) -> None:
    first = champion.live_move().tag
    shop.ask("/classify?because=1", image)
    away = shop.data / "datasets-moved"
    (shop.data / "datasets").rename(away)
    try:
        tag = save_scaled(trained, card, 3)
        champion.make_live(tag, "a test")
        wait_for(shop.server, tag)
        refused = shop.post("/classify?because=1", image)
        assert (refused.status_code, refused.json()["error"]["field"]) == (409, "because")
        assert "no such dataset" in refused.json()["error"]["reason"]
        assert shop.post("/classify", image).status_code == 200
        with shop.server.client() as client:
            assert client.get("/readyz").status_code == 200
    finally:
        away.rename(shop.data / "datasets")
    champion.rollback()
    wait_for(shop.server, first)
    assert len(shop.ask("/classify?because=1", image)["predictions"][0]["because"]) == 1


def test_similar_items_of_a_catalogue(shop: Shop, image: Images, test_split: Examples, tmp_path: Path) -> None:
    refused = shop.post("/similar", image)
    assert (refused.status_code, refused.json()["error"]["field"]) == (409, "catalogue")
    assert "run 'fashion similar build INPUT'" in refused.json()["error"]["reason"]
    lines = [f"sku{number}," + ",".join(map(str, one.ravel())) for number, one in enumerate(test_split.images[:60])]
    path = tmp_path / "catalogue.csv"
    path.write_text("\n".join([",".join(["id", *PIXEL_COLUMNS]), *lines]) + "\n")
    assert "60 rows: 60 indexed by" in shop.type("similar", "build", str(path))
    answer = shop.ask("/similar?count=3", image)
    assert answer["catalogue"]["items"] == 60
    (result,) = answer["results"]
    assert (result["similar"][0]["id"], result["similar"][0]["distance"]) == ("sku0", pytest.approx(0, abs=1e-3))
    assert len(result["similar"]) == 3
    (tmp_path / "photo.png").write_bytes(write_png(image))
    printed = shop.type("similar", "find", str(tmp_path / "photo.png"), "--count", "3").splitlines()
    assert [line.split()[0] for line in printed] == ["id", *(one["id"] for one in result["similar"])]


def test_the_page_shows_what_an_answer_is_based_on(
    shop: Shop, browser: "Browser", image: Images, tmp_path: Path
) -> None:
    shop.ask("/classify?because=1", image)
    (tmp_path / "photo.png").write_bytes(write_png(image))
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(shop.server.url)
    page.locator("#model", has_text="fashion-mlp:").wait_for(timeout=10_000)
    page.set_input_files("#files", tmp_path / "photo.png")
    page.locator(".because li").first.wait_for(timeout=10_000)
    assert page.locator(".because li").count() == 5
    near = shop.ask("/classify?because=5", image)["predictions"][0]["because"]
    assert page.locator(".because img").first.get_attribute("src") == near[0]["image"]
    assert near[0]["name"] in page.locator(".because li").first.inner_text()
    assert page.evaluate("() => document.documentElement.scrollWidth <= 360"), "nothing sticks out"
    page.close()
