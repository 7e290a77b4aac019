"""Compare the training time per epoch with Keras, PyTorch's quickstart and scikit-learn, in alternating runs.

    make bench
    .venv/bin/python -m benchmarks.train [--runs 3] [--threads 1 2] [--presets dense-128 ...] [--peers Keras ...]
                                           [--accuracy]

Each run is a separate process (benchmarks/peers) with a fixed number of threads, and trains on the same number of rows
of the archives that FASHION_SOURCE names. An epoch includes validation. The first epoch of a run, in which Keras
compiles, is not counted. With --accuracy, each contestant also trains once for the preset's number of epochs.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.job import Answer, Job
from benchmarks.pipeline import cpu_name
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.settings import CHECKOUT
from components.training.presets import PRESETS

OURS, PRODUCTS = "ours", "products only"
MODULES = {
    OURS: "ours",
    "Keras": "keras_fit",
    "DataLoader loop": "loader_loop",
    "scikit-learn": "sklearn_mlp",
    PRODUCTS: "products",
}
KERAS_PYTHON = CHECKOUT / ".venv-bench" / "bin" / "python"
KERAS_VERSIONS = """
from importlib.metadata import distributions
wanted = ("keras", "numpy", "tensorflow", "tensorflow_cpu")
print("for Keras:", ", ".join(sorted(f"{one.name} {one.version}" for one in distributions() if one.name in wanted)))"""
PEERS = [name for name in MODULES if name not in {OURS, PRODUCTS}]
COMPARABLE = [name for name in PRESETS if name != "flagship"]  # no peer supports initially tied layers
EPOCHS = 3  # per run; the first is not counted
QUIET = 0.5  # highest one-minute load average of a quiet machine
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

NOTES = """
In brackets: a peer's time relative to ours, and the share of our time that the matrix products take.

- ours: `components.training.train.train`
- Keras: `model.fit` on float32 arrays, silent, default compilation. It has no one-cycle schedule (`quick`), so it uses
  a linear warm-up and a cosine decay.
- DataLoader loop: PyTorch's quickstart, with a picture and `ToTensor` per item, without workers
- scikit-learn: `MLPClassifier` on float32 arrays, without dropout, learning rate schedule and validation, which it does
  not support
- products only: the matrix products of an epoch, forward and backward, by `torch.mm` in float32 into existing memory
"""


def main() -> None:
    """Run everything, print the tables and write them."""
    options = parse_options()
    if not KERAS_PYTHON.exists():
        sys.exit(f"{KERAS_PYTHON}: not found. Run: make bench")
    lines = ["# `make bench`", "", *describe_machine(), run([KERAS_PYTHON, "-c", KERAS_VERSIONS]).strip()]
    print(*lines, sep="\n", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"FASHION_DATA_DIR": folder, "KERAS_HOME": folder}
        arrays = write_arrays(Path(folder))
        for threads in options.threads:
            lines += describe_epochs(options.presets, [OURS, *options.peers, PRODUCTS], threads, options.runs, arrays)
        if options.accuracy:
            lines += describe_accuracies(options.presets, max(options.threads), arrays)
    text = "\n".join([*lines, NOTES])
    options.to.write_text(text)
    print(text)


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--presets", nargs="+", choices=COMPARABLE, default=COMPARABLE, metavar="PRESET")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--accuracy", action="store_true", help="also train every preset for all its epochs")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "train.md")
    return parser.parse_args()


def describe_machine(timed: bool = True) -> list[str]:
    """Date, CPU, load and package versions, as lines. Load only matters if the results are times."""
    path = Path("/proc/cpuinfo")
    flags = set(path.read_text().split()) if path.exists() else set()
    features = (
        ", ".join(feature for feature in FEATURES if feature in flags) or "none of the expected vector extensions"
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "scikit-learn", "numpy"))
    load = os.getloadavg()[0]
    busy = "; **the machine was busy, so these results are unreliable**" if load > QUIET else ""
    state = f", load {load:.1f}{busy}" if timed else ""
    return [
        f"{time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores of {cpu_name()} ({features}){state}.",
        f"Python {platform.python_version()}, {packages};",
    ]


def write_arrays(folder: Path) -> Path:
    """Ingest the dataset, and write both splits for the peers."""
    dataset = ingest().dataset
    splits = {split: read_split(dataset, split) for split in ("train", "test")}
    arrays: dict[str, Any] = {f"{split}_images": examples.images for split, examples in splits.items()}
    arrays |= {f"{split}_labels": examples.labels for split, examples in splits.items()}
    np.savez(folder / "arrays.npz", **arrays)
    return folder / "arrays.npz"


def describe_epochs(presets: list[str], names: list[str], threads: int, runs: int, arrays: Path) -> list[str]:
    """The table of seconds per epoch."""
    lines = ["", f"## Seconds per epoch, {threads} thread{'s' * (threads > 1)}, median of {runs} alternating runs", ""]
    lines += [f"| preset | batch | {' | '.join(names)} |", "| --- |" + " ---: |" * (1 + len(names))]
    for preset in presets:
        taken: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(runs):
            for name in names:
                taken[name].append(statistics.median(train_once(name, preset, EPOCHS, threads, arrays).seconds))
        medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
        cells = [describe_time(name, seconds, medians[OURS]) for name, seconds in medians.items()]
        lines.append(f"| `{preset}` | {PRESETS[preset].config.batch_size} | {' | '.join(cells)} |")
    return lines


def describe_time(name: str, seconds: float, ours: float) -> str:
    """A cell: seconds, and their ratio to ours."""
    if name == OURS:
        return f"{seconds:.2f}"
    return f"{seconds:.2f} ({seconds / ours:.0%})" if name == PRODUCTS else f"{seconds:.2f} ({seconds / ours:.1f} x)"


def describe_accuracies(presets: list[str], threads: int, arrays: Path) -> list[str]:
    """The table of test accuracies."""
    names = [name for name in MODULES if name != PRODUCTS]
    lines = ["", "## Test accuracy after the preset's epochs, seed 0", ""]
    lines += [f"| preset | epochs | {' | '.join(names)} |", "| --- |" + " ---: |" * (1 + len(names))]
    for preset in presets:
        epochs = PRESETS[preset].config.epochs
        found = [train_once(name, preset, epochs, threads, arrays).accuracy for name in names]
        lines.append(f"| `{preset}` | {epochs} | {' | '.join(f'{accuracy:.3f}' for accuracy in found)} |")
    return lines


def train_once(name: str, preset: str, epochs: int, threads: int, arrays: Path) -> Answer:
    """Run one contestant once."""
    job = Job(preset, asdict(PRESETS[preset].config), epochs, threads, str(arrays))
    python = KERAS_PYTHON if name == "Keras" else sys.executable
    output = run([python, "-m", f"benchmarks.peers.{MODULES[name]}"], json.dumps(asdict(job)), threads)
    answer = Answer(**json.loads(output.splitlines()[-1]))
    print(f"{preset}, threads: {threads}, {name}: {answer}", file=sys.stderr)
    return answer


def run(command: list[str | Path], text: str = "", threads: int = 1) -> str:
    """Run a command in the checkout and return what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, input=text, env=environment, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
