"""Score a table of pixels block by block, in bounded memory."""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from components.contract import Predictions
from components.errors import InputError
from components.model.classifier import Classifier
from components.readers.blocks import Block
from components.scoring.answers import Columns
from components.scoring.predict import predict_block, require_finite
from components.scoring.tables import TableWriter

Output = tuple[Callable[[Block, Predictions], Columns], TableWriter]  # selects the columns to write, and writes them


@dataclass(frozen=True)
class Score:
    """The row counts of a scored table: rows = scored + rejected."""

    rows: int
    scored: int
    rejected: int
    unknown: int  # scored rows unlike everything that the model was trained on
    seconds: float
    model: str


def score_blocks(
    model: Classifier,
    blocks: Iterable[Block],
    outputs: Sequence[Output],
    name: str = "file",
    max_rejects: int | None = None,
) -> Generator[Score]:
    """Score a table block by block.

    Args:
        model: returned by `load_model`.
        blocks: yielded by `read_pixel_csv` or `read_pixel_parquet`.
        outputs: written for each block, and closed at the end.
        name: name of the table in error messages.
        max_rejects: maximum number of rejected rows.

    Yields:
        The counts so far after each block, and the total counts after closing the outputs.

    Raises:
        ModelError: a probability is not finite.
        InputError: from `blocks`, or if more than `max_rejects` rows cannot be read.
    """
    began = time.perf_counter()
    score = Score(0, 0, 0, 0, 0.0, model.tag)
    try:
        for block in blocks:
            predictions = require_finite(predict_block(model, block))
            for rows, writer in outputs:
                writer.write(rows(block, predictions))
            scored, rejected = score.scored + len(block.ids), score.rejected + len(block.rejects)
            unknown = score.unknown + predictions.unknown
            score = Score(scored + rejected, scored, rejected, unknown, time.perf_counter() - began, model.tag)
            if max_rejects is not None and rejected > max_rejects:
                raise InputError(name, f"more than {max_rejects:,} rows cannot be read. Check the format of the table")
            yield score
        counts = {name: getattr(score, name) for name in ("rows", "scored", "rejected", "unknown", "model")}
        for _, writer in outputs:
            writer.close(counts)
    finally:
        for _, writer in outputs:
            writer.discard()
    yield score
