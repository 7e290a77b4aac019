"""Validate a dataset with Great Expectations: write a receipt, or raise ValidationError naming what failed.

The expectations run on a frame of a few scalars per row (mean, edge, hash, ...), not on one column per pixel. Great
Expectations takes four seconds to import, so `validate` imports it.

The built-in catalogue defines its bounds in code. Any other starts with loose bounds that only a broken batch violates;
the first version that passes is profiled, and later versions must match its profile.
"""

import hashlib
import itertools
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.catalogues import catalogue_of
from components.catalogues.catalogue import ValidationBounds
from components.contract import SPLITS, Dataset, Split, Validated
from components.dataset.manifest import accept, dataset_lock, digest, read_split, refuse
from components.dataset.profiling import (
    JUMP,
    PROFILED,
    bounds_path,
    describe_bounds,
    measure_jumps,
    profile_bounds,
    read_bounds,
    write_bounds,
)
from components.dataset.validation_page import write_page
from components.errors import BrokenExpectation, ValidationError
from components.expectations import build_docs, open_context
from components.files import DAY, remove_leftovers, whole_folder
from components.readers.images.statistics import EVERY, measure_images
from components.settings import Settings, load_settings

if TYPE_CHECKING:
    from great_expectations.checkpoint import Checkpoint, CheckpointResult
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.expectations import Expectation

log = logging.getLogger(__name__)

ROWS_SHOWN = 10
DATA_DOCS = "data_docs"  # their folder, next to our page
VECTOR_NORMS = 1e-6, 1e6  # of a frozen network's vectors: neither zero, infinite nor NaN
LAYOUT = 2  # of the folder; 1: without a page of our own


def validate(dataset: Dataset, *, settings: Settings | None = None) -> Validated:
    """Check every row of a dataset and write a page. Accept the dataset, or roll back to the last accepted one.

    Args:
        dataset: the dataset that `ingest` returned.
        settings: where to write the page and the Data Docs. None: from the environment.

    Raises:
        DatasetError: a part is missing or changed since it was written, or the profiled bounds cannot be read.
        ValidationError: at least one expectation failed. Names each, with at most ten row ids.
    """
    settings = settings or load_settings()
    dataset.path.touch()  # marks it as in use, so that it is not pruned
    frame = to_frame(dataset)
    bounds = bounds_of(dataset)
    views = {split: _view(frame, split, bounds, dataset) for split in SPLITS}
    suites = {split: _expect_of_split(split, dataset, bounds) for split in SPLITS}
    advice = _advise(dataset, bounds)
    results, page = _run(views, suites, settings.validation_dir / dataset.version, dataset, advice)
    if len(results) != len(SPLITS) or not all(result.success for result in results):
        broken = [_broken(split, result) for split, result in zip(views, results, strict=True)]
        refuse(dataset)
        raise ValidationError(dataset.version, tuple(itertools.chain.from_iterable(broken)), advice, page)
    checked_at = datetime.now(UTC).isoformat(timespec="seconds")
    run = sum(len(_results_of(result)) for result in results)
    validated = Validated(dataset, run, page, checked_at)
    _keep_bounds(frame, dataset)
    accept(validated)
    return validated


def bounds_of(dataset: Dataset) -> ValidationBounds:
    """The bounds a dataset must meet: the profiled ones if they exist, else its catalogue's.

    Raises:
        DatasetError: the profiled bounds cannot be read.
    """
    catalogue = catalogue_of(dataset.contract)
    profiled = read_bounds(dataset.path.parent, dataset.contract) if catalogue.profiled else None
    return profiled or catalogue.validation


def _advise(dataset: Dataset, bounds: ValidationBounds) -> str:
    """What to do if the profiled bounds are wrong; "" if the bounds are defined in code."""
    if not bounds.class_counts:
        return ""
    path = bounds_path(dataset.path.parent, dataset.contract)
    return (
        "The bounds were profiled from the first version that passed. If this data is right, remove "
        f"{path} and validate again to profile this version instead."
    )


