"""Compare the search for the nearest training images with plain products and with libraries for nearest neighbours.

    .venv/bin/python -m benchmarks.nearest [--presets dense-128 quick] [--epochs 2] [--peers PYTHON] [--to FILE]

Each preset is trained for a few epochs on the archives that FASHION_SOURCE names. The rows are its last hidden layer of
the training images, the queries those of 100 of these images, which are left out of the rows. Every search runs in a
process of its own on one core. PYTHON is the interpreter of an environment with faiss-cpu, usearch and hnswlib.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.because import fit
from benchmarks.peers.nearest import COUNT, ROUNDS, SEARCHES
from benchmarks.train import describe_machine
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.model.tensors import to_input
from components.settings import CHECKOUT, Settings
from components.training.presets import PRESETS, configure

QUERIES = 100
PEERS = ("faiss", "usearch", "hnswlib")


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["dense-128", "quick"], metavar="PRESET")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter that has the libraries")
    parser.add_argument("--to", type=Path, help="output file for the tables")
    options = parser.parse_args()
    lines = ["# `python -m benchmarks.nearest`", "", *describe_machine()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for preset in options.presets:
            n, units = write_rows(preset, options.epochs, folder)
            lines += ["", f"## `{preset}`, {options.epochs} epochs: {n:,} rows of {units} units", ""]
            lines += describe({one: run(one, folder, options.peers) for one in SEARCHES})
    text = "\n".join([*lines, ""])
    if options.to:
        options.to.write_text(text)
    print(text)


def write_rows(preset: str, epochs: int, folder: Path) -> tuple[int, int]:
    """Write rows, queries and exact answers of a preset; returns the shape of the rows."""
    settings = Settings(data_dir=folder / "data")
    examples = read_split(ingest(settings.source, settings=settings).dataset, "train")
    network = fit(examples, np.arange(len(examples.labels)), configure(preset, {"epochs": epochs}))
    images = examples.images
    parts = [network.hidden(to_input(images[start : start + 1024])) for start in range(0, len(images), 1024)]
    hidden = np.concatenate([part.detach().numpy() for part in parts])
    order = np.random.default_rng(0).permutation(len(hidden))
    rows, queries = hidden[np.sort(order[QUERIES:])], hidden[order[:QUERIES]]
    squares = np.stack([((rows.astype(np.float64) - query) ** 2).sum(1) for query in queries])
    np.save(folder / "rows.npy", rows)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "expected.npy", squares.argsort(axis=1, kind="stable")[:, :COUNT])
    return rows.shape


def run(name: str, folder: Path, peers: str | None) -> dict[str, Any] | None:
    """Time one search in a process of its own, on one core; None if it needs libraries that are not there."""
    is_peer = name.startswith(PEERS)
    if is_peer and not peers:
        return None
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    python = peers if is_peer and peers else sys.executable
    command = ["taskset", "-c", "0", python, "benchmarks/peers/nearest.py", str(folder), name]
    done = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: exit status {done.returncode}\n{done.stderr}")
    print(name, done.stdout.strip(), file=sys.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def describe(answers: dict[str, dict[str, Any] | None]) -> list[str]:
    """A table."""
    rows = [
        f"| {name} | {one['version']} | {one['median']:.2f} | {one['processor']:.2f} | {one['recall']:.4f} | "
        f"{one['built']:.1f} |"
        for name, one in answers.items()
        if one
    ]
    return [
        f"One query for the {COUNT} nearest, {QUERIES} queries, {ROUNDS} rounds, one core.",
        "",
        "| search | version | median, ms | processor time, ms | found of the exact | build, s |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *rows,
    ]


if __name__ == "__main__":
    main()
