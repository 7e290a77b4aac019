"""Samples the memory and disk usage of a running stack at intervals."""

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from ops import supervisor
from ops.layout import PIECES, StackLayout

RUNS = "runs"  # processes of flow runs, including those that outlive their worker
STATES = ("SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Sample:
    """One sample."""

    at: float  # seconds since the epoch
    memory: dict[str, int]  # component -> bytes (PSS)
    disk: dict[str, int]  # home and first folder -> bytes
    runs: dict[str, int]  # state -> number of flow runs


class Sampler(threading.Thread):
    """Collects samples until `stop` is called."""

    def __init__(self, layout: StackLayout, homes: dict[str, Path], every: float) -> None:
        super().__init__(daemon=True, name="sampler")
        self.layout, self.homes, self.every = layout, homes, every
        self.samples: list[Sample] = []
        self._ended = threading.Event()

    def run(self) -> None:
        """Collect samples, skipping those that fail because a component was just killed."""
        with httpx.Client(base_url=self.layout.api, timeout=60, trust_env=False) as client:
            while not self._ended.wait(self.every):
                with contextlib.suppress(httpx.HTTPError):
                    runs = count_runs(client)
                    self.samples.append(Sample(time.time(), measure_memory(self.layout), self.measure_disk(), runs))

    def measure_disk(self) -> dict[str, int]:
        """Bytes by home and first folder."""
        sizes: Counter[str] = Counter()
        for name, home in self.homes.items():
            for file, size in _files_below(home):
                parts = file.relative_to(home).parts
                sizes["/".join([name, *parts[:-1][:1]])] += size
        return dict(sizes)

    def stop(self) -> None:
        """Stop after the current sample."""
        self._ended.set()
        self.join()


def _files_below(home: Path) -> Iterator[tuple[Path, int]]:
    for folder, _, files in os.walk(home):
        for name in files:
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):
                yield path, path.lstat().st_size


def measure_memory(layout: StackLayout) -> dict[str, int]:
    """Component -> bytes of all its processes."""
    infos = supervisor.describe(layout)
    trees = {name: supervisor.descendants_of(infos[name]["pid"]) for name in PIECES if infos.get(name, {}).get("pid")}
    found: Counter[str] = Counter()
    for process in supervisor.marked(layout):
        with contextlib.suppress(psutil.Error):
            of_run = "PREFECT__FLOW_RUN_ID" in process.environ()
            piece = RUNS if of_run else next((name for name, tree in trees.items() if process.pid in tree), "others")
            found[piece] += process.memory_full_info().pss
    return dict(found)


def count_runs(client: httpx.Client) -> dict[str, int]:
    """State -> number of flow runs on the server."""
    return {state: _count(client, state) for state in STATES}


def _count(client: httpx.Client, state: str) -> int:
    body = {"flow_runs": {"state": {"type": {"any_": [state]}}}}
    return int(client.post("/flow_runs/count", json=body).raise_for_status().json())


@dataclass(frozen=True)
class Growth:
    """Growth of one component's memory or of one folder."""

    first: float  # mean of the first quarter, bytes
    last: float  # mean of the last quarter, bytes
    peak: int  # bytes
    slope: float  # bytes per hour, over the second half

    @property
    def last_over_first(self) -> float:
        """Growth from the first to the last quarter, bytes."""
        return self.last - self.first


def growth_of(samples: list[Sample], what: str, name: str) -> Growth:
    """Growth of `samples[...].memory[name]` or `.disk[name]`.

    Args:
        samples: at least four.
        what: memory or disk.
        name: the component or folder; counts as 0 in samples without it.
    """
    at = np.array([sample.at for sample in samples])
    sizes = np.array([getattr(sample, what).get(name, 0) for sample in samples], dtype=float)
    quarter, half = max(1, len(samples) // 4), len(samples) // 2
    slope = np.polyfit(at[half:] - at[half], sizes[half:], 1)[0] * 3600
    return Growth(sizes[:quarter].mean(), sizes[-quarter:].mean(), int(sizes.max()), float(slope))
