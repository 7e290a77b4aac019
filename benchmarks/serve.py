"""Compare the throughput of the service with the same model in FastAPI, in LitServe and with BentoML's own batching.

    .venv/bin/python -m benchmarks.serve [--preset dense-128] [--runs 3] [--seconds 3] [--connections 1 8 32 128]

Requires `wrk`, and LitServe in `.venv-bench` (`make .venv-bench/ready`). The servers run on core 0, the load generator
on core 1; the servers are tested in turn, and the others are suspended meanwhile. Ours runs under `bentoml serve` with
metrics, access log and prediction log, FastAPI and the empty handler under uvicorn without an access log; all use
uvloop and httptools. The empty handler reads the body and returns `{}`: the most that is possible. LitServe accepts
JSON and forms, BentoML's batching only JSON.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.train import describe_machine
from components.contract import Images, Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.evaluation.card import write_card
from components.readers.images.photos import write_png
from components.settings import CHECKOUT
from components.training.presets import PRESETS, configure
from components.training.train import train

BIN = Path(sys.executable).parent
SERVER_CORE, LOAD_CORE = "0", "1"
JSON, BYTES = "application/json", "application/octet-stream"
BOUNDARY = "wrk"
SHORT = {"flagship": {"epochs": 2, "schedule": "constant"}}  # overrides of a preset; they do not affect its speed
NOTES = """
Each cell: requests per second, p50 and p99 in milliseconds (medians of the runs), and the number of errors, if any.
x FastAPI: requests per second relative to FastAPI.
"""


@dataclass(frozen=True)
class Payload:
    """One kind of request."""

    name: str
    content_type: str
    body: bytes
    paths: dict[str, str]  # server -> path; servers that are missing do not support such a body
    max_connections: int = 128


@dataclass(frozen=True)
class Load:
    """What a load generator measured."""

    requests: float  # per second
    p50: float  # milliseconds
    p99: float
    errors: int  # socket errors and responses other than 2xx


def main() -> None:
    """Run everything, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="dense-128")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "serve.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed. Install your distribution's package wrk")
    packages = ", ".join(f"{name} {version(name)}" for name in ("bentoml", "fastapi", "uvicorn", "starlette"))
    lines = ["# `python -m benchmarks.serve`", "", *describe_machine(), f"{packages}; {options.preset} is live."]
    print(*lines, sep="\n", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"FASHION_DATA_DIR": name, "BENTOML_HOME": str(folder / "bentoml"), "GOMP_SPINCOUNT": "100"}
        payloads = prepare(folder, options.preset)
        with contextlib.ExitStack() as stack:
            servers = {server: stack.enter_context(started(server, folder)) for server in COMMANDS}
            for server in servers.values():
                server.suspend()
            for payload in payloads:
                lines += describe_payload(payload, servers, options, folder)
                print(*lines[-len(options.connections) - 4 :], sep="\n", file=sys.stderr)
            memory = {name: resident(server.port) for name, server in servers.items()}
    lines += ["", "Memory afterwards: " + ", ".join(f"{server} {size:.0f} MB" for server, size in memory.items())]
    text = "\n".join([*lines, NOTES])
    options.to.write_text(text)
    print(text)


def prepare(folder: Path, preset: str) -> list[Payload]:
    """Train a model, make it live, and build the requests from the test images."""
    from components.registry import champion, store

    dataset = ingest().dataset
    receipt = Validated(dataset, expectations=0, docs=Path(), checked_at="")
    trained = train(receipt, configure(preset, SHORT.get(preset)))
    champion.make_live(store.save_model(trained.network, write_card(preset, receipt, trained)), "a benchmark")
    return make_payloads(read_split(dataset, "test").images)


def make_payloads(images: Images) -> list[Payload]:
    """Build the requests from the first images."""
    json_paths = {**dict.fromkeys(COMMANDS, "/predict"), "empty": "/"}
    byte_paths = {"ours": "/predict", "FastAPI": "/bytes", "empty": "/"}
    form_paths = {"ours": "/classify", "FastAPI": "/classify", "LitServe": "/predict", "empty": "/"}
    form = f"multipart/form-data; boundary={BOUNDARY}"
    return [
        Payload("one image, JSON", JSON, as_json(images[:1]), json_paths),
        Payload("one image, bytes", BYTES, images[:1].tobytes(), byte_paths),
        Payload("64 images, JSON", JSON, as_json(images[:64]), json_paths),
        Payload("64 images, bytes", BYTES, images[:64].tobytes(), byte_paths),
        Payload("one PNG, form", form, as_form(images[0]), form_paths),
        Payload("1,000 images, JSON", JSON, as_json(images[:1000]), json_paths, max_connections=1),
        Payload("1,000 images, bytes", BYTES, images[:1000].tobytes(), byte_paths, max_connections=1),
    ]


