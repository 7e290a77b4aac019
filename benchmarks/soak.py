"""Soak test: run the whole system on compressed schedules, under constant load, with two kills.

    .venv/bin/python -m benchmarks.soak [--minutes 20] [--rate 30] [--keep]

Starts the stack like `make up`, with temporary homes and free ports, on the data of FASHION_SOURCE. A training runs
every two minutes (`dense-128`, each with another seed), the drift check and the inbox every minute. A file is dropped
into the inbox every minute. The maintenance runs once, after files have been backdated. One client sends requests at a
constant rate. Midway, the worker and then the service are killed with SIGKILL. Writes benchmarks/results/soak.md and
exits with status 1 if a guarantee was broken. `--keep` keeps the temporary homes.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from benchmarks.soak_page import PAGE, Soak, judge, write_page
from benchmarks.soak_plan import MAINTENANCE, MINUTE, TRAINING, Plan, age, drop
from benchmarks.soak_samples import Sampler
from benchmarks.soak_traffic import Client, tally
from components.dataset.manifest import Examples, describe, read_manifest, read_split
from ops import supervisor
from ops.catalogues import find_scheduled
from ops.environment import prepare
from ops.layout import HOST, StackLayout, read_layout
from ops.start import bring_up

EVERY = 5.0  # seconds between samples of memory and disk
OLDER = 3.0  # hours by which files are backdated before the maintenance
KEEP = 3  # models to keep in addition to those that are never removed
IMAGES = 2_000  # of the test split, sent by the client


def main() -> int:
    """Run the soak test and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=30, help="requests per second")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        with up(folder) as layout:
            soak = run(layout, folder, options.minutes * MINUTE, options.rate)
        soak.left = len(supervisor.marked(layout))
        write_page(soak)
        print(PAGE.read_text())
        return int(not all(guarantee.is_kept for guarantee in judge(soak)))
    finally:
        if options.keep:
            log(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def up(folder: Path) -> Iterator[StackLayout]:
    """Run the stack in a folder, like `make up`, until the block ends."""
    ours = ("PREFECT_", "FASHION_INBOX", "FASHION_PREDICTION", "FASHION_GATE", "FASHION_NOTIFY")
    for name in [name for name in os.environ if name.startswith(ours) and "ANALYTICS" not in name]:
        del os.environ[name]
    homes = {"BENTOML_HOME": folder / "bentoml", "FASHION_DATA_DIR": folder / "data"}
    ports = {name: str(free_port()) for name in ("PORT", "PREFECT_PORT")}
    os.environ.update({**{name: str(home) for name, home in homes.items()}, **ports})
    prepare()
    (folder / "data" / "inbox" / "scoring").mkdir(parents=True)
    layout = read_layout()
    try:
        bring_up(layout, find_scheduled(""), log)
        yield layout
    finally:
        log("stopping")
        supervisor.stop(layout)


def run(layout: StackLayout, folder: Path, seconds: float, rate: float) -> Soak:
    """Run the client, the sampler and the disturbances until the time is up."""
    plan, service = Plan(layout.api), f"http://{HOST}:{layout.port}"
    plan.pause()
    log("the first training")
    state = plan.finish(plan.start(TRAINING, {"preset": "dense-128", "epochs": 2, "seed": 0}))
    if state != "COMPLETED":
        raise SystemExit(f"the first training ended {state}; {layout.logs / 'worker.log'}")
    wait_until_ready(service)
    examples = read_test_images(folder / "data" / "datasets")
    client = Client(service, examples.images[:IMAGES], rate)
    sampler = Sampler(layout, {"bentoml": folder / "bentoml", "data": folder / "data"}, EVERY)
    soak = Soak(began=time.time(), first_load=os.getloadavg()[0])
    plan.compress(seconds)
    client.start()
    sampler.start()
    disturb(soak, layout, plan, folder, examples, seconds)
    plan.pause()
    log("waiting for active runs")
    plan.drain(5 * MINUTE)
    client.stop()
    sampler.stop()
    soak.ended = time.time()
    soak.traffic = tally(client.answers, soak.killed.get("service"))
    soak.samples, soak.runs = sampler.samples, plan.runs()
    soak.scored = len(list((folder / "data" / "inbox" / "scoring" / "done").iterdir()))
    soak.models, soak.moves = fashion("models"), fashion("history")
    return soak


def disturb(soak: Soak, layout: StackLayout, plan: Plan, folder: Path, examples: Examples, seconds: float) -> None:
    """Drop a file each minute until 90 seconds before the end, kill two processes, backdate files, run maintenance."""
    inbox = folder / "data" / "inbox" / "scoring"
    due = [("worker", 0.5), ("service", 0.6), ("maintenance", 0.8)]
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        if soak.dropped * MINUTE <= min(passed, seconds - 1.5 * MINUTE):
            drop(inbox, soak.dropped, examples)
            soak.dropped += 1
        if due and passed >= due[0][1] * seconds:
            what = due.pop(0)[0]
            log(f"{what}, after {passed:.0f} seconds")
            if what == "maintenance":
                age(
                    [folder / "bentoml" / "models", folder / "bentoml" / "fashion", folder / "data" / "datasets"], OLDER
                )
                plan.start(MAINTENANCE, {"keep_models": KEEP})
            else:
                kill(soak, layout, what)
        time.sleep(0.5)


def kill(soak: Soak, layout: StackLayout, name: str) -> None:
    """Send SIGKILL to the process of a component, not to its children, and wait until it is restarted."""
    before = supervisor.describe(layout)[name]["pid"]
    soak.killed[name] = time.time()
    psutil.Process(before).kill()
    while supervisor.describe(layout)[name]["pid"] in {0, before}:
        time.sleep(0.1)
    soak.back[name] = time.time()


def wait_until_ready(service: str) -> None:
    """Wait until the service is ready, i.e. has loaded the live model."""
    while not httpx.get(f"{service}/readyz", timeout=30, trust_env=False).is_success:
        time.sleep(0.5)


def read_test_images(datasets: Path) -> Examples:
    """Read the test split of the only dataset."""
    (manifest,) = datasets.glob("*.json")
    return read_split(describe(manifest, read_manifest(manifest)), "test")


def fashion(command: str) -> list[dict[str, object]]:
    """Run a command and return its JSON output."""
    done = subprocess.run(
        [sys.executable, "-m", "fashion", command, "--json"], capture_output=True, text=True, check=True
    )
    output: list[dict[str, object]] = json.loads(done.stdout)
    return output


def free_port() -> int:
    """A port that is currently free."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def log(line: str) -> None:
    """Print a line with the time to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
