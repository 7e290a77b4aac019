"""The flow that scores an input of any size: batches of parts as tasks, on one machine or many, merged at the end."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.task_runners import TaskRunner
from pydantic import Field

from components.errors import FashionError, InputError
from components.readers.folders.parts import TableReading
from components.registry.champion import load_model
from components.scoring.input_check import Mode
from components.scoring.job import Opened, Summary, finish_job, open_job
from components.scoring.precision import Precision
from components.scoring.work import Result
from components.storage import locate
from flows.escaping import escape
from flows.parts import count_slots, hand_over, losses, make_runner, score_batch

MIB = 1 << 20
BATCH = 8  # parts per task; Prefect's overhead per task is then below 1 % (docs/scale.md)
AHEAD = 2  # batches submitted per slot
TRIES = 3  # attempts for a batch whose workers die

Workers = Annotated[int, Field(ge=1, le=256)]
PartSize = Annotated[int, Field(ge=1, le=4096)]
Batch = Annotated[int, Field(ge=1, le=1000)]
Rate = Annotated[float, Field(ge=0, le=1)]


@flow(name="scoring", persist_result=True, result_serializer="json")
def scoring(
    input: str,  # noqa: A002, the word on the form
    output: str,
    model: str | None = None,
    workers: Workers = 2,
    part_size: PartSize = 32,
    batch: Batch = BATCH,
    delimiter: str = ",",
    keep: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    root: str = "",
    rejects: str = "",
    max_reject_rate: Rate = 1.0,
    precision: Precision = "auto",
    check: Mode = "fail",
    fresh: bool = False,
) -> Summary:
    """Classify every row of an input of any size. A new run after a failure resumes where the failed one stopped.

    Args:
        input: Table, archive, folder or glob pattern; a path or s3://bucket/key.
        output: Output file, *.csv, *.parquet or *.jsonl; a path or s3://bucket/key.
        model: Exact model tag. Default: the live model.
        workers: Number of parallel batches if they run in threads.
        part_size: Chunk size of the input in MiB.
        batch: Parts per task.
        delimiter: Delimiter of a CSV input.
        keep: Columns to copy to the output.
        drop: Columns to ignore.
        root: Base folder of relative paths in a CSV. Empty: the folder of the CSV.
        rejects: File for rejected rows, *.csv, *.parquet or *.jsonl. Empty: next to the output.
        max_reject_rate: Share of rejected rows, 0 to 1, above which the run fails and leaves the output unchanged.
        precision: float32, or auto: products of integers where they are faster.
        check: Action if the input sanity check fails: fail, warn or off.
        fresh: Discard the state of an unfinished run instead of resuming it.
    """
    scorer = load_model(model)  # fail now if it does not exist, not in the first worker
    base = str(Path(root).absolute()) if root else ""
    reading = TableReading(part=part_size * MIB, delimiter=delimiter, kept=keep, dropped=drop, root=base)
    ends = locate(input), locate(output), scorer
    rejected = locate(rejects) if rejects else None
    options: dict[str, Any] = {"rejects": rejected, "reading": reading, "resume": not fresh, "precision": precision}
    with open_job(*ends, **options, check=check) as opened:
        get_run_logger().info("scoring %s with %s; %d parts already done", input, scorer.tag, opened.resumed)
        with make_runner(workers) as runner:
            results = run_batches(opened, runner, workers, batch)
            summary = finish_job(opened, results, max_reject_rate)
    create_markdown_artifact(
        to_markdown(summary, input, output), key="scoring", description=f"{output} scored with {scorer.tag}"
    )
    if summary.count.rows and not summary.count.scored:
        raise InputError(input, f"no row could be scored; see the reasons in {summary.rejects}")
    return summary


@dataclass(frozen=True)
class Batches:
    """Submits batches of a job to a task runner."""

    runner: TaskRunner[Any]
    job: dict[str, Any]

    def submit(self, parts: list[dict[str, Any]]) -> PrefectFuture[list[dict[str, Any]]]:
        """Submit a batch."""
        arguments = {"first": parts[0]["number"], "job": self.job, "parts": parts}
        future: PrefectFuture[list[dict[str, Any]]] = self.runner.submit(score_batch, parameters=arguments)
        return future

    def collect(self, parts: list[dict[str, Any]], future: PrefectFuture[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Return the results of a batch; resubmits it if its workers died.

        Raises:
            FashionError: its workers died in every attempt.
        """
        for attempt in range(TRIES):
            if attempt:
                future = self.submit(parts)
            try:
                return future.result()
            except losses() as error:
                get_run_logger().warning("parts from number %d: %s", parts[0]["number"], error)
        first = parts[0]["number"]
        raise FashionError(f"parts from number {first}: their workers died {TRIES} times. See the logs of the workers.")


def run_batches(opened: Opened, runner: TaskRunner[Any], workers: int, batch: int) -> Iterator[Result]:
    """Score the parts in batches and yield the results in order. Bounds the batches in flight, and thus disk space."""
    batches = Batches(runner, asdict(opened.job))
    parts = opened.parts()
    waiting: deque[tuple[list[dict[str, Any]], PrefectFuture[list[dict[str, Any]]]]] = deque()
    while taken := [hand_over(opened, part) for part in islice(parts, batch)]:
        waiting.append((taken, batches.submit(taken)))
        while len(waiting) >= AHEAD * count_slots(runner, workers):
            yield from map(Result.from_json, batches.collect(*waiting.popleft()))
    while waiting:
        yield from map(Result.from_json, batches.collect(*waiting.popleft()))


def to_markdown(summary: Summary, source: str, output: str) -> str:
    """The summary of a run as Markdown."""
    count = summary.count
    reasons = "".join(f"| {number:,} | {escape(reason)} |\n" for reason, number in count.reasons.items())
    warnings = "".join(f"\n**{escape(warning)}**\n" for warning in summary.warnings)
    rejected = f"\n| rejected | reason |\n| ---: | --- |\n{reasons}" if reasons else ""
    accuracy = f"| accuracy on labelled rows | {count.accuracy:.4f} |\n" if count.accuracy is not None else ""
    return f"""# {escape(output)}
{warnings}
| | |
| --- | --- |
| input | {escape(source)} |
| rows | {count.rows:,} |
| scored | {count.scored:,} |
| rejected | {count.rejected:,} {escape(summary.rejects)} |
| below threshold | {count.not_sure:,} |
| unknown | {count.unknown:,} |
{accuracy}| seconds | {summary.seconds:.1f} |
| rows per second | {summary.rows_per_second:,.0f} |
| arithmetic | {", ".join(f"{name}: {parts:,} parts" for name, parts in summary.arithmetic.items())} |
| resumed parts | {summary.resumed} |
| model | {summary.model} |
| SHA-256 of the input | {summary.input_sha256} |
| SHA-256 of the output | {summary.output_sha256} |
{rejected}"""