def _keep_bounds(frame: pd.DataFrame, dataset: Dataset) -> None:
    """Profile the dataset if it is the first version of its catalogue to pass."""
    folder, contract = dataset.path.parent, dataset.contract
    if not catalogue_of(contract).profiled:
        return
    with dataset_lock(folder):
        if read_bounds(folder, contract) is None:
            bounds = profile_bounds(frame, contract)
            path = write_bounds(folder, contract, bounds, dataset.version)
            log.info(
                "Later versions of %s must match this profile (%s):\n%s", contract.name, path, describe_bounds(bounds)
            )


def _view(frame: pd.DataFrame, split: Split, bounds: ValidationBounds, dataset: Dataset) -> pd.DataFrame:
    """The rows of a split, with the relative change of their class's share if the classes are profiled."""
    rows = frame[frame["split"] == split]
    if split in bounds.class_counts:
        rows = rows.assign(class_jump=measure_jumps(rows, bounds.class_counts[split], dataset.contract))
    return rows


def to_frame(dataset: Dataset) -> pd.DataFrame:
    """The scalars that the expectations check: one row per image, newest parts first.

    Columns: id, split, label, class_share, mean, deviation, ink, edge, peak, duplicates_within, duplicates_across, and,
    for a profiled catalogue, contrast, skew and warmth.
    """
    frame = pd.concat([_split_frame(dataset, split) for split in SPLITS], ignore_index=True)
    everywhere = frame.groupby("hash")["id"].transform("size")
    within = frame.groupby(["split", "hash"])["id"].transform("size")
    frame["duplicates_within"] = within - 1
    frame["duplicates_across"] = everywhere - within
    return frame.drop(columns="hash").iloc[::-1].reset_index(drop=True)


def _split_frame(dataset: Dataset, split: Split) -> pd.DataFrame:
    examples = read_split(dataset, split)
    rows = examples.images.view(np.uint8).reshape(-1, examples.contract.dtype.itemsize)
    shares = np.bincount(examples.labels, minlength=len(examples.contract.classes)) / max(len(rows), 1)
    vectors = examples.images["vector"] if examples.contract.embedding else None
    return pd.DataFrame(
        {
            "id": examples.ids,
            "split": split,
            "label": examples.labels,
            "class_share": shares[examples.labels],
            **measure_images(examples.images, PROFILED if catalogue_of(examples.contract).profiled else EVERY),
            **({} if vectors is None else {"vector_norm": _norms_of(vectors)}),
            "hash": [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows],
        }
    )


def _norms_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each vector; infinite if it has a NaN, because Great Expectations leaves NaN out."""
    norms: NDArray[np.float32] = np.linalg.norm(vectors, axis=1)
    return np.where(np.isnan(norms), np.float32(np.inf), norms)


def _expect_of_split(split: Split, dataset: Dataset, bounds: ValidationBounds) -> "list[Expectation]":
    """The suite of one split. Bounds are two-sided, because infinity would pass a minimum on its own."""
    from great_expectations import expectations as gxe

    low, high = _row_bounds(split, dataset, bounds)
    labels = list(range(len(dataset.contract.classes)))
    usual = {name: getattr(bounds, name) for name in EVERY}
    between = {"class_share": bounds.class_share, **usual, "duplicates_within": (0, 0), "duplicates_across": (0, 0)}
    if dataset.contract.embedding:
        between["vector_norm"] = VECTOR_NORMS
    if bounds.contrast:
        between["contrast"] = bounds.contrast
    if split in bounds.class_counts:
        between["class_jump"] = (1 / JUMP, JUMP)
    mostly = bounds.mostly.get(split)
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=low, max_value=high),
        gxe.ExpectColumnValuesToNotBeNull(column="id"),
        gxe.ExpectColumnValuesToBeUnique(column="id"),
        gxe.ExpectColumnValuesToNotBeNull(column="label"),
        gxe.ExpectColumnValuesToBeInSet(column="label", value_set=labels),
        gxe.ExpectColumnDistinctValuesToEqualSet(column="label", value_set=labels),
        *(
            gxe.ExpectColumnMeanToBeBetween(column=column, min_value=least, max_value=most)
            for column, (least, most) in bounds.split_means.get(split, {"mean": bounds.split_mean}).items()
        ),
        *(gxe.ExpectColumnValuesToNotBeNull(column=column) for column in between),
        *(
            gxe.ExpectColumnValuesToBeBetween(column=column, min_value=least, max_value=most)
            if mostly is None or column not in usual
            else gxe.ExpectColumnValuesToBeBetween(column=column, min_value=least, max_value=most, mostly=mostly)
            for column, (least, most) in between.items()
        ),
    ]


def _row_bounds(split: Split, dataset: Dataset, bounds: ValidationBounds) -> tuple[int, int | None]:
    """Minimum and maximum number of rows. Official row counts apply to the official files only."""
    official = dataset.source == dataset.contract.name
    if split in bounds.rows and (official or catalogue_of(dataset.contract).profiled):
        return bounds.rows[split]
    return bounds.min_rows, None


def _run(
    views: dict[Split, pd.DataFrame],
    suites: "dict[Split, list[Expectation]]",
    folder: Path,
    dataset: Dataset,
    advice: str,
) -> "tuple[list[CheckpointResult], Path]":
    """Run each split's suite, and write one page and one Data Docs site per dataset and suite."""
    configurations = [expectation.configuration.to_json_dict() for suite in suites.values() for expectation in suite]
    key = json.dumps([LAYOUT, configurations], sort_keys=True)
    pages = folder.with_name(f"{folder.name}-{digest(key.encode())[:8]}")
    results = []
    remove_leftovers(folder.parent, older_than=DAY)
    with whole_folder(pages) as temporary:
        context = open_context(temporary / DATA_DOCS)
        for split, frame in views.items():
            results.append(_checkpoint(context, split, suites[split]).run(batch_parameters={"dataframe": frame}))
        build_docs(context)  # once; a checkpoint action would build the site after each split
        checked = {split: _results_of(result) for split, result in zip(views, results, strict=True)}
        write_page(temporary / "index.html", dataset, views, checked, f"{DATA_DOCS}/index.html", advice)
    return results, pages / "index.html"


