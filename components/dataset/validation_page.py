"""The validation page: the results of Great Expectations as one self-contained HTML file, without scripts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from components.contract import Dataset, Images, Split
from components.dataset.manifest import read_split
from components.dataset.profiling import JUMP
from components.files import write_whole
from components.pages.render import render_page, to_uri

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult

EXAMPLES = 8  # pictures per failed expectation

# What each column holds, as in "<words> of each image: 0 to 150"
COLUMNS = {
    "id": "ID",
    "label": "Class",
    "class_share": "Share of the image's class in the split",
    "class_jump": "Share of the image's class, relative to the first accepted version",
    "mean": "Mean brightness",
    "deviation": "Standard deviation of the pixels",
    "ink": "Share of non-black pixels",
    "edge": "Mean brightness of the border",
    "peak": "Brightest pixel",
    "contrast": "Contrast",
    "skew": "Median minus mean brightness",
    "warmth": "Mean of red minus mean of blue",
    "duplicates_within": "Exact duplicates in the same split",
    "duplicates_across": "Exact duplicates in the other split",
}


@dataclass(frozen=True)
class Example:
    """An image that does not meet an expectation."""

    id: str
    name: str  # of its class
    value: str  # of the column that was checked
    uri: str  # data URI


@dataclass(frozen=True)
class CheckedExpectation:
    """One expectation in words, with its result."""

    words: str
    expected: str
    found: str
    met: bool
    technical: str  # as Great Expectations names it
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class CheckedSplit:
    """The results of one split; `checks` has the failed ones first and null checks last."""

    name: Split
    rows: int
    checks: tuple[CheckedExpectation, ...]
    classes: tuple[tuple[str, int, float], ...]  # name, images and share of the largest class, 0 to 1

    @property
    def failed(self) -> tuple[CheckedExpectation, ...]:
        """The expectations that the split does not meet."""
        return tuple(check for check in self.checks if not check.met)


def write_page(
    path: Path,
    dataset: Dataset,
    frames: Mapping[Split, pd.DataFrame],
    results: "Mapping[Split, list[ExpectationValidationResult]]",
    docs: str,
    advice: str = "",
) -> None:
    """Write the page atomically.

    Args:
        path: Path of the page.
        dataset: Dataset that was validated.
        frames: Split -> what its expectations looked at, one row per image.
        results: Split -> the result of each expectation.
        docs: Link to the Data Docs, relative to the page.
        advice: What else to do if an expectation failed.
    """
    splits = [_check_split(split, dataset, frames[split], results[split]) for split in results]
    page = render_page(
        Path(__file__).with_name("validation.html.j2"),
        dataset=dataset,
        splits=splits,
        failed=sum(len(split.failed) for split in splits),
        total=sum(len(split.checks) for split in splits),
        image=dataset.contract.image,
        docs=docs,
        advice=advice,
    )
    write_whole(path, page)


def _check_split(
    split: Split, dataset: Dataset, frame: pd.DataFrame, results: "list[ExpectationValidationResult]"
) -> CheckedSplit:
    pictures = _find_pictures(dataset, split, results)
    names = dataset.contract.classes
    checks = [_check(result, frame, names, pictures) for result in results]
    counts = np.bincount(frame["label"], minlength=len(names)).tolist()
    largest = max(*counts, 1)
    return CheckedSplit(
        name=split,
        rows=len(frame),
        checks=tuple(sorted(checks, key=lambda check: (check.met, "not_be_null" in check.technical))),
        classes=tuple((name, count, count / largest) for name, count in zip(names, counts, strict=True)),
    )


def _failed_rows(result: "ExpectationValidationResult") -> list[dict[str, Any]]:
    return list(result.result.get("partial_unexpected_index_list") or [])[:EXAMPLES]


def _find_pictures(
    dataset: Dataset, split: Split, results: "list[ExpectationValidationResult]"
) -> dict[str, tuple[Images, int]]:
    """Return the image and label of each row that is shown; reads the split only if there are any."""
    wanted = {row["id"] for result in results if not result.success for row in _failed_rows(result)}
    if not wanted:
        return {}
    examples = read_split(dataset, split)
    places = [place for place, name in enumerate(examples.ids) if name in wanted]
    return {examples.ids[place]: (examples.images[place], int(examples.labels[place])) for place in places}


def _check(
    result: "ExpectationValidationResult",
    frame: pd.DataFrame,
    names: tuple[str, ...],
    pictures: dict[str, tuple[Images, int]],
) -> CheckedExpectation:
    config = result.expectation_config
    kind, kwargs = (config.type, config.kwargs) if config else ("unknown", {})
    column = str(kwargs.get("column", ""))
    words, expected = _describe(kind, column, kwargs, len(names))
    rows = [] if result.success else _failed_rows(result)
    return CheckedExpectation(
        words=words,
        expected=expected,
        found=_describe_found(kind, column, result, frame, names),
        met=bool(result.success),
        technical=f"{kind}({column})" if column else kind,
        examples=tuple(
            Example(row["id"], names[label], _show(row.get(column, "")) if column != "id" else "", to_uri(image))
            for row in rows
            if row["id"] in pictures
            for image, label in [pictures[row["id"]]]
        ),
    )


def _describe(kind: str, column: str, kwargs: Mapping[str, Any], classes: int) -> tuple[str, str]:
    """Return an expectation in words, and the expected value."""
    name = COLUMNS.get(column, column)
    between = _show_range(kwargs.get("min_value"), kwargs.get("max_value"))
    if column.startswith("duplicates"):
        between = "none"
    if column == "class_jump":
        between = f"a third to {JUMP:g} times"
    if "mostly" in kwargs:
        between += f", for {100 * kwargs['mostly']:g} % of the images"
    return {
        "expect_table_row_count_to_be_between": ("Number of images", between),
        "expect_column_values_to_not_be_null": (f"{name}: present", "in every row"),
        "expect_column_values_to_be_unique": (f"{name}: unique", "no repeats"),
        "expect_column_values_to_be_in_set": ("Class of each image", f"one of the {classes} classes"),
        "expect_column_distinct_values_to_equal_set": ("Classes in the split", f"all {classes}"),
        "expect_column_mean_to_be_between": (f"{name}: average over the split", between),
        "expect_column_values_to_be_between": (name, between),
    }.get(kind, (kind, between))


def _describe_found(
    kind: str, column: str, result: "ExpectationValidationResult", frame: pd.DataFrame, names: tuple[str, ...]
) -> str:
    found = result.result
    if kind == "expect_column_distinct_values_to_equal_set" and "unexpected_count" in found:
        missing = [
            names[label] if label < len(names) else str(label) for label in found.get("partial_missing_list", [])
        ]
        return f"missing: {', '.join(missing)}" if missing else f"{frame['label'].nunique()} classes"
    if found.get("observed_value") is not None:
        return _show(found["observed_value"])
    if "unexpected_count" not in found:
        return f"could not be computed; see {kind} in the Data Docs"
    outside = int(found["unexpected_count"])
    spread = ""
    if kind == "expect_column_values_to_be_between" and len(frame):
        spread = _show_range(frame[column].min(), frame[column].max())
    if outside:
        share = f"{outside:,} of {found['element_count']:,} images fail"
        return f"{share}; values {spread}" if spread else share
    return spread or f"all {found['element_count']:,}"


def _show_range(least: Any, most: Any) -> str:
    if most is None:
        return "any" if least is None else f"at least {_show(least)}"
    if least is None:
        return f"at most {_show(most)}"
    return _show(least) if least == most else f"{_show(least)} to {_show(most)}"


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value
    number = float(value)
    if number.is_integer():
        return f"{int(number):,}"
    return f"{number:.3g}" if abs(number) < 10 else f"{number:.1f}"
