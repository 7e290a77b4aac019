"""Compare the throughput of `fashion score` with other ways to score a table and with an upper bound.

    .venv/bin/python -m benchmarks.score [--runs 3] [--networks flagship dense-128] [--rows 600000]
                                         [--pictures 30000] [--large]

Each run is a separate process; contestants alternate. Polars is in `.venv-bench` (`make .venv-bench/ready`). The
flagship is trained for two epochs, which does not affect its speed, and scores a tenth of the rows. Rows per second are
measured from the first byte read to the last byte written; the total seconds also include imports and loading the
model. `--large` also scores 5,000,000 rows and prints the rows per second of each tenth.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.peers.score_job import ScoreJob
from benchmarks.score_inputs import write_csv, write_parquet, write_pictures
from benchmarks.score_runs import BIN, Run, served, watch
from benchmarks.serve import SHORT
from benchmarks.train import describe_machine
from components.contract import Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.evaluation.card import write_card
from components.registry import champion, store
from components.settings import CHECKOUT
from components.training.presets import configure
from components.training.train import train

OURS, UNCHECKED, EXACT, FLOOR, HTTP, PANDAS, POLARS = (
    "fashion score",
    "the same, --check off",
    "the same, --precision float32",
    "reader alone",
    "POST /score",
    "pandas + torch",
    "Polars + torch",
)
OPTIONS: dict[str, list[str]] = {OURS: [], UNCHECKED: ["--check", "off"], EXACT: ["--precision", "float32"]}
MODULES = {
    FLOOR: ("benchmarks.peers.score_floor",),
    HTTP: ("benchmarks.peers.score_http",),
    PANDAS: ("benchmarks.peers.score_frames", "pandas"),
    POLARS: ("benchmarks.peers.score_frames", "polars"),
}
LARGE = 5_000_000  # rows
NOTES = """
- rows/s: median of the runs, range in brackets; x: relative to `fashion score`
- total s: median time of the process, including imports and loading the model
- MB: highest peak memory of the runs, including child processes; for `POST /score` only the client; in brackets without
  memory mapped from files, i.e. libraries
