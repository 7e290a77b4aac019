"""The review queue of a real service: images of its traffic are kept, shared out to people, and labelled."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest
from reviewing import FIRST, SECOND, draw_noise, image_of
from servers import Server, serve, using_home

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import ModelCard
from components.dataset.labels.corrections import NONE_OF_THESE
from components.dataset.labels.reading import read_label_input
from components.dataset.manifest import Examples
from components.registry import champion, store
from components.review.images import KINDS, list_names, read_review_image, write_review_image
from components.review.queue import LEASE
from components.training.train import Trained
from serving.openapi import describe_api

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOKEN = "a long secret"
BYTES = {"content-type": "application/octet-stream"}
NOISE = draw_noise(20)
IMAGES = 150  # of FASHION_REVIEW_IMAGES: 50 of each kind and 50 for undo
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the folders `review` and `inbox`."""
    return tmp_path_factory.mktemp("reviewed")


@pytest.fixture(scope="module")
def home(trained: Trained, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with using_home(tmp_path_factory.mktemp("reviewing") / "bentoml") as home:
        champion.make_live(store.save_model(trained.network, card), "a test")
        yield home


@pytest.fixture(scope="module")
def reviewing(home: Path, folder: Path) -> Iterator[Server]:
    """A service of two workers with a token, whose traffic is kept for review."""
    environment = {
        "FASHION_REVIEW_DIR": str(folder / "review"),
        "FASHION_REVIEW_IMAGES": str(IMAGES),
        "FASHION_CORRECTIONS_DIR": str(folder / "inbox"),
        "FASHION_TOKEN": TOKEN,
        "FASHION_WORKERS": "2",
    }
    with serve(home, environment=environment) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def client(reviewing: Server, folder: Path) -> Iterator[httpx.Client]:
    """A client with the token, and a queue of six images of each kind."""
    for name in ("review", "inbox"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for seed in range(6):
        for kind in KINDS:
            image = image_of(kind, seed, 0.6, rank=seed / 20, seed=seed + 100 * (kind == "random"))
            write_review_image(folder / "review" / "waiting", image)
    with reviewing.client() as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


def send(client: httpx.Client, test_split: Examples) -> None:
    """Ten requests with test images, and twenty with noise, which the model does not know."""
    for images in (*np.split(test_split.images[:100], 10), *NOISE[:, None]):
        client.post("/predict", content=images.tobytes(), headers=BYTES).raise_for_status()


def wait_for_images(folder: Path, number: int) -> None:
    deadline = time.monotonic() + 10
    while len(list_names(folder / "review" / "waiting")) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(client: httpx.Client, action: str, reviewer: str = FIRST, **fields: str) -> dict[str, Any]:
    """The image of the answer."""
    answer = client.post(f"/review/{action}", json={"reviewer": reviewer, **fields})
    assert answer.is_success, answer.text
    image: dict[str, Any] = answer.json()["image"]
    return image


def status_of(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/review/status").json()
    return found


def test_traffic_is_kept_within_the_bound(client: httpx.Client, folder: Path, test_split: Examples) -> None:
    shutil.rmtree(folder / "review")
    send(client, test_split)
    wait_for_images(folder, 52)
    names: list[str] = []
    while names != (names := list_names(folder / "review" / "waiting")):
        time.sleep(1)  # more uncertain images are taking the place of others
    waiting = status_of(client)["waiting"]
    assert 1 <= waiting["random"] <= 50, "120 images were sent"
    assert waiting["uncertain"] == 50, "the model is sure of few of them"
    sent = {image.tobytes() for image in test_split.images[:100]} | {image.tobytes() for image in NOISE}
    for name in names:
        kept = read_review_image(folder / "review" / "waiting" / name, name)
        assert kept.to_bytes() in sent
        assert kept.kind == "random" or not (kept.sure and kept.known)


def test_a_label_becomes_a_correction(client: httpx.Client, folder: Path) -> None:
    image = ask(client, "next")
    assert image["seen"].startswith("data:image/png;base64,")
    assert image["top"][0]["name"] in CLASSES
    following = ask(client, "label", id=image["id"], label="Coat")
    assert following["id"] != image["id"]
    (one,) = read_label_input(folder / "inbox", CONTRACT).candidates
    assert one.label == CLASSES.index("Coat")
    assert status_of(client)["labelled"] == 1


def test_two_people_at_once_label_everything_without_a_clash(client: httpx.Client, folder: Path) -> None:
    def work(reviewer: str) -> list[str]:
        done, image = [], ask(client, "next", reviewer)
        while image:
            done.append(image["id"])
            image = ask(client, "label", reviewer, id=image["id"], label=image["top"][0]["name"])
        return done

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, (FIRST, SECOND))
    assert first
    assert second
    assert not set(first) & set(second)
    status = status_of(client)
    assert status["labelled"] == len(first) + len(second) == 12
    assert status["waiting"] == {"random": 0, "uncertain": 0}
    accuracy = status["live_accuracy"]
    assert accuracy["labelled"] == 6
    assert accuracy["accuracy"] == 1.0, "every label was the model's answer"
    assert 0 < accuracy["interval"][0] < accuracy["interval"][1] == 1
    assert [day["labelled"] for day in status["days"]] == [accuracy["labelled"]]
    assert list((folder / "review" / "decided").iterdir()), "the last ones can be undone"


def test_a_decision_can_be_undone_once(client: httpx.Client, folder: Path) -> None:
    image = ask(client, "next")
    ask(client, "label", id=image["id"], label=NONE_OF_THESE)
    assert ask(client, "undo", id=image["id"])["id"] == image["id"]
    assert list((folder / "inbox").glob("correction-*.json")) == []
    answer = client.post("/review/undo", json={"reviewer": FIRST, "id": image["id"]})
    assert answer.status_code == 410
    ask(client, "skip", id=image["id"])
    status = status_of(client)
    assert (status["labelled"], status["skipped"]) == (0, 1)


def test_an_image_goes_to_another_person_when_the_lease_expires(client: httpx.Client, folder: Path) -> None:
    image = ask(client, "next", FIRST)
    refused = client.post("/review/label", json={"reviewer": SECOND, "id": image["id"], "label": 0})
    assert refused.status_code == 410
    assert "another person has it" in refused.json()["error"]["reason"]
    (leased,) = (folder / "review" / "leased").iterdir()
    long_ago = time.time() - LEASE - 1
    os.utime(leased, (long_ago, long_ago))
    shown = set()
    while image["id"] not in shown:
        shown.add(ask(client, "next", SECOND)["id"])
        if image["id"] not in shown:
            ask(client, "skip", SECOND, id=next(iter(shown)))
            shown.clear()
    assert client.post("/review/label", json={"reviewer": FIRST, "id": image["id"], "label": 0}).status_code == 410


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("next", {}, 400, "reviewer"),
        ("next", {"reviewer": "../../etc"}, 400, "reviewer"),
        ("next", {"reviewer": FIRST, "more": 1}, 400, "more"),
        ("next", [], 400, "body"),
        ("label", {"reviewer": FIRST, "id": "../live.json", "label": 0}, 400, "id"),
        ("label", {"reviewer": FIRST, "id": "random-0000000000000-" + "0" * 16 + "-0000-00000000.json"}, 400, "label"),
        (
            "label",
            {"reviewer": FIRST, "id": "random-0000000000000-" + "0" * 16 + "-0000-00000000.json", "label": "Hat"},
            400,
            "label",
        ),
        ("skip", {"reviewer": FIRST, "id": "random-0000000000000-" + "0" * 16 + "-0000-00000000.json"}, 410, "id"),
        ("skip", {"reviewer": FIRST, "id": 5}, 400, "id"),
        ("next", {"reviewer": "a" * 5000}, 413, "body"),
    ],
)
def test_an_invalid_request_is_refused_with_the_field(
    client: httpx.Client, path: str, body: object, status: int, field: str
) -> None:
    answer = client.post(f"/review/{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)


def test_the_endpoints_need_the_token_and_the_page_does_not(reviewing: Server) -> None:
    with reviewing.client() as client:
        assert client.get("/review").status_code == 200
        assert client.get("/review/status").status_code == 401
        assert client.post("/review/next", json={"reviewer": FIRST}).status_code == 401
        authorized = {"Authorization": f"Bearer {TOKEN}"}
        plain = client.post("/review/next", content=b"{}", headers={**authorized, "content-type": "text/plain"})
        assert plain.status_code == 415
        assert client.get("/review/next", headers=authorized).status_code == 405


def test_answers_match_the_openapi_description(client: httpx.Client) -> None:
    api = describe_api(CONTRACT)

    def check(answer: httpx.Response, name: str) -> None:
        jsonschema.validate(answer.json(), {"$ref": f"#/components/schemas/{name}", "components": api["components"]})

    check(client.post("/review/next", json={"reviewer": FIRST}), "ReviewTurn")
    check(client.get("/review/status"), "ReviewStatus")


def test_the_queue_is_off_by_default(server: Server) -> None:
    with server.client() as client:
        client.post("/predict", content=bytes(784), headers=BYTES)
        answer = client.post("/review/next", json={"reviewer": FIRST})
        assert answer.status_code == 403
        assert "set FASHION_REVIEW_DIR to a folder to enable it" in answer.json()["error"]["reason"]


# --- the page ---


@pytest.fixture
def page(browser: "Browser", client: httpx.Client, reviewing: Server) -> Iterator["Page"]:
    """The page on a phone, with the token. It must request nothing from elsewhere and log no error."""
    asked, said = list[str](), list[str]()
    page = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme="dark")
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{reviewing.url}/review")
    page.locator("#problem", has_text="requires a token").wait_for()
    page.locator("footer summary").click()
    page.fill("#token", TOKEN)
    page.locator("#access button").click()
    page.locator("#work").wait_for()
    yield page
    page.close()
    assert [url for url in asked if not re.match(r"(http://127\.0\.0\.1:\d+/|blob:|data:)", url)] == []
    assert [text for text in said if "Failed to load resource" not in text] == []


