"""Write a drift check as a self-contained HTML page, without scripts or network requests."""

from pathlib import Path

from components.catalogues import catalogue_of
from components.contract import DataContract
from components.evaluation.figures import draw_shares
from components.files import write_whole
from components.monitoring.drift.check import DriftCheck, to_iso
from components.monitoring.drift.compare import MIX, NOT_SURE, Feature
from components.monitoring.drift.windows import Window
from components.pages.render import render_page

TITLES = {
    "mean": "brightness",
    "ink": "non-black share",
    "edge": "border brightness",
    "confidence": "confidence",
    NOT_SURE: "abstention rate",
    MIX: "class distribution",
}
MEANING = {
    "mean": "Mean of all pixels, 0 to 255.",
    "ink": "Share of pixels that are not black, 0 to 1. It grows with the {subject} and with a non-black background.",
    "edge": "Mean of the border pixels, 0 to 255. It grows with a bright background or a {subject} that is cut off.",
    "confidence": "Probability of the predicted class, 0 to 1.",
    NOT_SURE: "Share of answers below the confidence threshold.",
    MIX: "Share of answers per predicted class.",
}


def write_page(check: DriftCheck, path: Path) -> None:
    """Write the page atomically.

    Raises:
        OSError: the page cannot be written.
    """
    newest = check.judged[0] if check.judged else None
    subject = catalogue_of(check.contract).subject
    page = render_page(
        Path(__file__).with_name("drift.html.j2"),
        check=check,
        newest=newest,
        titles=TITLES,
        meaning={name: text.format(subject=subject) for name, text in MEANING.items()},
        pictures=[(feature, _draw(feature, check.contract)) for feature in newest.features] if newest else [],
        times=[_times(window) for window in check.windows],
        shares=(NOT_SURE, MIX),
    )
    write_whole(path, page)


def _draw(feature: Feature, contract: DataContract) -> str:
    if feature.name == MIX:
        labels = contract.classes
    elif feature.name == NOT_SURE:
        labels = ("abstains", "answers")
    else:
        labels = ("lowest", "highest")
    return draw_shares(TITLES[feature.name], labels, feature.expected, feature.found)


def _times(window: Window) -> str:
    since, until = (to_iso(end)[:16].replace("T", " ") for end in (window.since, window.until))
    return f"{since} to {until[11:] if until[:10] == since[:10] else until} UTC"
