"""Write a drift check as a self-contained HTML page, without scripts or network requests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.catalogues import catalogue_of
from components.contract import DataContract
from components.dataset.manifest import Examples, dataset_of, read_split
from components.errors import DatasetError, ModelError, ModelNotFound
from components.evaluation.figures import draw_shares
from components.files import write_whole
from components.monitoring.drift.check import DriftCheck, to_iso
from components.monitoring.drift.compare import MIX, NOT_SURE, UNKNOWN, Feature
from components.monitoring.drift.windows import Window
from components.pages.render import render_page, to_uri
from components.readers.images.statistics import LOGGED, measure_images
from components.registry.store import describe_stored
from components.settings import load_settings

TITLES = {
    "mean": "brightness",
    "ink": "non-black share",
    "edge": "border brightness",
    "confidence": "confidence",
    NOT_SURE: "abstention rate",
    UNKNOWN: "unknown images",
    MIX: "class distribution",
}
MEANING = {
    "mean": "Mean of all pixels, 0 to 255.",
    "ink": "Share of pixels that are not black, 0 to 1. It grows with the {subject} and with a non-black background.",
    "edge": "Mean of the border pixels, 0 to 255. It grows with a bright background or a {subject} that is cut off.",
    "confidence": "Probability of the predicted class, 0 to 1.",
    NOT_SURE: "Share of answers below the confidence threshold.",
    UNKNOWN: "Share of images that are unlike everything that the model was trained on.",
    MIX: "Share of answers per predicted class.",
}


IMAGES = 6  # test images for each of the two values


@dataclass(frozen=True)
class Lookalikes:
    """Test images that show what a feature's values look like, as data URIs."""

    expected: tuple[str, ...]  # closest to the expected median
    found: tuple[str, ...]  # closest to the found median


def write_page(check: DriftCheck, path: Path) -> None:
    """Write the page atomically.

    Raises:
        OSError: the page cannot be written.
    """
    newest = check.judged[0] if check.judged else None
    features = sorted(newest.features, key=lambda feature: not feature.drifted) if newest else []
    subject = catalogue_of(check.contract).subject
    page = render_page(
        Path(__file__).with_name("drift.html.j2"),
        check=check,
        newest=newest,
        titles=TITLES,
        meaning={name: text.format(subject=subject) for name, text in MEANING.items()},
        pictures=[(feature, _draw(feature, check.contract)) for feature in features],
        lookalikes=_find_lookalikes(check.model, [feature for feature in features if feature.drifted]),
        image=check.contract.image,
        times=[_times(window) for window in check.windows],
        shares=(NOT_SURE, UNKNOWN, MIX),
    )
    write_whole(path, page)


def _draw(feature: Feature, contract: DataContract) -> str:
    if feature.name == MIX:
        labels = contract.classes
    elif feature.name == NOT_SURE:
        labels = ("abstains", "answers")
    elif feature.name == UNKNOWN:
        labels = ("unknown", "known")
    else:
        labels = ("lowest", "highest")
    return draw_shares(TITLES[feature.name], labels, feature.expected, feature.found)


def _find_lookalikes(model: str, drifted: list[Feature]) -> dict[str, Lookalikes]:
    """Find test images for each drifted image statistic; none if the model's dataset no longer exists."""
    shown = [feature for feature in drifted if feature.name in LOGGED]
    if not shown:
        return {}
    try:
        version = describe_stored(model).dataset_version
        test = read_split(dataset_of(load_settings().datasets_dir, version), "test")
    except (DatasetError, ModelError, ModelNotFound):
        return {}
    values = measure_images(test.images, [feature.name for feature in shown])
    return {
        feature.name: Lookalikes(
            _pick(test, values[feature.name], feature.reference), _pick(test, values[feature.name], feature.now)
        )
        for feature in shown
    }


def _pick(test: Examples, values: NDArray[Any], value: float) -> tuple[str, ...]:
    closest = np.argsort(np.abs(values - value), kind="stable")[:IMAGES]
    return tuple(to_uri(test.images[row]) for row in closest)


def _times(window: Window) -> str:
    since, until = (to_iso(end)[:16].replace("T", " ") for end in (window.since, window.until))
    return f"{since} to {until[11:] if until[:10] == since[:10] else until} UTC"