- labels: number of labels that differ from those of `fashion score`
- `--check off` skips the input sanity check: Great Expectations in a separate process, which takes seconds to import
- bottleneck: the stage with the largest share of a job's CPU time without that check, measured on one thread
"""


@dataclass(frozen=True)
class Network:
    """A model to score with."""

    name: str
    tag: str
    job: ScoreJob  # with its weights; source and output are set for each run


def main() -> None:
    """Run everything, print the tables and write them."""
    options = parse_options()
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("pyarrow", "pandas", "bentoml", "opencv-python-headless")
    )
    lines = [
        "# `python -m benchmarks.score`",
        "",
        *describe_machine(),
        f"{packages}; `fashion score` with two workers.",
    ]
    print(*lines, sep="\n", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"FASHION_DATA_DIR": f"{name}/data", "BENTOML_HOME": f"{name}/bentoml", "GOMP_SPINCOUNT": "100"}
        dataset = ingest().dataset
        for preset in options.networks:
            network = prepare_network(preset, Validated(dataset, expectations=0, docs=Path(), checked_at=""))
            for title, source, names in inputs(folder, read_split(dataset, "train").images, preset, options):
                lines += describe_input(f"{title}, {preset}", network, source, names, folder, options.runs)
        if options.large:
            lines += describe_large(folder, read_split(dataset, "train").images)
    text = "\n".join([*lines, NOTES])
    options.to.write_text(text)
    print(text)


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=["dense-128", "flagship"], default=["flagship", "dense-128"])
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--pictures", type=int, default=30_000)
    parser.add_argument("--large", action="store_true", help="also score 5,000,000 rows of Parquet")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "score.md")
    return parser.parse_args()


def prepare_network(preset: str, receipt: Validated) -> Network:
    """Train a model and make it live, so that the service serves it."""
    trained = train(receipt, configure(preset, SHORT.get(preset)))
    card = write_card(preset, receipt, trained)
    tag = store.save_model(trained.network, card)
    champion.make_live(tag, "a benchmark")
    weights = Path(os.environ["BENTOML_HOME"], "models", *tag.split(":"), "weights.safetensors")
    job = ScoreJob("", "", str(weights), trained.network.config.activation, card.calibration.temperature)
    return Network(preset, tag, job)


def inputs(
    folder: Path, images: np.ndarray, preset: str, options: argparse.Namespace
) -> Iterator[tuple[str, Path, list[str]]]:
    """Title, path and contestants of each input; the files are written lazily."""
    tables = [OURS, UNCHECKED, *([EXACT] if preset == "flagship" else []), FLOOR, PANDAS, POLARS, HTTP]
    rows = options.rows if preset == "dense-128" else options.rows // 10
    yield f"CSV, {rows:,} rows", write_csv(folder, images, rows), tables
    yield f"Parquet, {rows:,} rows", write_parquet(folder, images, rows), tables
    if preset == "dense-128":
        yield (
            f"PNG, {options.pictures:,} files",
            write_pictures(folder, images, options.pictures),
            [OURS, UNCHECKED, FLOOR],
        )


def describe_input(title: str, network: Network, source: Path, names: list[str], folder: Path, runs: int) -> list[str]:
    """The table of one input."""
    print(title, file=sys.stderr)
    found: dict[str, list[Run]] = {name: [] for name in names}
    refused: dict[str, str] = {}
    suffix = ".parquet" if source.suffix == ".parquet" else ".csv"
    outputs = {name: folder / f"{place}{suffix}" for place, name in enumerate(names)}
    with served(folder) if HTTP in names else contextlib.nullcontext("") as url:
        for _ in range(runs):
            for name in [name for name in names if name not in refused]:
                run = contend(name, network, source, outputs[name], url)
                if isinstance(run, str):
                    refused[name] = run
                else:
                    found[name].append(run)
    lines = ["", f"## {title}", "", "| | rows/s | x | total s | MB | labels |", "| --- " + "| ---: " * 5 + "|"]
    ours = statistics.median(run.rows / run.seconds for run in found[OURS])
    for name, done in found.items():
        if name in refused:
            lines.append(f"| {name} | {refused[name]} | | | | |")
            continue
        rates = sorted(run.rows / run.seconds for run in done)
        rate = statistics.median(rates)
        peak, own = max(run.peak for run in done), max(run.own for run in done)
        labels = describe_labels(outputs[OURS], outputs[name]) if name != FLOOR else ""
        throughput = f"{rate:,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f}) | {rate / ours:.2f}"
        total = statistics.median(run.total for run in done)
        lines.append(f"| {name} | {throughput} | {total:.1f} | {peak:,.0f} ({own:,.0f}) | {labels} |")
    return [*lines, "", describe_limit(network, source, folder / f"stages{suffix}")]


def contend(name: str, network: Network, source: Path, output: Path, url: str) -> Run | str:
    """Run one contestant once; returns the error message if it failed."""
    if name in OPTIONS:
        command = [str(BIN / "fashion"), "score", str(source), str(output), "--model", network.tag, "--json"]
        command += OPTIONS[name]
        text = ""
    else:
        command = [sys.executable, "-m", *MODULES[name]]
        given = {"source": str(source), "output": str(output), "url": url}
        text = json.dumps({**asdict(network.job), **given})
    os.sync()  # so that earlier writes are not flushed during the run
    run = watch(command, text, output.with_name(f".{output.name}.job"))
    print(f"  {name}: {run}", file=sys.stderr)
    return run


def describe_labels(ours: Path, other: Path) -> str:
    """The number of labels that differ."""
    one, two = (read_labels(path) for path in (ours, other))
    if len(one) != len(two):
        return f"**{len(two):,} rows instead of {len(one):,}**"
    return f"{np.count_nonzero(one != two):,}"


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Read the label column of an output."""
    labels: NDArray[np.uint8]
    if path.suffix == ".parquet":
        labels = pq.read_table(path, columns=["label"])["label"].to_numpy()
        return labels
    options = pyarrow.csv.ConvertOptions(include_columns=["label"], column_types={"label": pa.uint8()})
    labels = pyarrow.csv.read_csv(path, convert_options=options)["label"].to_numpy()
    return labels


def describe_limit(network: Network, source: Path, output: Path) -> str:
    """The share of each stage in a job's CPU time."""
    command = [sys.executable, "-m", "benchmarks.peers.score_stages", network.tag, str(source), str(output)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    taken = json.loads(done.stdout.splitlines()[-1])
    shares = {name: seconds / sum(taken.values()) for name, seconds in taken.items()}
    details = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return f"Bottleneck: {max(shares, key=lambda name: shares[name])} ({details})."


def describe_large(folder: Path, images: np.ndarray) -> list[str]:
    """Score 5,000,000 rows: memory, and whether the throughput stays constant."""
    source, output = write_parquet(folder, images, LARGE), folder / "large.parquet"
    os.sync()
    command = [str(BIN / "fashion"), "score", str(source), str(output), "--json"]
    run = watch(command, "", folder / f".{output.name}.job")
    if isinstance(run, str):
        return ["", f"## Parquet, {LARGE:,} rows", "", run]
    edges = [run.done_at[round(len(run.done_at) * tenth / 10) - 1] for tenth in range(1, 11)]
    spans = np.diff([run.done_at[0] - run.done_at[-1] / len(run.done_at), *edges])
    rates = ", ".join(f"{run.rows / 10 / span:,.0f}" for span in spans)
    memory = f"peak memory {run.peak:,.0f} MB, {run.own:,.0f} MB without mapped files"
    summary = f"{run.rows / run.seconds:,.0f} rows/s, {memory}; rows/s of each tenth of the parts: {rates}"
    return ["", f"## Parquet, {LARGE:,} rows, the network above", "", summary]


if __name__ == "__main__":
    main()
