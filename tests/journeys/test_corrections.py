"""User corrections: kept if enabled, refused otherwise, and imported by an operator."""

import base64
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from harmed_pictures import palette_picture_without_palette
from networks import contract_with, draw_records, embedding_of, make_network
from pages import Page
from servers import Server, serve, using_home
from trainings import QUICK

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.catalogues.sample import draw
from components.contract import ModelCard
from components.dataset.ingest import ingest
from components.dataset.labels import corrections
from components.dataset.labels.corrections import (
    NONE_OF_THESE,
    Correction,
    InboxFull,
    read_corrected,
    read_correction,
    write_correction,
)
from components.dataset.labels.inbox import empty_inbox
from components.dataset.labels.reading import read_label_input
from components.dataset.manifest import Examples, read_split
from components.dataset.validate import validate
from components.errors import InputError
from components.evaluation.card import write_card
from components.evaluation.report import write_report
from components.model.classifier import Classifier
from components.readers.images.photos import write_png
from components.registry import champion, store
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import Trained, train
from serving.corrections import _read

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TAG = "fashion-mlp:abc"
TOKEN = "a long secret"
pytestmark = pytest.mark.xdist_group("server")


# --- the file ---


def test_a_correction_is_read_back_as_it_was_written(test_split: Examples, tmp_path: Path) -> None:
    kept = Correction(test_split.images[0].tobytes(), 4, 6, TAG)
    write_correction(tmp_path / "inbox", kept, CONTRACT)
    (path,) = (tmp_path / "inbox").iterdir()
    assert read_correction(path.read_bytes(), CONTRACT) == kept


def test_a_correction_of_the_vector_of_another_network_is_refused(tmp_path: Path) -> None:
    """Networks may have vectors of one size, which mean something else."""
    ours, other = (contract_with(embedding_of(make_network(seed))) for seed in range(2))
    kept = Correction(draw_records(ours, 1).tobytes(), 1, 0, "shop-mlp:abc")
    write_correction(tmp_path, kept, ours)
    (path,) = tmp_path.iterdir()
    assert read_correction(path.read_bytes(), ours) == kept
    with pytest.raises(InputError, match=r"^network: found \w{16}, expected \w{16}, the network of shop"):
        read_correction(path.read_bytes(), other)
    record = json.loads(path.read_bytes())
    del record["network"]
    with pytest.raises(InputError, match=r"^network: found None, expected"):
        read_correction(json.dumps(record).encode(), ours)


def test_the_largest_correction_is_read(tmp_path: Path) -> None:
    name = "\U0001f45f" * 100
    contract = dataclasses.replace(contract_with(embedding_of(make_network())), classes=(name, "hat"))
    write_correction(tmp_path, Correction(draw_records(contract, 1).tobytes(), 0, 0, "m" * 100), contract)
    (path,) = tmp_path.iterdir()
    assert read_correction(path.read_bytes(), contract).label == 0


def test_an_image_that_fits_no_class_is_kept_for_review(test_split: Examples, tmp_path: Path) -> None:
    kept = Correction(test_split.images[0].tobytes(), None, 6, TAG)
    write_correction(tmp_path, kept, CONTRACT)
    (path,) = tmp_path.iterdir()
    assert read_correction(path.read_bytes(), CONTRACT) == kept
    write_correction(tmp_path, Correction(test_split.images[1].tobytes(), 4, 6, TAG), CONTRACT)
    found = read_label_input(tmp_path, CONTRACT)
    assert [one.label for one in found.candidates] == [4], "the others are imported"
    (one,) = found.rejects
    assert one.reason == "none of these: kept here for review"
    assert one.unknown == "", "it waits for no class"
    assert one.original == path.read_bytes()


def test_a_class_called_none_of_these_is_a_class(tmp_path: Path) -> None:
    contract = dataclasses.replace(CONTRACT, classes=(*CLASSES[:9], NONE_OF_THESE), aliases=())
    assert read_corrected(NONE_OF_THESE, contract) == 9


def test_a_later_correction_of_an_image_replaces_the_first(test_split: Examples, tmp_path: Path) -> None:
    for label in (4, 2):
        write_correction(tmp_path, Correction(test_split.images[0].tobytes(), label, 6, TAG), CONTRACT)
    (one,) = read_label_input(tmp_path, CONTRACT).candidates
    assert one.label == 2


