"""A CSV of pixels -> a CSV of predictions, and a CSV of the rows that could not be read.

Rows stream through in blocks, so memory does not grow with the file. Both outputs appear whole or not at all.
"""

import csv
import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from components.contract import CLASSES
from components.errors import InputError
from components.files import whole_file
from components.formats.pixel_csv import Block, read_pixel_csv
from components.inference.predict import predict
from components.model.classifier import Classifier

COLUMNS = ("id", "label", "name", "confidence", "model")
REJECT_COLUMNS = ("line", "reason", "row")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins with one of these


@dataclass(frozen=True)
class Score:
    """The count of one scoring: rows = scored + rejected."""

    rows: int
    scored: int
    rejected: int
    seconds: float
    model: str


def rejects_path(output: Path) -> Path:
    """Where the rejects of `out.csv` go: `out.rejects.csv` beside it."""
    return output.with_name(f"{output.stem}.rejects{output.suffix}")


def score_csv(model: Classifier, source: Path, output: Path) -> Score:
    """Score a file.

    Args:
        model: what `load_model` returned.
        source: `[id,][label,]pixel1,...,pixel784`, see `read_pixel_csv`.
        output: written as `id,label,name,confidence,model`; without an id column the id is the row's number from 1.
            Rejects go beside it as `line,reason,row`; where there are none, no such file is left.

    Raises:
        InputError: not a file, not such a table, or the output would overwrite the input.
        OSError: an output cannot be written.
    """
    rejects = rejects_path(output)
    if not source.is_file():
        raise InputError(str(source), "no such file")
    if source.resolve() in {output.resolve(), rejects.resolve()}:
        raise InputError(str(output), "the output would overwrite the input")
    with (
        source.open("rb") as stream,
        whole_file(output) as scored,
        whole_file(rejects) as rejected,
        scored.open("wb") as scored_file,
        rejected.open("wb") as rejects_file,
    ):
        score = score_stream(model, stream, scored_file, rejects_file, name=source.name)
    if not score.rejected:
        rejects.unlink()
    return score


def score_stream(
    model: Classifier, stream: BinaryIO, scored_file: BinaryIO, rejects_file: BinaryIO, name: str = "file"
) -> Score:
    """Score a stream; see `score_csv`. The headers are written even where no row follows."""
    began = time.perf_counter()
    _write([COLUMNS], scored_file)
    _write([REJECT_COLUMNS], rejects_file)
    scored = rejected = 0
    for block in read_pixel_csv(stream, name):
        _write(_scored_rows(model, block), scored_file)
        _write(_reject_rows(block), rejects_file)
        scored += len(block.ids)
        rejected += len(block.rejects)
    return Score(scored + rejected, scored, rejected, time.perf_counter() - began, model.tag)


def _scored_rows(model: Classifier, block: Block) -> Iterator[tuple[str, int, str, str, str]]:
    predictions = predict(model, block.images)
    for row_id, label, confidence in zip(block.ids, predictions.labels.tolist(), predictions.confidences, strict=True):
        yield inert(row_id), label, CLASSES[label], f"{confidence:.6f}", model.tag


def _reject_rows(block: Block) -> Iterator[tuple[int, str, str]]:
    """The row keeps its bytes, whatever their encoding."""
    for reject in block.rejects:
        yield reject.line, inert(reject.reason), inert(reject.row.decode("utf-8", "surrogateescape"))


def _write(rows: Iterable[Iterable[object]], file: BinaryIO) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: a leading =, +, -, @, tab or CR gets an apostrophe before it."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
