"""A table of pixels -> a table of predictions, and one of the rows that could not be read.

Rows stream through in blocks, so memory does not grow with the file.
"""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contract import Predictions
from components.errors import InputError
from components.files import whole_file
from components.formats.pixel_csv import Block
from components.inference.predict import predict
from components.inference.tables import (
    CSV,
    PARQUET,
    SCORED,
    Columns,
    TableFormat,
    TableWriter,
    rejected_rows,
    scored_rows,
)
from components.model.classifier import Classifier

Output = tuple[Callable[[Block, Predictions], Columns], TableWriter]  # which rows, and where they go


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


def score_file(model: Classifier, source: Path, output: Path) -> Score:
    """Score a file. Both outputs appear whole or not at all.

    Args:
        model: what `load_model` returned.
        source: CSV, see `read_pixel_csv`; or `*.parquet`, see `read_pixel_parquet`.
        output: written as `id,label,name,confidence,sure,model`; without an id column the id is the row's number
            from 1. Rejects go beside it with line (of Parquet: number), reason and row; where there are none, no such
            file is left.

    Raises:
        InputError: not a file, not such a table, Parquet on one side only, or the output would overwrite the input.
        OSError: an output cannot be written.
    """
    output = output.resolve()  # a link is followed, not replaced
    rejects = rejects_path(output)
    form = format_of(source)
    _check_paths(source, output, rejects)
    with (
        source.open("rb") as stream,
        whole_file(output) as scored,
        whole_file(rejects) as rejected,
        scored.open("wb") as scored_file,
        rejected.open("wb") as rejects_file,
    ):
        outputs = [
            (scored_rows, form.writer(scored_file, SCORED)),
            (rejected_rows, form.writer(rejects_file, form.rejected)),
        ]
        *_, score = score_blocks(model, form.read(stream, source.name), outputs, source.name)
    if not score.rejected:
        rejects.unlink()
    return score


def format_of(path: Path) -> TableFormat:
    """What a table is read and written as, by its name."""
    return PARQUET if path.suffix == PARQUET.suffix else CSV


def check_source(source: Path) -> None:
    """Refuse what is no file.

    Raises:
        InputError: with the reason.
    """
    if not source.is_file():
        raise InputError(str(source), "a folder; expected a CSV file" if source.is_dir() else "no such file")


def _check_paths(source: Path, output: Path, rejects: Path) -> None:
    check_source(source)
    if format_of(source) is not format_of(output):
        raise InputError(str(output), "CSV is answered as CSV, *.parquet as *.parquet")
    for path in (output, rejects):
        if path.exists() and not path.is_file():
            raise InputError(str(path), "not a file; an output takes the place of a file or of nothing")
    if source.resolve() in {output, rejects.resolve()}:
        raise InputError(str(output), "the output would overwrite the input")


def score_blocks(
    model: Classifier,
    blocks: Iterable[Block],
    outputs: Sequence[Output],
    name: str = "file",
    most_rejects: int | None = None,
) -> Generator[Score]:
    """Score a table block by block.

    Args:
        model: what `load_model` returned.
        blocks: what `read_pixel_csv` or `read_pixel_parquet` yields.
        outputs: what is written for each block, and in the end closed.
        name: what to call the table in an error.
        most_rejects: with more of them, it is given up.

    Yields:
        The count so far, once a block is written; in the end the whole count, once the outputs are closed.

    Raises:
        InputError: as `blocks`, or more than `most_rejects` rows cannot be read.
    """
    began = time.perf_counter()
    score = Score(0, 0, 0, 0.0, model.tag)
    try:
        for block in blocks:
            predictions = predict(model, block.images)
            for rows, writer in outputs:
                writer.write(rows(block, predictions))
            scored, rejected = score.scored + len(block.ids), score.rejected + len(block.rejects)
            score = Score(scored + rejected, scored, rejected, time.perf_counter() - began, model.tag)
            if most_rejects is not None and rejected > most_rejects:
                raise InputError(name, f"more than {most_rejects:,} rows cannot be read; is this such a table?")
            yield score
        counts = {"rows": score.rows, "scored": score.scored, "rejected": score.rejected, "model": score.model}
        for _, writer in outputs:
            writer.close(counts)
    finally:
        for _, writer in outputs:
            writer.discard()
    yield score