def wait_for_label(page: "Page", text: str) -> None:
    page.locator("#said", has_text=text).wait_for(state="attached")


def test_a_person_labels_with_the_keyboard(page: "Page", client: httpx.Client, folder: Path) -> None:
    first = page.locator("#seen").get_attribute("src")
    page.keyboard.press("3")
    wait_for_label(page, f"Labelled {CLASSES[2]}")
    (one,) = read_label_input(folder / "inbox", CONTRACT).candidates
    assert one.label == 2
    assert page.locator("#seen").get_attribute("src") != first
    page.keyboard.press("u")
    wait_for_label(page, "Undone")
    assert page.locator("#seen").get_attribute("src") == first
    page.keyboard.press("s")
    wait_for_label(page, "Skipped")
    page.keyboard.press("n")
    wait_for_label(page, f"Labelled {NONE_OF_THESE}")
    found = json.loads(next((folder / "inbox").glob("correction-*.json")).read_bytes())
    assert found["label"] == NONE_OF_THESE
    status = status_of(client)
    assert (status["labelled"], status["skipped"]) == (1, 1)


def test_the_page_shows_the_accuracy_with_its_interval(page: "Page") -> None:
    for _ in range(4):
        said = page.locator("#said").inner_text()
        page.locator("#keys button").first.click()
        page.locator("#said", has_text="Labelled").wait_for(state="attached")
        assert said is not None
        page.wait_for_timeout(150)
    page.reload()
    page.locator("#accuracy", has_text="95 % interval").wait_for()
    assert page.locator("#chart").is_visible()
    assert page.locator("#chart circle").count() == 1
    assert "Accuracy by day" in str(page.locator("#chart").get_attribute("aria-label"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_every_control_has_a_name_and_a_key(page: "Page") -> None:
    buttons = page.locator("#keys button")
    assert buttons.count() == len(CLASSES) + 1
    keys = [button.get_attribute("aria-keyshortcuts") for button in buttons.all()]
    assert keys == [*"1234567890", "n"]
    assert page.locator("#seen").get_attribute("alt")
    for button in page.locator("button:visible").all():
        assert button.inner_text().strip()
