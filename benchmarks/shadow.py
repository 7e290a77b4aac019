"""Measure what a shadow costs the service: throughput and latency with and without it, in turn.

    .venv/bin/python -m benchmarks.shadow [--preset dense-128] [--runs 7] [--seconds 3] [--connections 8] [--share 0.1]
                                          [--rate REQUESTS_PER_SECOND]

Requires `wrk`. Service and candidate run on core 0, where the candidate has to make way, and the load generator on core
1: `wrk`, which keeps core 0 busy, or with `--rate` requests at a steady rate. Each run starts or ends the shadow, waits
until the candidate is loaded or gone, and sends one image per request.
"""

import argparse
import base64
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.serve import BYTES, JSON, LOAD_CORE, Load, Payload, Server, as_json, run_wrk, started
from benchmarks.train import describe_machine
from components.contract import Images, Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.evaluation.card import write_card
from components.settings import CHECKOUT
from components.shadow.control import start_shadow, stop_shadow
from components.shadow.counts import WAITING, ShadowCounts, read_counts
from components.training.presets import PRESETS, configure
from components.training.train import train

SETTLE = 120  # seconds until a candidate is loaded
LEAST = 1  # image that it must have classified before it is measured


@dataclass(frozen=True)
class Row:
    """The loads of one kind of request, without and with the shadow, run by run."""

    name: str
    off: list[Load]
    on: list[Load]
    spent_off: list[float] = field(default_factory=list)  # processor time of the worker, us per request
    spent_on: list[float] = field(default_factory=list)

    def describe(self) -> str:
        """A row of the table."""
        cells = [self.name]
        measured = [
            ([getattr(load, key) for load in self.off], [getattr(load, key) for load in self.on], digits)
            for key, digits in (("requests", 0), ("p50", 1), ("p99", 1))
        ]
        for without, beside, digits in [*measured, (self.spent_off, self.spent_on, 0)]:
            ratios = sorted(now / before for before, now in zip(without, beside, strict=True))
            cells += [f"{statistics.median(some):,.{digits}f}" for some in (without, beside)]
            cells.append(f"{statistics.median(ratios):.3f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run everything, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="dense-128")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--rate", type=int, help="requests a second; without it, as many as the service answers")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "shadow.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed. Install your distribution's package wrk")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"FASHION_DATA_DIR": name, "BENTOML_HOME": str(folder / "bentoml")}
        candidate, images = prepare(options.preset)
        with started("ours", folder) as server:
            payloads = [
                Payload("bytes", BYTES, images[:1].tobytes(), {"ours": "/predict"}),
                Payload("JSON", JSON, as_json(images[:1]), {"ours": "/predict"}),
            ]
            rows = [compare(payload, candidate, server, options, folder) for payload in payloads]
        counts = read_counts(candidate)
    text = "\n".join(describe(rows, counts, options, load))
    options.to.write_text(text)
    print(text)


def prepare(preset: str) -> tuple[str, Images]:
    """Train two models with different seeds; the first goes live. Returns the other, and test images."""
    from components.registry import champion, store

    dataset = ingest().dataset
    receipt = Validated(dataset, expectations=0, docs=Path(), checked_at="")
    tags = []
    for seed in (0, 1):
        trained = train(receipt, configure(preset, {"epochs": 2, "schedule": "constant", "seed": seed}))
        tags.append(store.save_model(trained.network, write_card(preset, receipt, trained)))
    champion.make_live(tags[0], "a benchmark")
    return tags[1], read_split(dataset, "test").images


def compare(payload: Payload, candidate: str, server: Server, options: argparse.Namespace, folder: Path) -> Row:
    """Measure one kind of request, each run without and with the shadow, in an order that alternates."""
    row, url = Row(payload.name, [], []), f"http://127.0.0.1:{server.port}{payload.paths['ours']}"

    def run(spent: list[float]) -> Load:
        before = count_images(server), worker_seconds(server)
        if options.rate:
            load = run_steadily(server, payload, options)
        else:
            load = run_wrk(url, payload, options.connections, options.seconds, folder)
        spent.append(1e6 * (worker_seconds(server) - before[1]) / (count_images(server) - before[0]))
        return load

    for number in range(options.runs):
        for is_on in (False, True) if number % 2 else (True, False):
            if is_on:
                begin(candidate, options.share, lambda: run_wrk(url, payload, 1, 1, folder))
            loads, spent = (row.on, row.spent_on) if is_on else (row.off, row.spent_off)
            loads.append(run(spent))
            if is_on:
                stop_shadow()
                wait_for_end(server)
        print(number, row.off[-1], row.on[-1], row.spent_off[-1], row.spent_on[-1], file=sys.stderr)
    return row


