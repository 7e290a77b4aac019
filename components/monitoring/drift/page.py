"""A check -> an HTML page with its pictures inside, readable without a network and without a script."""

from pathlib import Path

from components.catalogues import catalogue_of
from components.contract import DataContract
from components.evaluation.figures import draw_shares
from components.evaluation.pages import render_page
from components.files import write_whole
from components.monitoring.drift.check import DriftCheck, to_iso
from components.monitoring.drift.compare import MIX, NOT_SURE, Feature
from components.monitoring.drift.windows import Window

MEANING = {
    "mean": "Brightness: the mean of an image's pixels, 0 to 255.",
    "ink": "The share of the pixels that are not black: the {subject}'s size, or a ground that is not black.",
    "edge": "The mean of the outermost pixels, 0 to 255: what the {subject} stands on, or that it is cut off.",
    "confidence": "How probable the model finds its answer, 0 to 1.",
    NOT_SURE: "The share of the answers that the model is not sure of.",
    MIX: "Which classes the model finds: what people ask about, or what it takes it for.",
}


def write_page(check: DriftCheck, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    newest = check.judged[0] if check.judged else None
    subject = catalogue_of(check.contract).subject
    page = render_page(
        Path(__file__).with_name("drift.html.j2"),
        check=check,
        newest=newest,
        meaning={name: told.format(subject=subject) for name, told in MEANING.items()},
        pictures=[(feature, _draw(feature, check.contract)) for feature in newest.features] if newest else [],
        times=[_times(window) for window in check.windows],
        shares=(NOT_SURE, MIX),
    )
    write_whole(path, page)


def _draw(feature: Feature, contract: DataContract) -> str:
    if feature.name == MIX:
        labels = contract.classes
    elif feature.name == NOT_SURE:
        labels = ("not sure", "sure")
    else:
        labels = ("lowest", "highest")
    return draw_shares(feature.name, labels, feature.expected, feature.found)


def _times(window: Window) -> str:
    since, until = (to_iso(end)[:16].replace("T", " ") for end in (window.since, window.until))
    return f"{since} to {until[11:] if until[:10] == since[:10] else until} UTC"
