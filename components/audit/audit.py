"""Audit a dataset: write a report page, and tables of labels to review and import."""

import csv
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.audit.folds import FOLDS, predict_unseen
from components.audit.labels import Suspect, find_suspects
from components.contract import SPLITS, Dataset, Split
from components.dataset.duplicates import DuplicatePair, find_duplicates, find_duplicates_within, find_outliers
from components.dataset.manifest import Examples, read_split
from components.files import require_writable, write_whole
from components.pages.render import render_page, to_uri
from components.settings import Settings, load_settings
from components.training.presets import configure

SHOWN = 60  # pictures per section
OUTLIERS = 60
COLUMNS = ("id", "given", "suggested", "score", "label")


@dataclass(frozen=True)
class Audit:
    """The findings, and the files they are in."""

    dataset: str  # version
    page: Path
    corrections: Path  # id,given,suggested,score,label: the suspect training labels
    suspects: dict[Split, int]  # number of suspect labels
    copies: dict[str, int]  # near-duplicate pairs, by "train", "test" and "train and test"
    seconds: dict[str, float]


@dataclass(frozen=True)
class ImagePair:
    """A pair of near-duplicates and the splits they are in."""

    splits: tuple[Split, Split]
    match: DuplicatePair


Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


def audit(
    dataset: Dataset,
    preset: str = "dense-128",
    *,
    progress: Progress = lambda what, done, total: None,
    settings: Settings | None = None,
) -> Audit:
    """Audit a dataset and write a report.

    Args:
        dataset: any version.
        preset: the training preset of the five networks that check the labels.
        progress: called after each block of images and each network.
        settings: where to write the report. None: from the environment.

    Raises:
        DatasetError: the dataset is missing or changed.
        SettingsError: the preset is unknown or does not support these images.
        TrainingError: too few images.
        OSError: the report folder is not writable; checked first.
    """
    settings, config = settings or load_settings(), configure(preset, image=dataset.contract.input)
    folder = settings.audits_dir / dataset.version
    require_writable(folder)
    splits = {split: read_split(dataset, split) for split in SPLITS}
    began = time.monotonic()
    pairs = _find_pairs(splits, partial(progress, "comparing images"))
    outliers = _show_outliers(splits)
    compared = time.monotonic()
    train, test = (splits[split] for split in SPLITS)
    found = predict_unseen(train, test, config, lambda fold: progress("training networks", fold, FOLDS))
    suspects = {split: find_suspects(splits[split], one) for split, one in zip(SPLITS, found, strict=True)}
    seconds = {"copies": compared - began, "labels": time.monotonic() - compared}
    tables = {f"{split}-labels.csv": _describe_suspects(splits[split], suspects[split]) for split in SPLITS}
    for name, content in {**tables, "duplicates.csv": _describe_pairs(splits, pairs)}.items():
        write_whole(folder / name, content)
    counts = _count_pairs(pairs)
    page = render_page(
        Path(__file__).with_name("audit.html.j2"),
        dataset=dataset,
        image=dataset.contract.image,
        preset=preset,
        folds=FOLDS,
        rows={split: len(splits[split].ids) for split in SPLITS},
        suspects={split: len(suspects[split]) for split in SPLITS},
        copies=counts,
        seconds=seconds,
        shown={split: [_show(splits[split], one) for one in suspects[split][:SHOWN]] for split in SPLITS},
        confusions=_count_confusions(suspects["train"], dataset.contract.classes),
        pairs=[_show_pair(splits, pair) for pair in sorted(pairs, key=_by_weight)[:SHOWN]],
        outliers=outliers,
    )
    write_whole(folder / "index.html", page)
    suspect_counts = {split: len(suspects[split]) for split in SPLITS}
    return Audit(dataset.version, folder / "index.html", folder / "train-labels.csv", suspect_counts, counts, seconds)


def _find_pairs(splits: dict[Split, Examples], progress: Callable[[int, int], None]) -> list[ImagePair]:
    """Find near-duplicates across (shifted too) and within the splits."""
    across = find_duplicates(splits["train"].images, splits["test"].images, progress=progress)
    pairs = [ImagePair(("train", "test"), one) for one in across]
    for split in SPLITS:
        pairs += [ImagePair((split, split), one) for one in find_duplicates_within(splits[split].images)]
    return pairs


def _by_weight(pair: ImagePair) -> tuple[bool, float]:
    """Across the splits first, then by correlation, highest first."""
    return pair.splits[0] == pair.splits[1], -pair.match.correlation


def _count_pairs(pairs: list[ImagePair]) -> dict[str, int]:
    return {
        "train and test": sum(pair.splits[0] != pair.splits[1] for pair in pairs),
        **{split: sum(pair.splits == (split, split) for pair in pairs) for split in SPLITS},
    }


def _count_confusions(suspects: list[Suspect], names: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """Given class, suggested class and count, the most frequent first."""
    pairs, counts = np.unique([(one.given, one.suggested) for one in suspects] or [(0, 0)], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[: 12 if suspects else 0]
    return [(names[pairs[row][0]], names[pairs[row][1]], int(counts[row])) for row in order]


def _describe_suspects(examples: Examples, suspects: list[Suspect]) -> bytes:
    """A CSV of suspect labels. To correct a training label, edit its `label` cell and import the table."""
    names = examples.contract.classes
    rows = [
        (examples.ids[one.row], names[one.given], names[one.suggested], one.score, names[one.given]) for one in suspects
    ]
    return _to_csv([COLUMNS, *rows])


def _describe_pairs(splits: dict[Split, Examples], pairs: list[ImagePair]) -> bytes:
    rows = [tuple(_show_pair(splits, pair)[name] for name in ("ids", "labels", "correlation")) for pair in pairs]
    return _to_csv(
        [("id", "other", "label", "other_label", "likeness"), *((*i, *names, like) for i, names, like in rows)]
    )


def _to_csv(rows: list[Any]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _show(examples: Examples, one: Suspect) -> dict[str, Any]:
    return {
        "id": examples.ids[one.row],
        "given": examples.contract.classes[one.given],
        "suggested": examples.contract.classes[one.suggested],
        "score": one.score,
        "uri": to_uri(examples.images[one.row]),
    }


def _show_pair(splits: dict[Split, Examples], pair: ImagePair) -> dict[str, Any]:
    both = [(splits[pair.splits[0]], pair.match.row), (splits[pair.splits[1]], pair.match.other)]
    return {
        "ids": [examples.ids[row] for examples, row in both],
        "labels": [examples.contract.classes[examples.labels[row]] for examples, row in both],
        "uris": [to_uri(examples.images[row]) for examples, row in both],
        "correlation": pair.match.correlation,
    }


def _show_outliers(splits: dict[Split, Examples]) -> list[dict[str, Any]]:
    """The images of both splits with the lowest correlation to any other."""
    every = [(value, split, row) for split in SPLITS for row, value in find_outliers(splits[split].images, OUTLIERS)]
    return [
        {
            "id": splits[split].ids[row],
            "given": splits[split].contract.classes[splits[split].labels[row]],
            "correlation": correlation,
            "uri": to_uri(splits[split].images[row]),
        }
        for correlation, split, row in sorted(every)[:OUTLIERS]
    ]