def test_a_full_inbox_keeps_no_more_corrections(
    test_split: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "MOST", 2)
    for image in test_split.images[:2]:
        write_correction(tmp_path, Correction(image.tobytes(), 4, 6, TAG), CONTRACT)
    with pytest.raises(InboxFull):
        write_correction(tmp_path, Correction(test_split.images[2].tobytes(), 4, 6, TAG), CONTRACT)
    write_correction(tmp_path, Correction(test_split.images[0].tobytes(), 5, 6, TAG), CONTRACT)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected a JSON object"),
        (b'{"said": 1}', "label: found 'None'"),
        (b'{"said": 1, "label": true}', "label: found 'True'"),
        (b'{"said": 1, "label": "Hat"}', "label: found 'Hat'"),
        (b'{"said": 1, "label": 2, "pixels": "AAAA"}', "pixels: found 3 bytes, expected 784"),
        (b'{"said": 1, "label": 2, "pixels": "?"}', "pixels: not base64"),
        (b" " * 5000, "larger than 4,096 bytes"),
    ],
)
def test_an_invalid_correction_file_is_refused_with_a_reason(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_correction(content, CONTRACT)


# --- the endpoint ---


@pytest.fixture(scope="module")
def home(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with using_home(tmp_path_factory.mktemp("corrected") / "bentoml") as home:
        champion.make_live(store.save_model(trained.network, card), "a test")
        yield home


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "inbox" / "labelled"


@pytest.fixture(scope="module")
def taking(home: Path, inbox: Path) -> Iterator[Server]:
    environment = {"FASHION_CORRECTIONS_DIR": str(inbox), "FASHION_TOKEN": TOKEN}
    with serve(home, environment=environment) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def client(taking: Server, inbox: Path) -> Iterator[httpx.Client]:
    shutil.rmtree(inbox, ignore_errors=True)
    with taking.client() as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


@pytest.fixture
def correction(test_split: Examples) -> dict[str, Any]:
    return {"label": "Coat", "said": 6, "model": TAG, "image": test_split.images[0].tolist()}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["image", "seen"])
def test_a_correction_waits_in_the_inbox(
    client: httpx.Client, inbox: Path, correction: dict[str, Any], test_split: Examples, form: str
) -> None:
    if form == "seen":
        del correction["image"]
        correction["seen"] = f"data:image/png;base64,{base64.b64encode(write_png(test_split.images[0])).decode()}"
    answer = client.post("/corrections", json=correction)
    assert (answer.status_code, answer.json()) == (200, {"label": 4, "name": "Coat"})
    (one,) = read_label_input(inbox, CONTRACT).candidates
    assert (one.label, one.pixels) == (4, test_split.images[0].tobytes())


@pytest.mark.slow
def test_none_of_these_is_accepted_as_a_correction(client: httpx.Client, correction: dict[str, Any]) -> None:
    answer = client.post("/corrections", json=correction | {"label": NONE_OF_THESE})
    assert (answer.status_code, answer.json()) == (200, {"label": None, "name": NONE_OF_THESE})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"label": "Hat"}, 400, "label"),
        ({"label": 10}, 400, "label"),
        ({"said": None}, 400, "said"),
        ({"model": ""}, 400, "model"),
        ({"image": [0] * 783}, 400, "images[0]"),
        ({"seen": "data:image/png;base64,AAAA"}, 400, "seen"),
        ({"path": "/etc/passwd"}, 400, "path"),
        ({"model": "x" * 20_000}, 413, "body"),
    ],
)
def test_an_invalid_correction_is_refused_and_writes_nothing(
    client: httpx.Client, inbox: Path, correction: dict[str, Any], change: dict[str, Any], status: int, field: str
) -> None:
    answer = client.post("/corrections", json=correction | change)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)
    assert not inbox.exists()


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ((b'"label"', b'"label": "Coat", "label"'), "label", "found more than once"),
        ((b"[0, ", b"[" * 1001 + b"0" + b"]" * 1000 + b","), "body", "JSON is nested too deeply"),
        ((b"[0, ", b"[" * 2001 + b"0" + b"]" * 2000 + b","), "body", "not JSON"),
    ],
)
def test_a_correction_with_duplicate_or_deeply_nested_fields_is_refused(
    change: tuple[bytes, bytes], field: str, reason: str
) -> None:
    body = json.dumps({"label": 4, "said": 6, "model": "m:1", "image": [0] * 784}).encode()
    assert _read(body, CONTRACT).label == 4
    with pytest.raises(InputError, match=f"^{field}: {reason}"):
        _read(body.replace(*change, 1), CONTRACT)


