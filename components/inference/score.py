"""A CSV of pixels -> a CSV of predictions, and a CSV of the rows that could not be read.

Rows stream through in blocks, so memory does not grow with the file. Both outputs appear whole or not at all.
"""

import csv
import io
import re
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

COLUMNS = ("id", "label", "name", "confidence", "sure", "model")
REJECT_COLUMNS = ("line", "reason", "row")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins with one of these
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")  # but a number is only a number


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
        output: written as `id,label,name,confidence,sure,model`; without an id column the id is the row's number
            from 1. Rejects go beside it as `line,reason,row`; where there are none, no such file is left.

    Raises:
        InputError: not a file, not such a table, or the output would overwrite the input.
        OSError: an output cannot be written.
    """
    output = output.resolve()  # a link is followed, not replaced
    rejects = rejects_path(output)
    if not source.is_file():
        raise InputError(str(source), "a folder; expected a CSV file" if source.is_dir() else "no such file")
    for path in (output, rejects):
        if path.exists() and not path.is_file():
            raise InputError(str(path), "not a file; an output takes the place of a file or of nothing")
    if source.resolve() in {output, rejects.resolve()}:
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
    model: Classifier,
    stream: BinaryIO,
    scored_file: BinaryIO,
    rejects_file: BinaryIO,
    name: str = "file",
    most_rejects: int | None = None,
) -> Score:
    """Score a stream; see `score_csv`. The headers are written even where no row follows.

    Raises:
        InputError: more than `most_rejects` rows cannot be read.
    """
    began = time.perf_counter()
    _write([COLUMNS], scored_file)
    _write([REJECT_COLUMNS], rejects_file)
    scored = rejected = 0
    for block in read_pixel_csv(stream, name):
        _write(_scored_rows(model, block), scored_file)
        _write(_reject_rows(block), rejects_file)
        scored += len(block.ids)
        rejected += len(block.rejects)
        if most_rejects is not None and rejected > most_rejects:
            raise InputError(name, f"more than {most_rejects:,} rows cannot be read; is this such a table?")
    return Score(scored + rejected, scored, rejected, time.perf_counter() - began, model.tag)


def _scored_rows(model: Classifier, block: Block) -> Iterator[tuple[str, int, str, str, str, str]]:
    predictions = predict(model, block.images)
    columns = (block.ids, predictions.labels.tolist(), predictions.confidences.tolist(), predictions.sure.tolist())
    for row_id, label, confidence, sure in zip(*columns, strict=True):
        yield inert(row_id), label, CLASSES[label], f"{confidence:.6f}", "yes" if sure else "no", model.tag


def _reject_rows(block: Block) -> Iterator[tuple[int, str, str]]:
    """The row keeps its bytes, whatever their encoding."""
    for reject in block.rejects:
        yield reject.line, inert(reject.reason), inert(reject.row.decode("utf-8", "surrogateescape"))


def _write(rows: Iterable[Iterable[object]], file: BinaryIO) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    A leading =, +, -, @, tab or CR that is no number's gets an apostrophe before it, and so does an apostrophe, so that
    two cells never become one: leave out one leading apostrophe to have the original.
    """
    if cell.startswith("'") or (cell.startswith(FORMULA) and not NUMBER.fullmatch(cell)):
        return f"'{cell}"
    return cell
