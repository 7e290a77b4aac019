"""Compare the time to score picture files with the time to decode them, in alternating runs.

    .venv/bin/python -m benchmarks.pictures [FOLDER] [--runs 5] > benchmarks/results/pictures.md

Without FOLDER, uses the Fashion-MNIST test images as 10,000 PNG files, from the archives that FASHION_SOURCE names. The
decoder opens each file with Pillow and converts it to a grey array, in two threads. The job scores the files with a
dense-128 network.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import psutil
from PIL import Image

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Calibration
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.readers.folders.names import is_picture
from components.readers.images.idx import read_idx
from components.readers.images.photos import write_png
from components.scoring.job import run_job

THREADS = 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    card = cast(Any, SimpleNamespace(calibration=Calibration()))
    model = Classifier("fashion-mlp:benchmark", card, MLP(ModelConfig(hidden=(128,)), CONTRACT).to_numpy())
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or write_pictures(Path(made) / "pictures")
        files = sorted(str(path) for path in folder.rglob("*") if is_picture(path.name))
        tasks: dict[str, Callable[[], object]] = {
            "decoder only, two threads": lambda: decode(files),
            "`fashion score`, two workers": lambda: run_job(model, folder, Path(made) / "out.csv"),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
        for _ in range(arguments.runs):
            for name, task in tasks.items():
                times[name].append(timed(task))
    print_table(times, len(files), arguments.runs)


def write_pictures(folder: Path) -> Path:
    """Write each test image as a PNG."""
    folder.mkdir()
    source = Path(os.environ.get("FASHION_SOURCE", "data/raw"))
    for number, image in enumerate(read_idx(source / "t10k-images-idx3-ubyte.gz", CONTRACT.image.shape)):
        (folder / f"{number:05}.png").write_bytes(write_png(image))
    return folder


def decode(files: list[str]) -> None:
    """Decode files with Pillow and NumPy only."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda some: [np.asarray(Image.open(file).convert("L")).sum() for file in some], halves(files)))


def halves(files: list[str]) -> list[list[str]]:
    """Split the files evenly between the threads."""
    return [files[start::THREADS] for start in range(THREADS)]


def timed(task: Callable[[], object]) -> tuple[float, float]:
    """Wall time and CPU time of a task, seconds."""
    clock, process = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - clock, time.process_time() - process


def print_table(times: dict[str, list[tuple[float, float]]], files: int, runs: int) -> None:
    """Print the table, and the ratios of the runs."""
    print(f"{files:,} files, {runs} alternating runs, {time.strftime('%Y-%m-%d')}; load {os.getloadavg()[0]:.1f}\n")
    print("| | pictures/s | CPU time per picture, µs |\n| --- | ---: | ---: |")
    for name, found in times.items():
        clock, process = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"| {name} | {files / clock:,.0f} | {process / files * 1e6:.1f} |")
    alone, scored = times.values()
    for what, place in (("throughput", 0), ("CPU time", 1)):
        ratios = sorted(one[place] / other[place] for one, other in zip(alone, scored, strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"\nDecoder relative to scoring, {what}: {statistics.median(ratios):.2f} ({spread})")
    print(f"\nMemory at the end: {psutil.Process().memory_info().rss >> 20:,} MiB")


if __name__ == "__main__":
    main()
