"""What goes into a scoring job and what is printed about it."""

import contextlib
import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fashion.cli.tables import table_lines

if TYPE_CHECKING:
    from components.evaluation.metrics import Measured
    from components.model.classifier import Classifier
    from components.scoring.job import Summary
    from components.scoring.summary import Count

PIPE = Path("-")
CONFUSIONS_SHOWN = 5


def columns_of(options: list[str]) -> tuple[str, ...]:
    """The columns that options name, each a line of CSV: sku,price."""
    return tuple(column for option in options for column in next(csv.reader([option])) or [""])


@contextlib.contextmanager
def open_ends(
    source: Path, output: Path, rejects: Path | None, file_format: str | None, resume: bool
) -> Iterator[tuple[Path, Path]]:
    """The files that are read and written where the input or the output is a pipe; else the two themselves.

    Raises:
        SettingsError: what a pipe cannot do.
        InputError: an output of another kind; found before a pipe is emptied.
    """
    from components.errors import SettingsError
    from components.scoring.outputs import format_of
    from components.scoring.pipes import buffered_output, spooled_input

    if resume and PIPE in (source, output):
        raise SettingsError("--resume: what went through a pipe is gone, so a job with one begins anew; name files")
    if output == PIPE and rejects is None:
        raise SettingsError("OUTPUT is a pipe, so say where rows go that cannot be read: --rejects FILE")
    if output != PIPE and file_format:
        raise SettingsError("--format is for a pipe; the name of OUTPUT says what it is")
    for path in (output, rejects):
        if path and path != PIPE:
            format_of(path)
    with contextlib.ExitStack() as ends:
        written = output
        if output == PIPE:
            written = ends.enter_context(buffered_output(sys.stdout.buffer, f".{file_format or 'csv'}"))
        yield ends.enter_context(spooled_input(sys.stdin.buffer)) if source == PIPE else source, written


def load_scorer(model: str | None, resume: bool) -> "Classifier":
    """The model of a job.

    Raises:
        FashionError: see `load_model`; of a job to be resumed, also what to do without its model.
    """
    from components.errors import ModelNotFound
    from components.registry.champion import load_model

    try:
        return load_model(model)
    except ModelNotFound as error:
        if resume:
            raise ModelNotFound(f"{error}. Its unfinished jobs cannot be resumed: score without --resume") from error
        raise


class RowBar:
    """Rows a second and the time that is left, on a terminal; elsewhere nothing."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self.rows, self.began = 0, time.monotonic()
        form = "{percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}"
        self.bar = tqdm(total=1.0, bar_format=form, file=sys.stderr) if sys.stderr.isatty() else None

    def update(self, count: "Count", share: float | None) -> None:
        """Show one more part."""
        self.rows += count.rows
        if self.bar is not None:
            pace = self.rows / (time.monotonic() - self.began)
            self.bar.set_postfix_str(f"{self.rows:,} rows, {pace:,.0f} a second", refresh=False)
            self.bar.update((share or 0) - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()


def print_summary(summary: "Summary", output: Path, as_json: bool) -> None:
    """Print what came of a job, and on standard error what was unusual; all of it there where the output is a pipe."""
    measured = None
    if summary.count.confusion:
        from components.evaluation.metrics import measure_confusion
        from components.registry.store import describe_stored

        measured = measure_confusion(summary.count.confusion, describe_stored(summary.model).classes)
    file = sys.stderr if output == PIPE else sys.stdout
    if as_json:
        print(json.dumps({**summary.to_json(), **(asdict(measured) if measured else {})}), file=file)
        return
    print(*_lines(summary, output), *(_metric_lines(measured) if measured else []), sep="\n", file=file)
    for warning in summary.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _lines(summary: "Summary", output: Path) -> Iterator[str]:
    count = summary.count
    yield f"{count.rows:,} rows in {summary.seconds:.1f} s, {summary.rows_per_second:,.0f} a second, by {summary.model}"
    unknown = f", {count.unknown:,} unknown" if count.unknown else ""
    yield f"{count.scored:,} scored, {count.not_sure:,} of them not sure{unknown} -> {output}"
    if "int8" in summary.arithmetic:
        parts = f"{summary.arithmetic['int8']:,} of {sum(summary.arithmetic.values()):,} parts"
        yield f"integer products in {parts}; --precision float32 is exact"
    if summary.left_out.count:
        yield f"{summary.left_out.count:,} other file(s) left out: {summary.left_out}"
    if count.unlabelled:
        shown = ", ".join(f"{number:,} {label!r}" for label, number in count.unread.items())
        yield f"{count.unlabelled:,} have no label that can be read: {shown}"
    if count.rejected:
        yield f"{count.rejected:,} rejected -> {summary.rejects}"
        yield from (f"  {number:,}  {reason}" for reason, number in count.reasons.items())


def _metric_lines(measured: "Measured") -> Iterator[str]:
    low, high = measured.accuracy_interval
    yield f"accuracy {measured.accuracy:.4f} ({low:.4f} to {high:.4f}, 95 %) on the rows that have a label"
    numbers = [
        (one.name, *(f"{value:.3f}" for value in (one.precision, one.recall, one.f1)), f"{one.support:,}")
        for one in measured.classes
    ]
    yield from table_lines([("class", "precision", "recall", "F1", "rows"), *numbers])
    if measured.confused:
        yield "most often confused:"
        yield from (
            f"  {count:,}  {true} taken for {said}" for true, said, count in measured.confused[:CONFUSIONS_SHOWN]
        )