def as_json(images: Images) -> bytes:
    """Encode images as a JSON body."""
    return json.dumps({"images": images.tolist()}).encode()


def as_form(image: Images) -> bytes:
    """Encode an image as a multipart form with one file."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n'
    )
    return head.encode() + b"\r\n" + write_png(image) + f"\r\n--{BOUNDARY}--\r\n".encode()


UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--host", "127.0.0.1", "--port", "{port}"]
BENTOML = [str(BIN / "bentoml"), "serve", "--host", "127.0.0.1", "--port", "{port}"]
COMMANDS = {
    "ours": [*BENTOML, str(CHECKOUT)],
    "FastAPI": [*UVICORN, "benchmarks.servers.fastapi_app:app"],
    "LitServe": [sys.executable, "-m", "benchmarks.servers.litserve_app", "{port}"],
    "BentoML batching": [*BENTOML, "benchmarks.servers.bentoml_app:Batched"],
    "empty": [*UVICORN, "benchmarks.servers.empty_app:app"],
}


@dataclass(frozen=True)
class Server:
    """A running server, in a process group of its own."""

    port: int
    group: int

    def suspend(self) -> None:
        """Stop all of its processes, so that they take no time from another server."""
        os.killpg(self.group, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue them."""
        os.killpg(self.group, signal.SIGCONT)


@contextlib.contextmanager
def started(server: str, folder: Path) -> Iterator[Server]:
    """Start a server on a free port and yield it once it responds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["taskset", "-c", SERVER_CORE, *(part.format(port=port) for part in COMMANDS[server])]
    with (folder / f"{server}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 90
            while not answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{server} did not start:\n{(folder / f'{server}.log').read_text()}")
                time.sleep(0.2)
            yield Server(port, process.pid)
        finally:
            os.killpg(process.pid, signal.SIGCONT)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # LitServe leaves workers behind


def answers(port: int) -> bool:
    """Whether a server responds, with any status."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def describe_payload(
    payload: Payload, servers: dict[str, Server], options: argparse.Namespace, folder: Path
) -> list[str]:
    """The table of one kind of request."""
    tested = {name: server for name, server in servers.items() if name in payload.paths}
    lines = ["", f"## {payload.name}", "", f"| connections | {' | '.join(tested)} | x FastAPI |"]
    lines.append("| ---: |" + " ---: |" * (len(tested) + 1))
    for connections in (one for one in options.connections if one <= payload.max_connections):
        found: dict[str, list[Load]] = {name: [] for name in tested}
        for _ in range(options.runs):
            for name, server in tested.items():
                url = f"http://127.0.0.1:{server.port}{payload.paths[name]}"
                server.resume()
                found[name].append(run_wrk(url, payload, connections, options.seconds, folder))
                server.suspend()
        cells = [describe(loads) for loads in found.values()]
        rate = {name: statistics.median(load.requests for load in loads) for name, loads in found.items()}
        ratio = f"{rate['ours'] / rate['FastAPI']:.2f}" if rate["FastAPI"] else "none finished"
        lines.append(f"| {connections} | {' | '.join(cells)} | {ratio} |")
    return lines


def run_wrk(url: str, payload: Payload, connections: int, seconds: int, folder: Path) -> Load:
    """Run wrk for some seconds, after a warm-up of one second."""
    (folder / "body").write_bytes(payload.body)
    script = folder / "request.lua"
    script.write_text(
        f'local file = io.open("{folder / "body"}", "rb")\nwrk.method = "POST"\nwrk.body = file:read("*a")\n'
        f'wrk.headers["Content-Type"] = "{payload.content_type}"\n'
    )
    for duration in (1, seconds):
        command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{duration}s", "--latency"]
        text = subprocess.run([*command, "-s", str(script), url], capture_output=True, text=True, check=True).stdout
    return read_wrk(text)


def read_wrk(text: str) -> Load:
    """Parse the output of wrk."""

    def latency(share: str) -> float:
        number, unit = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)\s*$", text, re.MULTILINE).groups()  # type: ignore[union-attr]
        return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    errors = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    errors += sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))  # type: ignore[union-attr]
    return Load(rate, latency("50"), latency("99"), errors)


def describe(loads: list[Load]) -> str:
    """A table cell."""
    rate, p50, p99 = (statistics.median(getattr(load, name) for load in loads) for name in ("requests", "p50", "p99"))
    errors = sum(load.errors for load in loads)
    return f"{rate:,.0f}/s, {p50:.1f}, {p99:.1f}" + (f", **{errors} errors**" if errors else "")


def resident(port: int) -> float:
    """Memory of the processes that listen on a port, MB."""
    listening = {one.pid for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == port and one.pid}
    return sum(psutil.Process(pid).memory_info().rss for pid in listening) / 1e6


if __name__ == "__main__":
    main()