def _results_of(result: "CheckpointResult") -> "list[ExpectationValidationResult]":
    return [one for run in result.run_results.values() for one in run.results]


def _checkpoint(context: "EphemeralDataContext", split: Split, suite: "list[Expectation]") -> "Checkpoint":
    import great_expectations as gx

    asset = context.data_sources.add_or_update_pandas(name=split).add_dataframe_asset(name="parts")
    definition = gx.ValidationDefinition(
        name=split,
        data=asset.add_batch_definition_whole_dataframe("all rows"),
        suite=context.suites.add(gx.ExpectationSuite(name=split, expectations=suite)),
    )
    result_format = {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": ["id"],
        "partial_unexpected_count": ROWS_SHOWN,
    }
    return context.checkpoints.add(
        gx.Checkpoint(
            name=split,
            validation_definitions=[context.validation_definitions.add(definition)],
            result_format=result_format,
        )
    )


def _broken(split: Split, result: "CheckpointResult") -> Iterator[BrokenExpectation]:
    for one in _results_of(result):
        if not one.success:
            yield _describe(split, one)


def _describe(split: Split, result: "ExpectationValidationResult") -> BrokenExpectation:
    config = result.expectation_config
    kwargs = {key: value for key, value in config.kwargs.items() if key not in {"batch_id", "column"}} if config else {}
    column = f"({config.kwargs['column']})" if config and "column" in config.kwargs else ""
    rows = [row["id"] for row in result.result.get("partial_unexpected_index_list") or []]
    return BrokenExpectation(
        where=split,
        expectation=f"{config.type if config else 'unknown'}{column}",
        expected=", ".join(f"{key} {value}" for key, value in kwargs.items()) or "none missing",
        observed=_observed(result),
        rows=tuple(rows[:ROWS_SHOWN]),
    )


def _observed(result: "ExpectationValidationResult") -> str:
    found: dict[str, Any] = result.result
    if "unexpected_count" in found and "element_count" in found:
        examples = ", ".join(str(value) for value in found.get("partial_unexpected_list", [])[:3])
        return f"{found['unexpected_count']} of {found['element_count']} rows, such as {examples or 'null'}"
    if found.get("partial_missing_list"):
        return f"missing {found['partial_missing_list']}"
    if "observed_value" in found:
        return str(found["observed_value"])
    problems = [info.get("exception_message") for info in [result.exception_info or {}] if isinstance(info, dict)]
    return f"could not be computed: {problems}"
