"""The report of the soak test: its guarantees, kept or broken, and its measurements."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from benchmarks.soak_plan import ENDED, MINUTE
from benchmarks.soak_samples import Sample, growth_of
from benchmarks.soak_traffic import Tally, tally
from benchmarks.train import describe_machine
from components.settings import CHECKOUT

PAGE = CHECKOUT / "benchmarks" / "results" / "soak.md"
MB = 1e6
MAX_GROWTH = 100 * MB  # of a component's memory, from the first to the last quarter of the time
LASTING = ("prefect", "worker", "service", "others")  # components that run all the time
NOTES = """
PSS: memory shared between processes is divided between them. Slope: over the second half, which includes the kills of
the worker and the service. "others" is the supervisor. Runs are separate processes that end in between.
"""


@dataclass
class Soak:
    """Everything recorded in a soak test."""

    began: float  # seconds since the epoch, like all times
    first_load: float
    ended: float = 0.0
    dropped: int = 0  # files dropped into the inbox
    scored: int = 0
    killed: dict[str, float] = field(default_factory=dict)  # component -> time of the kill
    back: dict[str, float] = field(default_factory=dict)  # component -> time of the restart
    traffic: Tally = field(default_factory=lambda: tally([], None))
    samples: list[Sample] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)  # as returned by Prefect's API
    models: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    left: int = 0  # processes that remain after the end


@dataclass(frozen=True)
class Guarantee:
    """One property that must hold."""

    message: str
    is_kept: bool
    found: str


def judge(soak: Soak) -> list[Guarantee]:
    """Check every guarantee."""
    traffic = soak.traffic
    bad = [run for run in soak.runs if run["state_type"] in {"FAILED", "CRASHED"}]
    open_ = [run for run in soak.runs if run["state_type"] not in ENDED and run["start_time"]]
    overlaps = find_overlaps(soak)
    promoted = sum(move["action"] == "promote" for move in soak.moves)
    late = [name for name in LASTING if growth_of(soak.samples, "memory", name).last_over_first > MAX_GROWTH]
    first = traffic.lost[0] if traffic.lost else None
    return [
        Guarantee(
            "no request is lost, except while a killed service restarts",
            not traffic.lost,
            f"{len(traffic.lost)} {first or ''}",
        ),
        Guarantee("models are promoted during the test", promoted > 1, f"{promoted} promotions"),
        Guarantee("runs of one deployment never overlap", not overlaps, "; ".join(overlaps) or "none"),
        Guarantee("no run fails or crashes", not bad, "; ".join(map(_describe_run, bad)) or "none"),
        Guarantee("every run ends", not open_, "; ".join(map(_describe_run, open_)) or "all"),
        Guarantee("every dropped file is scored once", soak.dropped == soak.scored, f"{soak.scored} of {soak.dropped}"),
        Guarantee("killed components are restarted", soak.killed.keys() == soak.back.keys(), ", ".join(soak.back)),
        Guarantee(f"no component's memory grows by {MAX_GROWTH / MB:.0f} MB", not late, ", ".join(late) or "none"),
        Guarantee("no process remains after the end", not soak.left, f"{soak.left} processes"),
    ]


def find_overlaps(soak: Soak) -> list[str]:
    """Pairs of runs of one deployment that overlapped."""
    spans: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for run in soak.runs:
        if run["total_run_time"]:  # a run cancelled before it began has a start time but no run time
            spans[run["deployment"]].append((run["start_time"], run["end_time"], run["name"]))
    return [
        f"{name}: {one[2]} and {other[2]}"
        for name, found in spans.items()
        for one, other in pairwise(sorted(found, key=lambda span: datetime.fromisoformat(span[0])))
        if datetime.fromisoformat(other[0]) < datetime.fromisoformat(one[1])
    ]


def _describe_run(run: dict[str, Any]) -> str:
    return f"{run['deployment']} {run['name']}: {run['state_name']}, {(run['state'] or {}).get('message')}"


def write_page(soak: Soak) -> None:
    """Write the report as Markdown."""
    PAGE.write_text("\n".join(_lines(soak)) + "\n")


def _lines(soak: Soak) -> Iterator[str]:
    minutes = (soak.ended - soak.began) / MINUTE
    yield "# Soak test of the whole system"
    yield ""
    yield f"`python -m benchmarks.soak`, {minutes:.1f} minutes; load {soak.first_load:.1f} at the start."
    yield from describe_machine()
    yield ""
    yield from _table(
        ("guarantee", "", "found"),
        [(one.message, "kept" if one.is_kept else "BROKEN", one.found) for one in judge(soak)],
    )
    yield from _describe_traffic(soak)
    yield from _describe_runs(soak)
    yield from _describe_memory(soak)
    yield from _describe_disk(soak, minutes)


def _describe_traffic(soak: Soak) -> Iterator[str]:
    traffic = soak.traffic
    paths = ", ".join(f"{number:,} {path}" for path, number in traffic.by_path.items())
    yield ""
    yield f"- requests: {traffic.asked:,} ({paths}); lost: {len(traffic.lost)}"
    yield f"- also lost while the service was killed and restarted: {traffic.lost_to_kill}, in {traffic.gap:.1f} s"
    yield f"- p50 {traffic.p50 * 1000:.1f} ms, p99 {traffic.p99 * 1000:.1f} ms, with concurrent trainings"
    yield f"- models that served requests, in succession: {len(traffic.models)}"
    yield from (
        f"- {name} was killed and restarted {soak.back[name] - at:.1f} s later"
        for name, at in soak.killed.items()
        if name in soak.back
    )
    promoted = sum(move["action"] == "promote" for move in soak.moves)
    trained = len(done(soak, "training/nightly"))
    yield f"- completed trainings: {trained}; promotions: {promoted}; models at the end: {len(soak.models)}"


def done(soak: Soak, deployment: str) -> list[dict[str, Any]]:
    """The completed runs of a deployment."""
    return [run for run in soak.runs if run["deployment"] == deployment and run["state_type"] == "COMPLETED"]


def _describe_runs(soak: Soak) -> Iterator[str]:
    counts = Counter((run["deployment"], run["state_name"]) for run in soak.runs)
    seconds = {name: [run["total_run_time"] for run in done(soak, name)] for name, _ in counts}
    rows = [
        (name, state, str(number), f"{max(seconds[name]):.0f}" if state == "Completed" else "")
        for (name, state), number in sorted(counts.items())
    ]
    yield ""
    yield from _table(("deployment", "state", "runs", "longest, s"), rows)


def _describe_memory(soak: Soak) -> Iterator[str]:
    names = sorted({name for sample in soak.samples for name in sample.memory})
    rows = []
    for name in names:
        growth = growth_of(soak.samples, "memory", name)
        sizes = (growth.first, growth.last, growth.peak, growth.slope)
        rows.append((name, *(f"{size / MB:,.0f}" for size in sizes)))
    yield ""
    yield from _table(("memory (PSS), MB", "first quarter", "last quarter", "peak", "slope, per hour"), rows)
    yield NOTES.rstrip()


def _describe_disk(soak: Soak, minutes: float) -> Iterator[str]:
    first, last = soak.samples[0].disk, soak.samples[-1].disk
    rows = []
    for name in sorted(first.keys() | last.keys()):
        begin, end = first.get(name, 0), last.get(name, 0)
        peak = growth_of(soak.samples, "disk", name).peak
        rows.append((name, *(f"{size / MB:,.1f}" for size in (begin, end, peak, (end - begin) * MINUTE / minutes))))
    yield ""
    yield from _table(("disk, MB", "start", "end", "peak", "per hour"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