def run_steadily(server: Server, payload: Payload, options: argparse.Namespace) -> Load:
    """Send requests at a steady rate, and return what was measured."""
    head = f"POST {payload.paths['ours']} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {payload.content_type}\r\n"
    request = f"{head}Content-Length: {len(payload.body)}\r\n\r\n".encode() + payload.body
    asked = {"request": base64.b64encode(request).decode(), "port": server.port, "rate": options.rate}
    asked |= {"connections": options.connections, "seconds": options.seconds}
    command = ["taskset", "--cpu-list", LOAD_CORE, sys.executable, "-m", "benchmarks.peers.steady"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True, cwd=CHECKOUT)
    return Load(**json.loads(done.stdout))


def begin(candidate: str, share: float, send: Callable[[], object]) -> None:
    """Start the shadow, and wait until the candidate has classified an image."""
    start_shadow(candidate, share=share, who="a benchmark", why="a benchmark")
    deadline = time.monotonic() + SETTLE
    while not ((counts := read_counts(candidate)) and counts.mirrored >= LEAST):
        if time.monotonic() > deadline:
            sys.exit(f"the candidate did not start: {counts}")
        send()
        time.sleep(1.5)


def count_images(server: Server) -> float:
    """Images that the service has answered since it started."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("fashion_images_total"))


def worker_seconds(server: Server) -> float:
    """Processor time of the service without candidates, seconds."""
    total = 0.0
    for one in psutil.Process(server.group).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended, or is a zombie
            if not is_candidate(one):
                times = one.cpu_times()
                total += times.user + times.system
    return total


def is_candidate(process: psutil.Process) -> bool:
    """Whether a process is that of a candidate; False once it has ended."""
    with contextlib.suppress(psutil.Error):
        return "components.shadow.candidate" in process.cmdline()
    return False


def wait_for_end(server: Server) -> None:
    """Wait until the process of the candidate is gone."""
    service = psutil.Process(server.group)
    while any(map(is_candidate, service.children(recursive=True))):
        time.sleep(0.1)


def describe(rows: list[Row], counts: ShadowCounts | None, options: argparse.Namespace, load: str) -> list[str]:
    """The report."""
    if not counts:
        sys.exit("nothing was counted")
    skipped = ", ".join(f"{reason} {images:,}" for reason, images in counts.skipped.items() if reason != WAITING)
    rate = f"{options.rate:,} requests a second" if options.rate else "as many requests as the service answers"
    return [
        f"# `python -m benchmarks.shadow{f' --rate {options.rate}' if options.rate else ''}`",
        "",
        *describe_machine(),
        f"bentoml {version('bentoml')}; {options.preset} is live, another seed of it in shadow of "
        f"{100 * options.share:g} % of the images; load averages at the start: {load}.",
        "",
        f"One image per request, {options.connections} connections, {rate}; medians of {options.runs} runs of"
        f" {options.seconds} s each way, in turn. The ratios are of neighbouring runs: median (smallest to largest).",
        "",
        "| request | requests/s off | on | ratio | p50 off, ms | on | ratio | p99 off, ms | on | ratio"
        " | processor time of the worker off, us per image | on | ratio |",
        "| --- |" + " ---: |" * 12,
        *(row.describe() for row in rows),
        "",
        f"Errors: {sum(one.errors for row in rows for one in (*row.off, *row.on))}. The last run with the shadow: "
        f"{counts.seen:,} images seen, {counts.mirrored:,} mirrored, {skipped}; processor time of the candidate "
        f"{1e6 * counts.cpu_seconds / max(1, counts.mirrored):.0f} us per image.",
        "",
    ]


if __name__ == "__main__":
    main()
