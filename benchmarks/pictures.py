"""Time the scoring of picture files beside their decoder alone, on the same files by turns.

    .venv/bin/python -m benchmarks.pictures [FOLDER] [--runs 5] > benchmarks/results/pictures.md

Without FOLDER, on Fashion-MNIST's test images as 10,000 PNG files, from the archives that FASHION_SOURCE names. The
decoder alone opens each file with Pillow, makes it grey and an array, in two threads; the job scores it with a
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
    model = Classifier("fashion-mlp:benchmark", card, MLP(ModelConfig(hidden=(128,)), CONTRACT).eval())
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or write_pictures(Path(made) / "pictures")
        files = sorted(str(path) for path in folder.rglob("*") if is_picture(path.name))
        ways: dict[str, Callable[[], object]] = {
            "the decoder alone, two threads": lambda: decode(files),
            "`fashion score`, two workers": lambda: run_job(model, folder, Path(made) / "out.csv"),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(arguments.runs):
            for name, way in ways.items():
                times[name].append(timed(way))
    tell(times, len(files), arguments.runs)


def write_pictures(folder: Path) -> Path:
    """The test images, a PNG each."""
    folder.mkdir()
    source = Path(os.environ.get("FASHION_SOURCE", "data/raw"))
    for number, image in enumerate(read_idx(source / "t10k-images-idx3-ubyte.gz", CONTRACT.image.shape)):
        (folder / f"{number:05}.png").write_bytes(write_png(image))
    return folder


def decode(files: list[str]) -> None:
    """Pillow and NumPy, and nothing else."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda some: [np.asarray(Image.open(file).convert("L")).sum() for file in some], halves(files)))


def halves(files: list[str]) -> list[list[str]]:
    """Every other file."""
    return [files[start::THREADS] for start in range(THREADS)]


def timed(way: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of the process."""
    clock, process = time.perf_counter(), time.process_time()
    way()
    return time.perf_counter() - clock, time.process_time() - process


def tell(times: dict[str, list[tuple[float, float]]], files: int, runs: int) -> None:
    """The table, and how one way compares with the other, run by run."""
    print(f"{files:,} files, {runs} runs by turns, {time.strftime('%Y-%m-%d')}; load {os.getloadavg()[0]:.1f}\n")
    print("| | pictures a second | microseconds of processor a picture |\n| --- | ---: | ---: |")
    for name, found in times.items():
        clock, process = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"| {name} | {files / clock:,.0f} | {process / files * 1e6:.1f} |")
    alone, scored = times.values()
    for what, place in (("pace", 0), ("processor time", 1)):
        ratios = sorted(one[place] / other[place] for one, other in zip(alone, scored, strict=True))
        print(f"\nDecoder to score, {what}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(f"\nMemory at its end: {psutil.Process().memory_info().rss >> 20:,} MiB")


if __name__ == "__main__":
    main()
