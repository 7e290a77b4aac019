"""Impact of replacing one model with another: the images that change label, as an HTML page and a CSV.

Images are read in blocks, so memory does not grow with their number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import DataContract, Dataset, Labels, Predictions, require_equal
from components.dataset.manifest import read_split
from components.errors import InputError, ModelError
from components.evaluation.groups import CommonClasses, find_common
from components.evaluation.report import report_path
from components.files import whole_file
from components.model.classifier import Classifier
from components.pages.render import render_page
from components.promotion.tally import SHOWN, Tally
from components.readers.blocks import Block
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.scoring.answers import Columns, answer_schema, to_columns
from components.scoring.predict import predict_block
from components.scoring.tables import CsvWriter
from components.settings import Settings

JUDGED = ("fixed", "regressed", "moved")  # keys in JSON and CSV, for flips with a true label


@dataclass(frozen=True)
class Impact:
    """The differences between two models on the same images."""

    tag: str
    other: str  # tag of the model to replace
    data: str  # description of the images
    tally: Tally
    page: Path
    table: Path

    def __str__(self) -> str:
        return "\n".join([*self._describe_counts(), "", *self._describe_classes()])

    def _describe_counts(self) -> Iterator[str]:
        changes, tally = self.tally.changes, self.tally
        yield f"{self.tag} replacing {self.other}, on {self.data}"
        if tally.common:
            yield f"classes: {tally.common.summary}"
        yield f"{changes.images:,} images, {changes.flips:,} change label ({changes.flips / changes.images:.2%})"
        if changes.labelled:
            counts = f"{changes.fixed:,} fixed, {changes.regressed:,} regressed, {changes.moved:,} moved"
            yield f"{counts}; McNemar's p {changes.chance:.2g}"
        coverage = f"above the confidence threshold: {tally.sure_before:,} before, {tally.sure_after:,} after"
        yield f"{coverage}; {tally.both_sure:,} change label with neither model abstaining"
        if tally.rejected:
            yield f"{tally.rejected:,} rows rejected; first: line {tally.first_reject}"

    def _describe_classes(self) -> Iterator[str]:
        names = ("before", "after", "gained", "lost", *(JUDGED if self.tally.changes.labelled else ()))
        classes = self.tally.changes.classes
        width = max(len(one.name) for one in classes)
        yield " " * width + "".join(f"{name:>11}" for name in names)
        for one in classes:
            yield f"{one.name:{width}}" + "".join(f"{getattr(one, name):>11,}" for name in names)

    def to_json(self) -> dict[str, Any]:
        """Return the counts for JSON. Without labels, fixed, regressed, moved and chance are None."""
        changes, tally = self.tally.changes, self.tally
        classes = [asdict(one) for one in changes.classes]
        if not changes.labelled:
            classes = [one | dict.fromkeys(JUDGED) for one in classes]
        return {
            "tag": self.tag,
            "beside": self.other,
            "data": self.data,
            **{name: getattr(changes, name) for name in ("images", "flips")},
            **{name: getattr(changes, name) if changes.labelled else None for name in (*JUDGED, "chance")},
            **{name: getattr(tally, name) for name in ("sure_before", "sure_after", "both_sure", "rejected")},
            **({"class_changes": tally.common.summary} if tally.common else {}),
            "classes": classes,
            "from_to": changes.table.tolist(),
            "page": str(self.page),
            "table": str(self.table),
        }


def write_impact(
    model: Classifier,
    other: Classifier,
    data: Dataset | Path,
    folder: Path | None = None,
    settings: Settings | None = None,
) -> Impact:
    """Classify images with two models and write `impact.html` and `impact.csv`, each atomically.

    Args:
        model: the new model.
        other: the model to replace, usually the live one.
        data: a dataset, of which the test split is used, or a table, see `open_input`.
        folder: output folder; None: next to the model's report.
        settings: where reports are; None: from the environment.

    Raises:
        DatasetError: the dataset is missing or has changed.
        ModelError: the dataset has another contract than the model, or the two models have no common classes.
        InputError: the table is missing, has no readable row, or would be overwritten.
        OSError: an output cannot be written.
    """
    common = _find_common(model, other)
    if isinstance(data, Dataset):
        require_equal(data.contract, model.contract, model.tag, ModelError)
    folder = (folder or report_path(model.tag, settings).parent).resolve()
    page, table = folder / "impact.html", folder / "impact.csv"
    if isinstance(data, Path) and data.resolve() in {page, table}:
        raise InputError(str(data), "the output would overwrite the input")
    name, blocks = _open(data, model.contract)
    with whole_file(table) as rows, whole_file(page) as shown:
        with rows.open("wb") as file:
            tally = Tally(common.all_names if common else model.contract.classes, common)
            _compare(model, other, blocks, CsvWriter(file, _schema_for(model, other)), tally)
        if not tally.changes.images:
            raise InputError(
                name, f"none of {tally.rejected:,} rows is readable; {tally.first_reject or 'the table is empty'}"
            )
        impact = Impact(model.tag, other.tag, name, tally, page, table)
        shown.write_bytes(_render(impact, model, other))
    return impact


def _find_common(model: Classifier, other: Classifier) -> CommonClasses | None:
    """Return the class groups of two models with different classes; None if their contracts match.

    Raises:
        ModelError: they have no common classes.
    """
    if not model.contract.difference(other.contract):
        return None
    if common := find_common(model.card, other.card):
        return common
    raise ModelError(f"{other.tag}: different data contract: {model.contract.difference(other.contract)}")


def _open(data: Dataset | Path, contract: DataContract) -> tuple[str, Iterator[Block]]:
    """Return a description of the images, and the images in blocks."""
    if isinstance(data, Dataset):
        test = read_split(data, "test")
        block = Block(np.arange(1, len(test.ids) + 1), test.ids, test.images, test.labels, ())
        return f"the test split of dataset {data.version} ({data.source})", iter([block])
    table = open_input(data, TableReading(), contract)
    return data.name, (block for part in table.parts() for block in table.read(part))


def _compare(model: Classifier, other: Classifier, blocks: Iterator[Block], writer: CsvWriter, tally: Tally) -> None:
    for block in blocks:
        before, after = predict_block(other, block), predict_block(model, block)
        flipped = tally.add(block, before, after)
        writer.write(_changed_rows(flipped, block, before, after, tally))


def changed_schema(classes: Sequence[str]) -> pa.Schema:
    """Return the CSV columns: id, or row number from 1; true label and change, if known; both answers."""
    answer = answer_schema(classes)
    answers = [field.with_name(f"{when}_{field.name}") for when in ("before", "after") for field in answer]
    return pa.schema([("id", pa.string()), answer.field("label"), ("change", pa.string()), *answers])


def _schema_for(model: Classifier, other: Classifier) -> pa.Schema:
    """Return the schema whose label type holds the labels of both models."""
    return changed_schema(max(model.contract.classes, other.contract.classes, key=len))


def _changed_rows(
    flipped: NDArray[np.intp], block: Block, before: Predictions, after: Predictions, tally: Tally
) -> Columns:
    """Return the flips of a block as columns of `changed_schema`."""
    none = len(after.classes)  # this label or a higher one: unknown
    labels = np.full(len(flipped), none, np.uint16) if block.labels is None else block.labels[flipped]
    return [
        [block.ids[row] for row in flipped],
        [label if label < none else None for label in labels.tolist()],
        _judge(
            tally.place_ours(labels),
            tally.place_theirs(before.labels[flipped]),
            tally.place_ours(after.labels[flipped]),
            len(tally.classes),
        ),
        *to_columns(before, flipped),
        *to_columns(after, flipped),
    ]


def _judge(labels: Labels, before: Labels, after: Labels, none: int) -> list[str | None]:
    kinds = np.where(after == labels, "fixed", np.where(before == labels, "regressed", "moved")).tolist()
    return [kind if label < none else None for label, kind in zip(labels.tolist(), kinds, strict=True)]


def _render(impact: Impact, model: Classifier, other: Classifier) -> bytes:
    return render_page(
        Path(__file__).with_name("impact.html.j2"),
        impact=impact,
        image=model.contract.image,
        tally=impact.tally,
        changes=impact.tally.changes,
        most=SHOWN,
        shown=list(zip(impact.tally.classes, impact.tally.most_confident(), strict=True)),
        samples=[one.tag for one in (model, other) if one.card.is_sample],
        report=(impact.page.parent / "index.html").is_file(),
        table=impact.table.name,
    )
