"""Dataset -> receipt, or ValidationError naming what failed. The expectations run in Great Expectations.

They look at a frame of scalars a row (a mean, an edge, a hash), never at a column a pixel. Great Expectations takes
four seconds to import, so that happens inside `validate`.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from components.catalogues import catalogue_of
from components.contract import SPLITS, Dataset, Split, Validated
from components.dataset.manifest import accept, digest, read_split, refuse
from components.errors import BrokenExpectation, ValidationError
from components.expectations import build_docs, open_context
from components.files import DAY, remove_leftovers, whole_folder
from components.readers.images.statistics import measure_images
from components.settings import Settings, load_settings

if TYPE_CHECKING:
    from great_expectations.checkpoint import Checkpoint, CheckpointResult
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.expectations import Expectation

ROWS_SHOWN = 10


def validate(dataset: Dataset, *, settings: Settings | None = None) -> Validated:
    """Check every row of a dataset, write Data Docs, and accept or refuse the dataset as the one in use.

    Args:
        dataset: what `ingest` returned.
        settings: where Data Docs go; None: from the environment.

    Raises:
        DatasetError: a part is missing or changed since it was written.
        ValidationError: at least one expectation is broken; names each, with up to ten row ids.
    """
    settings = settings or load_settings()
    dataset.path.touch()  # in use: nobody prunes it now
    frame = to_frame(dataset)
    views = {split: frame[frame["split"] == split] for split in SPLITS}
    suites = {split: _expect_of_split(split, dataset) for split in SPLITS}
    results, docs = _run(views, suites, settings.validation_dir / dataset.version)
    if len(results) != len(SPLITS) or not all(result.success for result in results):
        broken = [_broken(split, result) for split, result in zip(views, results, strict=True)]
        refuse(dataset)
        raise ValidationError(dataset.version, tuple(itertools.chain.from_iterable(broken)))
    checked_at = datetime.now(UTC).isoformat(timespec="seconds")
    run = sum(len(view.results) for result in results for view in result.run_results.values())
    validated = Validated(dataset, run, docs, checked_at)
    accept(validated)
    return validated


def to_frame(dataset: Dataset) -> pd.DataFrame:
    """The scalars that the expectations look at, a row an image, newest parts first.

    Columns: id, split, label, class_share, mean, deviation, ink, edge, peak, copies_within, copies_across.
    """
    frame = pd.concat([_split_frame(dataset, split) for split in SPLITS], ignore_index=True)
    everywhere = frame.groupby("hash")["id"].transform("size")
    within = frame.groupby(["split", "hash"])["id"].transform("size")
    frame["copies_within"] = within - 1
    frame["copies_across"] = everywhere - within
    return frame.drop(columns="hash").iloc[::-1].reset_index(drop=True)


def _split_frame(dataset: Dataset, split: Split) -> pd.DataFrame:
    examples = read_split(dataset, split)
    flat = examples.images.reshape(-1, examples.contract.image.size)
    shares = np.bincount(examples.labels, minlength=len(examples.contract.classes)) / max(len(flat), 1)
    return pd.DataFrame(
        {
            "id": examples.ids,
            "split": split,
            "label": examples.labels,
            "class_share": shares[examples.labels],
            **measure_images(examples.images),
            "hash": [hashlib.blake2b(row.data, digest_size=16).digest() for row in flat],
        }
    )


def _expect_of_split(split: Split, dataset: Dataset) -> "list[Expectation]":
    """The suite of one split. Every bound has two ends: infinity passes a lone minimum, an empty frame passes most."""
    from great_expectations import expectations as gxe

    bounds = catalogue_of(dataset.contract).validation
    official = dataset.source == dataset.contract.name
    low, high = bounds.rows[split] if official and split in bounds.rows else (bounds.least_rows, None)
    labels = list(range(len(dataset.contract.classes)))
    between = {
        "class_share": bounds.class_share,
        "mean": bounds.mean,
        "deviation": bounds.deviation,
        "ink": bounds.ink,
        "edge": bounds.edge,
        "peak": bounds.peak,
        "copies_within": (0, 0),
        "copies_across": (0, 0),
    }
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=low, max_value=high),
        gxe.ExpectColumnValuesToNotBeNull(column="id"),
        gxe.ExpectColumnValuesToBeUnique(column="id"),
        gxe.ExpectColumnValuesToNotBeNull(column="label"),
        gxe.ExpectColumnValuesToBeInSet(column="label", value_set=labels),
        gxe.ExpectColumnDistinctValuesToEqualSet(column="label", value_set=labels),
        gxe.ExpectColumnMeanToBeBetween(column="mean", min_value=bounds.split_mean[0], max_value=bounds.split_mean[1]),
        *(gxe.ExpectColumnValuesToNotBeNull(column=column) for column in between),
        *(
            gxe.ExpectColumnValuesToBeBetween(column=column, min_value=least, max_value=most)
            for column, (least, most) in between.items()
        ),
    ]


def _run(
    views: dict[Split, pd.DataFrame], suites: "dict[Split, list[Expectation]]", folder: Path
) -> "tuple[list[CheckpointResult], Path]":
    """Run each split's suite and write the Data Docs of both; the same data under the same suite has one page."""
    configurations = [expectation.configuration.to_json_dict() for suite in suites.values() for expectation in suite]
    docs = folder.with_name(f"{folder.name}-{digest(json.dumps(configurations, sort_keys=True).encode())[:8]}")
    results = []
    remove_leftovers(folder.parent, older_than=DAY)
    with whole_folder(docs) as temporary:
        context = open_context(temporary)
        for split, frame in views.items():
            results.append(_checkpoint(context, split, suites[split]).run(batch_parameters={"dataframe": frame}))
        build_docs(context)  # once for both, where an action would build the site after each
    return results, docs / "index.html"


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
    for run in result.run_results.values():
        for one in run.results:
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
