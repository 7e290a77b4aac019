"""Which images change label where one model takes another's place: a page for people, a table for programs.

The images go by in blocks, so memory does not grow with their number.
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
from components.evaluation.pages import render_page
from components.evaluation.report import report_path
from components.files import whole_file
from components.model.classifier import Classifier
from components.promotion.tally import SHOWN, Tally
from components.readers.blocks import Block
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.scoring.answers import Columns, answer_schema, to_columns
from components.scoring.predict import predict_block
from components.scoring.tables import CsvWriter
from components.settings import Settings

JUDGED = ("mended", "broken", "moved")  # what can be told of a flip where the true label is known


@dataclass(frozen=True)
class Impact:
    """What came of following images through two models."""

    tag: str
    beside: str  # the model whose place it would take
    data: str  # which images
    tally: Tally
    page: Path
    table: Path

    def __str__(self) -> str:
        return "\n".join([*self._describe_counts(), "", *self._describe_classes()])

    def _describe_counts(self) -> Iterator[str]:
        changes, tally = self.tally.changes, self.tally
        yield f"{self.tag} in the place of {self.beside}, on {self.data}"
        if tally.common:
            yield f"classes: {tally.common.summary}"
        yield f"{changes.images:,} images, {changes.flips:,} change label ({changes.flips / changes.images:.2%})"
        if changes.labelled:
            counts = f"{changes.mended:,} mended, {changes.broken:,} broken, {changes.moved:,} moved"
            yield f"{counts}; McNemar's p {changes.chance:.2g}"
        sure = f"sure of {tally.sure_before:,} before, {tally.sure_after:,} after"
        yield f"{sure}; {tally.both_sure:,} change though both models are sure"
        if tally.rejected:
            yield f"{tally.rejected:,} rejected; the first, line {tally.first_reject}"

    def _describe_classes(self) -> Iterator[str]:
        names = ("before", "after", "gained", "lost", *(JUDGED if self.tally.changes.labelled else ()))
        classes = self.tally.changes.classes
        wide = max(len(one.name) for one in classes)
        yield " " * wide + "".join(f"{name:>9}" for name in names)
        for one in classes:
            yield f"{one.name:{wide}}" + "".join(f"{getattr(one, name):>9,}" for name in names)

    def to_json(self) -> dict[str, Any]:
        """The counts, as JSON has them; mended, broken, moved and chance are None where no labels are known."""
        changes, tally = self.tally.changes, self.tally
        classes = [asdict(one) for one in changes.classes]
        if not changes.labelled:
            classes = [one | dict.fromkeys(JUDGED) for one in classes]
        return {
            **{name: getattr(self, name) for name in ("tag", "beside", "data")},
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
    beside: Classifier,
    data: Dataset | Path,
    folder: Path | None = None,
    settings: Settings | None = None,
) -> Impact:
    """Follow images through two models and write `impact.html` and `impact.csv`, each whole or not at all.

    Args:
        model: the one that would take the other's place.
        beside: the other one, usually the live model.
        data: a dataset, for its test split; or a table, see `open_input`.
        folder: where the two go; None: beside the model's report.
        settings: where reports are; None: from the environment.

    Raises:
        DatasetError: the dataset is missing or changed.
        ModelError: the dataset is of another contract than the model, or the two models have nothing in common.
        InputError: no such table, none of its rows can be read, or it would be overwritten.
        OSError: an output cannot be written.
    """
    common = _find_changed(model, beside)
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
            _follow(model, beside, blocks, CsvWriter(file, _changed_schema(model, beside)), tally)
        if not tally.changes.images:
            raise InputError(name, f"no row of {tally.rejected:,} can be read; {tally.first_reject or 'it is empty'}")
        impact = Impact(model.tag, beside.tag, name, tally, page, table)
        shown.write_bytes(_render(impact, model, beside))
    return impact


def _find_changed(model: Classifier, beside: Classifier) -> CommonClasses | None:
    """How the classes of the two go together where they differ; None where they are the same.

    Raises:
        ModelError: no image belongs to a class of both.
    """
    if model.contract == beside.contract:
        return None
    if common := find_common(model.card, beside.card):
        return common
    raise ModelError(f"{beside.tag}: its data contract is another: {model.contract.difference(beside.contract)}")


def _open(data: Dataset | Path, contract: DataContract) -> tuple[str, Iterator[Block]]:
    """What the images are called, and the images."""
    if isinstance(data, Dataset):
        test = read_split(data, "test")
        block = Block(np.arange(1, len(test.ids) + 1), test.ids, test.images, test.labels, ())
        return f"the test split of dataset {data.version} ({data.source})", iter([block])
    table = open_input(data, TableReading(), contract)
    return data.name, (block for part in table.parts() for block in table.read(part))


def _follow(model: Classifier, beside: Classifier, blocks: Iterator[Block], writer: CsvWriter, tally: Tally) -> None:
    for block in blocks:
        before, after = predict_block(beside, block), predict_block(model, block)
        flipped = tally.add(block, before, after)
        writer.write(_changed_rows(flipped, block, before, after, tally))


def changed_schema(classes: Sequence[str]) -> pa.Schema:
    """The columns of a flip: its id, or the row's number from 1; the true label and the change, where that is known."""
    answer = answer_schema(classes)
    answers = [field.with_name(f"{when}_{field.name}") for when in ("before", "after") for field in answer]
    return pa.schema([("id", pa.string()), answer.field("label"), ("change", pa.string()), *answers])


def _changed_schema(model: Classifier, beside: Classifier) -> pa.Schema:
    """Wide enough for the labels of both."""
    return changed_schema(max(model.contract.classes, beside.contract.classes, key=len))


def _changed_rows(
    flipped: NDArray[np.intp], block: Block, before: Predictions, after: Predictions, tally: Tally
) -> Columns:
    """The flips of a block, as `changed_schema`."""
    none = len(after.classes)  # or more: nobody knows
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
    kinds = np.where(after == labels, "mended", np.where(before == labels, "broken", "moved")).tolist()
    return [kind if label < none else None for label, kind in zip(labels.tolist(), kinds, strict=True)]


def _render(impact: Impact, model: Classifier, beside: Classifier) -> bytes:
    return render_page(
        Path(__file__).with_name("impact.html.j2"),
        impact=impact,
        image=model.contract.image,
        tally=impact.tally,
        changes=impact.tally.changes,
        most=SHOWN,
        shown=list(zip(impact.tally.classes, impact.tally.most_confident(), strict=True)),
        samples=[one.tag for one in (model, beside) if one.card.is_sample],
        report=(impact.page.parent / "index.html").is_file(),
        table=impact.table.name,
    )
