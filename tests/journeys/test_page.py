"""The page in a real browser: every way to submit a picture, its results, and its error messages."""

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from readings import PIXEL_COLUMNS
from servers import SERVICE_TOKEN, Server, using_home

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Images, ModelCard
from components.dataset.manifest import Examples
from components.model.classifier import Classifier
from components.readers.images.photos import write_png
from components.registry import champion
from components.scoring.predict import predict
from components.training.train import Trained

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]


@pytest.fixture(scope="module")
def image(test_split: Examples) -> Images:
    image: Images = test_split.images[0]
    return image


@pytest.fixture(scope="module")
def picture(image: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "coat <b>.png"
    path.write_bytes(write_png(image))
    return path


@pytest.fixture(scope="module")
def expected(trained: Trained, card: ModelCard, image: Images) -> str:
    return predict(Classifier("", card, trained.network.to_numpy()), image[None]).names[0]


@pytest.fixture
def open_page(browser: "Browser", server: Server) -> Iterator[Callable[..., "Page"]]:
    """Open the page in a window. At the end, check that it requested nothing from other hosts and logged no error."""
    asked: list[str] = []
    said: list[str] = []
    opened: list[Page] = []

    def open_at(width: int = 1280, scheme: str = "light", url: str = server.url) -> "Page":
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text))
        page.goto(url)
        opened.append(page)
        return page

    yield open_at
    for page in opened:
        page.close()
    assert [url for url in asked if not re.match(r"(http://127\.0\.0\.1:\d+/|blob:|data:)", url)] == []
    assert [text for text in said if "Failed to load resource" not in text] == []  # a refused request is a failed load


def answer(page: "Page") -> "str":
    """Return the text of the newest answer."""
    return page.locator("#answers > li").first.inner_text()


def wait_for_answers(page: "Page", number: int = 1) -> None:
    """Poll: the page's content security policy forbids evaluating strings."""
    deadline = time.monotonic() + 10
    while page.locator("#answers > li").count() != number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_model(page: "Page") -> str:
    """Return what the page says about the model."""
    page.locator("#model", has_text="fashion-mlp:").wait_for(timeout=10_000)
    return page.locator("#model").inner_text()


def test_a_chosen_file_is_classified_with_its_picture_model_input_and_bars(
    open_page: Callable[..., "Page"], picture: Path, expected: str, image: Images
) -> None:
    page = open_page()
    page.set_input_files("#files", picture)
    wait_for_answers(page)
    message = answer(page)
    assert "coat <b>.png" in message, "a file's name is text, not markup"
    assert page.locator(".answer .name").inner_text() == expected
    shares = [float(share.removesuffix(" %")) for share in page.locator(".share").all_inner_texts()]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)
    seen = page.locator(".seen img")
    assert seen.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [28, 28]
    drawn = seen.evaluate("""image => {
        const canvas = document.createElement('canvas'); canvas.width = canvas.height = 28
        const context = canvas.getContext('2d'); context.drawImage(image, 0, 0)
        return [...context.getImageData(0, 0, 28, 28).data].filter((_, place) => place % 4 == 0)
    }""")
    assert np.array_equal(np.array(drawn, np.uint8).reshape(28, 28), image)
    assert page.locator("#said").inner_text().startswith(f"coat <b>.png: {expected}")


def give(page: "Page", kind: str, content: bytes, media_type: str, name: str) -> None:
    """Drop or paste a file as a user does."""
    page.evaluate(
        """([kind, bytes, type, name]) => {
            const data = new DataTransfer()
            data.items.add(new File([new Uint8Array(bytes)], name, { type }))
            document.querySelector('#drop').dispatchEvent(kind == 'drop'
                ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })
                : new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))
        }""",
        [kind, list(content), media_type, name],
    )


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_dropped_and_a_pasted_picture_are_classified(
    open_page: Callable[..., "Page"], picture: Path, expected: str, kind: str
) -> None:
    page = open_page()
    give(page, kind, picture.read_bytes(), "image/png", "given.png")
    wait_for_answers(page)
    assert "given.png" in answer(page)
    assert page.locator(".answer .name").inner_text() == expected


