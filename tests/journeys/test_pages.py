"""Every page in a real browser, on phone and desktop, light and dark.

Nothing is wider than the window, nothing loads from another host, and all text is readable.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servers import Server, using_home

from components.catalogues.sample import draw
from components.contract import Dataset, ModelCard, Validated
from components.dataset.archives import declare_source, write_archives
from components.dataset.ingest import ingest
from components.dataset.manifest import Examples
from components.dataset.validate import validate
from components.errors import ValidationError
from components.evaluation.model_slices import slice_model
from components.evaluation.profile import to_seen
from components.evaluation.report import write_report
from components.evaluation.slices_page import write_slices_page
from components.model.classifier import Classifier
from components.monitoring.drift.check import check_batch
from components.monitoring.drift.page import write_page
from components.promotion.impact import write_impact
from components.registry.champion import load_model
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import Trained

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]
PAGES = ("validation passed", "validation refused", "report", "slices", "impact", "drift", "service", "API")

UNREADABLE = """() => {
    const parts = color => color.match(/[\\d.]+/g).map(Number)
    const shade = color => {
        const [red, green, blue] = parts(color).slice(0, 3).map(part => {
            const share = part / 255
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
        })
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
    const behind = one => {
        while (one.parentElement && parts(getComputedStyle(one).backgroundColor)[3] === 0) one = one.parentElement
        return getComputedStyle(one).backgroundColor
    }
    const withText = [...document.querySelectorAll('main *, header *, footer *')].filter(one =>
        !one.closest('svg') && one.checkVisibility()
        && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    return withText.filter(one => {
        const [less, more] = [shade(getComputedStyle(one).color), shade(behind(one))].sort((a, b) => a - b)
        return (more + 0.05) / (less + 0.05) < 4.5
    }).map(one => one.outerHTML.slice(0, 200))
}"""


def refuse_dataset(folder: Path) -> Path:
    """Validate a dataset with inverted images and one missing class. Returns its page."""
    generator = np.random.default_rng(0)
    images, labels = (array.copy() for array in draw(300, generator))
    images[:20] = 255 - images[:20]
    labels[labels == 9] = 8
    folder.mkdir()
    write_archives(folder, {"train": (images, labels), "test": draw(200, generator)})
    declare_source(folder, "a-supplier-with-a-long-name-and-no-space-in-it", "MIT")
    settings = Settings(data_dir=folder / "data")
    with pytest.raises(ValidationError) as error:
        validate(ingest(str(folder), settings=settings).dataset, settings=settings)
    assert error.value.page
    return error.value.page


@pytest.fixture(scope="module")
def pages(
    validated: Validated,
    dataset: Dataset,
    served: Path,
    server: Server,
    trained: Trained,
    card: ModelCard,
    test_split: Examples,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Map each page to its URL."""
    folder = tmp_path_factory.mktemp("pages")
    settings = Settings(data_dir=folder / "data")
    with using_home(served), pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASHION_DATA_DIR", str(dataset.path.parent.parent))
        model = load_model()
        other = Classifier("fashion-mlp:other", card, trained.network.to_numpy())
        bright = np.where(test_split.images > 0, 255, 60).astype(np.uint8)
        write_page(
            check_batch(model.tag, Path("night.csv"), [to_seen(predict(model, bright), bright)]), folder / "drift.html"
        )
        write_slices_page(folder / "slices.html", model.tag, slice_model(model, dataset).found)
        files = {
            "validation passed": validated.docs,
            "validation refused": refuse_dataset(folder / "archives"),
            "report": write_report(model, dataset, other, settings),
            "impact": write_impact(model, other, dataset, folder / "impact", settings).page,
            "drift": folder / "drift.html",
            "slices": folder / "slices.html",
        }
    urls = {name: path.absolute().as_uri() for name, path in files.items()}
    return {**urls, "service": server.url, "API": f"{server.url}/docs"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_loads_nothing_from_other_hosts(
    browser: "Browser", pages: dict[str, str], name: str, width: int, scheme: Any
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(pages[name])
    if name == "API":
        page.locator(".opblock-summary-control").nth(1).click()
        page.locator(".responses-inner").wait_for()
    elif name == "service":
        page.locator("#examples button").nth(1).click()
        page.locator(".answer").wait_for()
        page.locator("#count").click()
    else:
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    host = pages[name].partition("/docs")[0] if name == "API" else pages[name]
    assert [url for url in asked if not url.startswith((host, "data:", "blob:"))] == []
    assert said == []
    if name != "API":  # Swagger UI's own style
        assert page.evaluate(UNREADABLE) == []
    page.close()