@pytest.mark.slow
def test_a_correction_with_a_damaged_picture_is_refused(
    client: httpx.Client, inbox: Path, correction: dict[str, Any]
) -> None:
    del correction["image"]
    correction["seen"] = f"data:image/png;base64,{base64.b64encode(palette_picture_without_palette()).decode()}"
    answer = client.post("/corrections", json=correction)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "seen")
    assert not inbox.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),  # which another site can send without a CORS preflight
    ],
)
def test_corrections_from_strangers_are_refused(
    client: httpx.Client, inbox: Path, correction: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    assert client.post("/corrections", json=correction, headers=headers).status_code == status
    assert not inbox.exists()


@pytest.mark.slow
def test_the_page_sends_corrections(
    browser: "Browser", taking: Server, client: httpx.Client, inbox: Path, test_split: Examples
) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(taking.url)
    page.get_by_text("Does this service require a token?").click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_label("Token").press("Enter")
    page.locator("#model", has_text="fashion-mlp:").wait_for()
    picture = {"name": "a.png", "mimeType": "image/png", "buffer": write_png(test_split.images[1])}
    page.set_input_files("#files", picture)  # type: ignore[arg-type]
    page.get_by_text("Wrong?").click()
    assert page.get_by_label("It is").locator("option").all_inner_texts() == [*CLASSES, NONE_OF_THESE]
    named = page.locator(".answer .name").inner_text()
    assert page.get_by_label("It is").input_value() != named
    page.get_by_label("It is").select_option("Bag")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Saved.").wait_for()
    (one,) = read_label_input(inbox, CONTRACT).candidates
    assert (one.label, one.pixels) == (CLASSES.index("Bag"), test_split.images[1].tobytes())
    page.get_by_label("It is").select_option(NONE_OF_THESE)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Saved for review.").wait_for()
    found = read_label_input(inbox, CONTRACT)
    assert (found.candidates, [one.unknown for one in found.rejects]) == ([], [""])
    assert [text for text in said if "Failed to load resource" not in text] == []
    page.close()


@pytest.mark.slow
def test_more_than_sixty_corrections_a_minute_are_refused(
    client: httpx.Client, inbox: Path, correction: dict[str, Any]
) -> None:
    """Runs last on this server: the rate limit would affect later tests."""
    statuses = []
    for number in range(65):
        correction["image"] = np.full((28, 28), number).tolist()
        statuses.append(client.post("/corrections", json=correction).status_code)
    assert set(statuses) == {200, 429}
    assert len(list(inbox.iterdir())) == statuses.count(200)


@pytest.mark.slow
def test_without_the_setting_corrections_are_refused(server: Server, correction: dict[str, Any]) -> None:
    with server.client() as client:
        answer = client.post("/corrections", json=correction)
        assert (answer.status_code, answer.json()["error"]["field"]) == (403, "service")
        assert client.get("/model").json()["takes_corrections"] is False


# --- the full cycle ---


@pytest.mark.slow
def test_a_correction_reaches_the_training_data_of_the_next_live_model(
    archives: Path, bentoml_home: Path, settings: Settings
) -> None:
    """A wrong answer, a correction, an import, then a training on the archives, as scheduled runs do."""
    first = train_and_make_live(archives)
    image = draw(200, np.random.default_rng(88))[0][3]
    answer = predict(first, image[None])
    right = (int(answer.labels[0]) + 1) % 10
    write_correction(
        settings.labelled_dir, Correction(image.tobytes(), right, int(answer.labels[0]), answer.model), CONTRACT
    )
    (emptied,) = empty_inbox()
    assert emptied.imported
    assert emptied.imported.added == {CLASSES[right]: 1}
    second = train_and_make_live(archives)
    assert second.card.dataset_version == emptied.imported.dataset.version != first.card.dataset_version
    train_split = read_split(emptied.imported.dataset, "train")
    assert np.array_equal(train_split.images[-1], image)
    assert train_split.labels[-1] == right
    page = Page(write_report(second, emptied.imported.dataset, first)).text
    assert f"Dataset {second.card.dataset_version} replaces {first.card.dataset_version}." in page
    assert "Training images: 1 added, 0 removed, 0 relabelled" in page
    assert "The test images are the same, with the same labels" in page


def train_and_make_live(archives: Path) -> Classifier:
    validated = validate(ingest(str(archives)).dataset)
    trained = train(validated, QUICK)
    champion.make_live(store.save_model(trained.network, write_card("quick", validated, trained)), "a test")
    return champion.load_model()