def test_a_photo_can_be_taken(open_page: Callable[..., "Page"]) -> None:
    page = open_page(360)
    assert page.locator("#camera").get_attribute("capture") == "environment"
    file = io.BytesIO()
    Image.new("RGB", (300, 400), (200, 30, 60)).save(file, "JPEG")
    page.set_input_files("#camera", {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    wait_for_answers(page)
    assert page.locator(".answer .name").inner_text() in CLASSES


def test_a_drawing_is_classified(open_page: Callable[..., "Page"]) -> None:
    page = open_page()
    wait_for_model(page)
    page.get_by_role("button", name="Draw an item").click()
    box = page.locator("#canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + 90, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 240, steps=5)
    page.mouse.move(box["x"] + 190, box["y"] + 240, steps=5)
    page.mouse.up()
    page.get_by_role("button", name="Classify the drawing").click()
    wait_for_answers(page)
    assert "your drawing" in answer(page)
    seen = page.locator(".seen img").evaluate("""image => {
        const canvas = document.createElement('canvas'); canvas.width = canvas.height = 28
        const context = canvas.getContext('2d'); context.drawImage(image, 0, 0)
        return [...context.getImageData(0, 0, 28, 28).data].filter((_, place) => place % 4 == 0)
    }""")
    assert 40 < sum(value > 100 for value in seen) < 150


def test_a_table_is_scored_and_can_be_downloaded(
    open_page: Callable[..., "Page"], image: Images, expected: str
) -> None:
    page = open_page()
    rows = [",".join(PIXEL_COLUMNS), ",".join(map(str, image.ravel())), "1,2,3", ""]
    give(page, "drop", "\n".join(rows).encode(), "text/csv", "catalogue.csv")
    wait_for_answers(page)
    assert "1 row scored, 1 rejected." in answer(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the result").click()
    assert download.value.suggested_filename == "catalogue-scored.csv"
    assert expected in Path(download.value.path()).read_text()


def test_the_classes_of_a_table_are_counted_and_compared_with_its_labels(
    open_page: Callable[..., "Page"], test_split: Examples, trained: Trained, card: ModelCard
) -> None:
    page = open_page()
    wait_for_model(page)
    images, labels = test_split.images[:40], test_split.labels[:40]
    predictions = predict(Classifier("", card, trained.network.to_numpy()), images)
    rows = ["id;label;" + ";".join(PIXEL_COLUMNS)]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = CLASSES[label].upper() if number % 2 else str(label)
        rows.append(f'"a;""{number}";{name};' + ";".join(map(str, image.ravel())))
    page.set_input_files(
        "#files", {"name": "labelled.csv", "mimeType": "text/csv", "buffer": "\r\n".join([*rows, ""]).encode()}
    )
    wait_for_answers(page)
    right = int((predictions.labels == labels).sum())
    assert f"({right} of 40 labelled rows)" in answer(page)
    shown = dict(
        zip(page.locator(".answer dt").all_inner_texts(), page.locator(".share").all_inner_texts(), strict=True)
    )
    assert shown == {name: str(predictions.names.count(name)) for name in set(predictions.names)}


def draw_unknown() -> Images:
    """Draw an image that is unlike every garment: coarse noise with black corners."""
    noise: Images = np.random.default_rng(0).integers(1, 256, (7, 7), np.uint8).repeat(4, 0).repeat(4, 1)
    noise[:4, :4] = noise[:4, -4:] = noise[-4:, :4] = noise[-4:, -4:] = 0
    return noise


def test_an_unknown_image_is_marked_and_corrected_to_none_of_these_first(
    open_page: Callable[..., "Page"], trained: Trained, card: ModelCard
) -> None:
    said = predict(Classifier("", card, trained.network.to_numpy()), draw_unknown()[None])
    page = open_page()
    page.route("**/model", lambda route: with_changes(route, lambda found: {**found, "takes_corrections": True}))
    page.reload()
    wait_for_model(page)
    give(page, "drop", write_png(draw_unknown()), "image/png", "noise.png")
    wait_for_answers(page)
    assert said.unknown == 1
    assert "Unknown: unlike everything this model was trained on." in answer(page)
    assert f"Likeliest of its classes: {said.names[0]}" in answer(page)
    assert re.search(r"Familiarity: \d\.\d % of the validation images are less familiar", answer(page))
    assert page.locator("#said").inner_text().startswith("noise.png: unknown; likeliest of its classes: ")
    page.get_by_text("Wrong?").click()
    menu = page.locator(".answer select")
    assert menu.input_value() == "none of these"
    assert menu.locator("option").all_inner_texts() == ["none of these", *CLASSES]


def with_changes(route: "Route", change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer a request as the service does, with changes."""
    response = route.fetch()
    route.fulfill(response=response, json=change(response.json()))


def test_a_model_that_cannot_tell_shows_nothing(open_page: Callable[..., "Page"]) -> None:
    def without_known(found: dict[str, Any]) -> dict[str, Any]:
        found["predictions"] = [{**one, "known": None, "familiarity": None} for one in found.get("predictions", [])]
        return found

    page = open_page()
    page.route("**/classify*", lambda route: with_changes(route, without_known))
    give(page, "drop", write_png(draw_unknown()), "image/png", "noise.png")
    wait_for_answers(page)
    assert "nknown" not in answer(page)
    assert "amiliar" not in answer(page)


def test_the_unknown_rows_of_a_table_are_counted(open_page: Callable[..., "Page"]) -> None:
    page, images = open_page(), np.stack([draw_unknown()] * 2)
    rows = [",".join(PIXEL_COLUMNS), *(",".join(map(str, one.ravel())) for one in images), ""]
    give(page, "drop", "\n".join(rows).encode(), "text/csv", "catalogue.csv")
    wait_for_answers(page)
    assert "2 rows are unknown: unlike everything this model was trained on." in answer(page)
    assert "2 rows scored, 0 rejected, 2 unknown" in page.locator("#said").inner_text()
    file = io.BytesIO()
    pq.write_table(pa.table({"pixels": pa.array([one.tobytes() for one in images], pa.binary(784))}), file)
    give(page, "drop", file.getvalue(), "", "catalogue.parquet")
    wait_for_answers(page, 2)
    assert "2 rows are unknown: unlike everything this model was trained on." in answer(page)


def test_an_example_is_one_click_away(open_page: Callable[..., "Page"]) -> None:
    page = open_page()
    page.get_by_role("button", name="Classify the example: Trouser").click()
    wait_for_answers(page)
    assert "example: Trouser" in answer(page)
    assert "synthetic" in page.locator("#origin").inner_text(), "this model was trained on the synthetic sample"
    assert page.locator("#examples button").count() == len(CLASSES)


def test_the_classes_are_listed(open_page: Callable[..., "Page"]) -> None:
    page = open_page()
    wait_for_model(page)
    page.get_by_text("10 classes").click()
    assert page.locator("#classes li").all_inner_texts() == list(CLASSES)


@pytest.mark.parametrize("width", [360, 1280])
def test_the_api_page_describes_and_calls_the_service(
    open_page: Callable[..., "Page"], server: Server, width: int
) -> None:
    page = open_page(width, url=f"{server.url}/docs")
    page.locator(".opblock-summary-path", has_text="/model").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table", has_text="dataset_version").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_api_page_asks_for_the_token(open_page: Callable[..., "Page"], guarded: Server) -> None:
    page = open_page(url=f"{guarded.url}/docs")
    page.get_by_label("token").fill(SERVICE_TOKEN)
    page.get_by_label("token").press("Enter")
    page.locator(".opblock").first.wait_for()


def test_a_parquet_table_is_scored_and_can_be_downloaded(
    open_page: Callable[..., "Page"], image: Images, expected: str
) -> None:
    page, file = open_page(), io.BytesIO()
    pq.write_table(pa.table({"pixels": pa.array([image.tobytes(), None, image.tobytes()], pa.binary(784))}), file)
    give(page, "drop", file.getvalue(), "", "catalogue.parquet")
    wait_for_answers(page)
    assert "2 rows scored, 1 rejected." in answer(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the result").click()
    assert download.value.suggested_filename == "catalogue-scored.parquet"
    assert pq.read_table(download.value.path())["name"].to_pylist() == [expected, None, expected]


def test_warnings_about_a_picture_or_a_table_are_shown(open_page: Callable[..., "Page"], image: Images) -> None:
    page = open_page()
    give(page, "drop", write_png(image * 0), "image/png", "blank.png")
    wait_for_answers(page)
    assert "Low confidence: needs human review." in answer(page)
    assert "Warning: nothing but one colour or noise in the image; the model abstains" in answer(page)
    assert "nothing but one colour or noise" in page.locator("#said").inner_text()
    rows = [",".join(PIXEL_COLUMNS), *(",".join(map(str, one.ravel())) for one in (image, image * 0)), ""]
    give(page, "drop", "\n".join(rows).encode(), "text/csv", "catalogue.csv")
    wait_for_answers(page, 2)
    assert "2 rows scored, 0 rejected." in answer(page)
    assert "Warning: nothing but one colour or noise in 1 of 2 images" in answer(page)


def test_a_response_that_ends_early_is_reported(open_page: Callable[..., "Page"]) -> None:
    page = open_page()
    blank = ",".join(["0"] * 784) + "\n"
    rows = [",".join(PIXEL_COLUMNS), "\n", blank * 5000, "0" * (70 << 10), "\n"]
    page.set_input_files("#files", {"name": "long.csv", "mimeType": "text/csv", "buffer": "".join(rows).encode()})
    wait_for_answers(page)
    assert "The response ended early" in answer(page)


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"no picture", "image/png", "Cannot read the input: not a "),
        (b"a,b\n1,2\n", "text/csv", "Cannot read the input: "),
    ],
)
def test_errors_are_reported_in_plain_words(
    open_page: Callable[..., "Page"], content: bytes, kind: str, message: str
) -> None:
    page = open_page()
    give(page, "drop", content, kind, "odd")
    wait_for_answers(page)
    assert message in answer(page)
    assert message in page.locator("#said").inner_text()


def test_the_model_is_shown(open_page: Callable[..., "Page"], served: Path) -> None:
    page = open_page()
    message = wait_for_model(page)
    with using_home(served):
        model = champion.load_model()
    assert model.tag in message
    assert f"{model.card.test.accuracy:.1%}".replace("%", " %") in message
    assert "synthetic samples" in message


def test_it_works_with_the_keyboard(open_page: Callable[..., "Page"]) -> None:
    page = open_page()
    page.locator("#examples button").first.wait_for()
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert reached[:4] == ["count", "files", "camera", "draw"]
    assert "Does this service require a token?" in reached
    page.focus("#draw")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "classify"
    page.keyboard.press("Enter")
    wait_for_answers(page)


def test_every_control_has_an_accessible_name(open_page: Callable[..., "Page"], picture: Path) -> None:
    """The name that a screen reader announces."""
    page = open_page()
    page.set_input_files("#files", picture)
    wait_for_answers(page)
    unnamed = page.evaluate("""[...document.querySelectorAll('input, button, img, progress, canvas, a')].filter(one =>
        !(one.getAttribute('aria-label') || one.alt || one.textContent.trim() || one.closest('button')?.ariaLabel ||
          one.labels?.[0]?.textContent.trim())
    ).map(one => one.outerHTML)""")
    assert unnamed == []
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_scrolls_sideways_and_text_has_enough_contrast(
    open_page: Callable[..., "Page"], picture: Path, width: int, scheme: str
) -> None:
    page = open_page(width, scheme)
    page.set_input_files("#files", [picture, picture])
    wait_for_answers(page, 2)
    give(page, "drop", write_png(np.zeros((28, 28), np.uint8)), "image/png", "blank.png")
    wait_for_answers(page, 3)
    give(page, "drop", write_png(draw_unknown()), "image/png", "noise.png")
    wait_for_answers(page, 4)
    page.get_by_role("button", name="Draw an item").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for chosen in ("body", "header p", ".name", ".unknown", ".familiarity", ".warning", ".share", "button", "footer"):
        assert contrast(page, chosen) > 4.5, chosen


def contrast(page: "Page", chosen: str) -> float:
    """Return the contrast ratio of the text to its background (WCAG 2)."""
    colors = page.evaluate(
        """chosen => {
            let one = document.querySelector(chosen), ink = getComputedStyle(one).color
            while (one && getComputedStyle(one).backgroundColor == 'rgba(0, 0, 0, 0)') one = one.parentElement
            return [ink, getComputedStyle(one).backgroundColor]
        }""",
        chosen,
    )
    first, second = sorted((luminance(re.findall(r"[\d.]+", color)[:3]) for color in colors), reverse=True)
    return (first + 0.05) / (second + 0.05)


def luminance(color: list[str]) -> float:
    shares = [float(part) / 255 for part in color]
    parts = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot(parts, (0.2126, 0.7152, 0.0722)))


def test_the_page_asks_for_a_token_and_uses_it(
    open_page: Callable[..., "Page"], guarded: Server, picture: Path, expected: str
) -> None:
    page = open_page(url=guarded.url)
    page.set_input_files("#files", picture)
    wait_for_answers(page)
    assert "requires a token" in answer(page)
    page.get_by_text("Does this service require a token?").click()
    page.get_by_label("Token").fill(SERVICE_TOKEN)
    page.get_by_label("Token").press("Enter")
    wait_for_model(page)
    page.set_input_files("#files", picture)
    wait_for_answers(page, 2)
    assert expected in answer(page)
