"""Score an input of any size: parts in batches, each a task, on this machine or on many; then put together."""

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
from components.scoring.work import Result
from components.storage import locate
from flows.escaping import escape
from flows.parts import count_slots, hand_over, losses, make_runner, score_batch

MIB = 1 << 20
BATCH = 8  # parts a task: what Prefect does around a task takes less than a hundredth of that work (docs/scale.md)
AHEAD = 2  # batches a slot that are handed out before the first is back
TRIES = 3  # of a batch whose workers die

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
    check: Mode = "fail",
    fresh: bool = False,
) -> Summary:
    """Classify every row of an input of any size. Started again after it failed, it goes on where it stopped.

    Args:
        input: a table, an archive, a folder or a pattern; a path or s3://bucket/key.
        output: *.csv, *.parquet or *.jsonl; a path or s3://bucket/key.
        model: an exact tag; none: the live model's.
        workers: batches at a time, where they run in threads.
        part_size: of a part of the input, MiB.
        batch: parts a task.
        delimiter: of a CSV input.
        keep: columns that go to the output as they are.
        drop: columns that may be there, and go nowhere.
        root: folder that the paths in a CSV are relative to; empty: that of the CSV.
        rejects: where rows go that cannot be read, likewise *.csv, *.parquet or *.jsonl; empty: beside the output.
        max_reject_rate: with a larger share of rejects it fails, and the output is as it was.
        check: what to do where the first rows cannot be right: fail, warn or off.
        fresh: throw away what an unfinished run left, instead of going on with it.
    """
    scorer = load_model(model)  # told now, not by the first worker, where there is none
    below = str(Path(root).absolute()) if root else ""
    reading = TableReading(part=part_size * MIB, delimiter=delimiter, kept=keep, dropped=drop, root=below)
    ends = locate(input), locate(output), scorer
    refused = locate(rejects) if rejects else None
    with open_job(*ends, rejects=refused, reading=reading, resume=not fresh, check=check) as opened:
        get_run_logger().info("%s by %s; %d parts are done", input, scorer.tag, opened.resumed)
        with make_runner(workers) as runner:
            results = run_batches(opened, runner, workers, batch)
            summary = finish_job(opened, results, max_reject_rate)
    create_markdown_artifact(
        to_markdown(summary, input, output), key="scoring", description=f"{output} by {scorer.tag}"
    )
    if summary.count.rows and not summary.count.scored:
        raise InputError(input, f"no row could be scored; {summary.rejects} says why")
    return summary


@dataclass(frozen=True)
class Batches:
    """Where batches go to."""

    runner: TaskRunner[Any]
    job: dict[str, Any]

    def submit(self, parts: list[dict[str, Any]]) -> PrefectFuture[list[dict[str, Any]]]:
        """Hand a batch out."""
        arguments = {"first": parts[0]["number"], "job": self.job, "parts": parts}
        future: PrefectFuture[list[dict[str, Any]]] = self.runner.submit(score_batch, parameters=arguments)
        return future

    def collect(self, parts: list[dict[str, Any]], future: PrefectFuture[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """What came of it; it is handed out again where its workers died.

        Raises:
            FashionError: as often as that it is not.
        """
        for attempt in range(TRIES):
            if attempt:
                future = self.submit(parts)
            try:
                return future.result()
            except losses() as error:
                get_run_logger().warning("parts from %d: %s", parts[0]["number"], error)
        raise FashionError(f"parts from {parts[0]['number']}: the workers that scored them died, again and again")


def run_batches(opened: Opened, runner: TaskRunner[Any], workers: int, batch: int) -> Iterator[Result]:
    """Score the parts in batches, few enough at a time that an input which is unpacked fits; their results in order."""
    batches = Batches(runner, asdict(opened.job))
    parts = opened.parts()
    waiting: deque[tuple[list[dict[str, Any]], PrefectFuture[list[dict[str, Any]]]]] = deque()
    while given := [hand_over(opened, part) for part in islice(parts, batch)]:
        waiting.append((given, batches.submit(given)))
        while len(waiting) >= AHEAD * count_slots(runner, workers):
            yield from map(Result.from_json, batches.collect(*waiting.popleft()))
    while waiting:
        yield from map(Result.from_json, batches.collect(*waiting.popleft()))


def to_markdown(summary: Summary, source: str, output: str) -> str:
    """A run's summary as Prefect's page shows it."""
    count = summary.count
    reasons = "".join(f"| {number:,} | {escape(reason)} |\n" for reason, number in count.reasons.items())
    warnings = "".join(f"\n**{escape(warning)}**\n" for warning in summary.warnings)
    rejected = f"\n| rejected | reason |\n| ---: | --- |\n{reasons}" if reasons else ""
    accuracy = f"| accuracy where labelled | {count.accuracy:.4f} |\n" if count.accuracy is not None else ""
    return f"""# {escape(output)}
{warnings}
| | |
| --- | --- |
| input | {escape(source)} |
| rows | {count.rows:,} |
| scored | {count.scored:,} |
| rejected | {count.rejected:,} {escape(summary.rejects)} |
| not sure | {count.not_sure:,} |
{accuracy}| seconds | {summary.seconds:.1f} |
| rows a second | {summary.rows_per_second:,.0f} |
| parts done before | {summary.resumed} |
| model | {summary.model} |
| SHA-256 of the input | {summary.input_sha256} |
| SHA-256 of the output | {summary.output_sha256} |
{rejected}"""
