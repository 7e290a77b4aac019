"""Steps of the canary deployment. Each returns what it measured and its bound, or raises `CanaryFailed`."""

import contextlib
import csv
import io
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contract import DataContract, Images
from components.promotion.bounds import GateBounds
from components.promotion.gate import SAME
from components.promotion.server import find_processes
from components.readers.tables.columns import pixel_columns

READY = 60  # seconds until the server must be ready
STOP = 20  # seconds from SIGTERM to exit
REQUESTS = 50  # for the latency median
FILES = 20  # per form
TRUNCATED = b""  # placeholder for an image without its last pixel value
BAD: tuple[tuple[str, bytes, str], ...] = (
    ("/predict", b'{"images": [[[0', "application/json"),
    ("/predict", b'{"images": [[0, 1, 2]]}', "application/json"),
    ("/predict", b'{"images": "none"}', "application/json"),
    ("/predict", TRUNCATED, "application/octet-stream"),
    ("/predict", b"hello", "text/plain"),
    ("/classify", b"not a form", "multipart/form-data; boundary=x"),
    ("/score", b"a,b,c\n1,2,3\n", "text/csv"),
    ("/score", b"PAR1 and nothing else", "application/vnd.apache.parquet"),
)


class CanaryFailed(Exception):
    """The server did not behave as required."""


@dataclass(frozen=True)
class Canary:
    """A running server and the predictions expected from it."""

    process: "subprocess.Popen[bytes]"
    client: httpx.Client
    tag: str
    contract: DataContract  # the model's
    home: Path  # BENTOML_HOME of the server
    images: Images
    expected: NDArray[np.float32]  # probabilities, (n, classes)
    recorded: bool  # True: recorded right after training; False: computed here by the loaded model
    pngs: list[bytes]  # the pictures as files
    expected_of_pngs: NDArray[np.float32]  # as `expected`; with a network, of the small pictures as photos


def _become_ready(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    began = time.monotonic()
    status = "no answer"
    while time.monotonic() < began + READY:
        if canary.process.poll() is not None:
            raise CanaryFailed(f"the server exited with status {canary.process.returncode}")
        with contextlib.suppress(httpx.TransportError):
            answer = canary.client.get("/readyz")
            if answer.is_success:
                described = canary.client.get("/model").json()
                _require_tag(canary, described["model"])
                if described["classes"] != list(canary.contract.classes):
                    raise CanaryFailed("GET /model: the classes differ from the model's")
                return f"after {time.monotonic() - began:.1f} s", f"within {READY} s"
            status = f"{answer.status_code} {answer.text[:300]}"
        time.sleep(0.1)
    raise CanaryFailed(f"not ready within {READY} s: {status}")


def _predict_json(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    return _compare(canary, canary.client.post("/predict", json={"images": canary.images.tolist()}))


def _predict_bytes(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    headers = {"Content-Type": "application/octet-stream"}
    return _compare(canary, canary.client.post("/predict", content=canary.images.tobytes(), headers=headers))


def _classify_png(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    answers = [
        canary.client.post("/classify", files=[("file", ("a.png", content)) for content in some])
        for some in (canary.pngs[start : start + FILES] for start in range(0, len(canary.pngs), FILES))
    ]
    rows = [row for answer in answers for row in _read_predictions(canary, answer)]
    return _compare_rows(canary, rows, canary.expected_of_pngs)


def _score_csv(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    lines = [
        ",".join(pixel_columns(canary.contract.image)),
        *(",".join(map(str, image.ravel().tolist())) for image in canary.images),
    ]
    answer = canary.client.post("/score", content="\n".join(lines), headers={"Content-Type": "text/csv"})
    answer.raise_for_status()
    return _compare_scored(canary, list(csv.DictReader(answer.text.splitlines())))


def _compare_scored(canary: Canary, rows: list[dict[str, Any]]) -> tuple[str, str]:
    confidences = canary.expected_of_pngs.max(axis=1)
    if len(rows) != len(canary.images):
        raise CanaryFailed(f"{len(rows)} rows for {len(canary.images)} images")
    for row in rows:
        _require_tag(canary, row["model"])
    wrong = _find_wrong(canary, rows, canary.expected_of_pngs)
    error = float(np.abs(np.array([float(row["confidence"]) for row in rows]) - confidences).max())
    return _require_same(canary, int(wrong.sum()), error)


def _score_parquet(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    file = io.BytesIO()
    pq.write_table(pa.table({"image": canary.pngs}), file)
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    answer = canary.client.post("/score", content=file.getvalue(), headers=headers).raise_for_status()
    return _compare_scored(canary, pq.read_table(io.BytesIO(answer.content)).to_pylist())


def _refuse_bad_input(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    for path, found, kind in BAD:
        content = found or bytes(canary.contract.dtype.itemsize - 1)
        answer = canary.client.post(path, content=content, headers={"Content-Type": kind})
        if not 400 <= answer.status_code < 500 or "reason" not in answer.text:
            raise CanaryFailed(f"{path} with {content[:40]!r} gave {answer.status_code} {answer.text[:200]}")
    if not canary.client.get("/readyz").is_success:
        raise CanaryFailed("no longer ready after bad input")
    return f"{len(BAD)} of {len(BAD)} refused with 4xx and a reason", "all"


def _answer_in_time(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    def send() -> httpx.Response:
        if canary.contract.embedding:
            return canary.client.post("/classify", files=[("file", ("a.png", canary.pngs[0]))])
        return canary.client.post("/predict", json=body)

    body = {} if canary.contract.embedding else {"images": canary.images[:1].tolist()}
    times = [time.perf_counter()]
    for _ in range(REQUESTS):
        send().raise_for_status()
        times.append(time.perf_counter())
        if times[-1] - times[0] > REQUESTS * bounds.max_request_seconds:
            break
    found = median(np.diff(times).tolist())
    if found > bounds.max_request_seconds:
        raise CanaryFailed(f"{found:.4f} s per request, expected at most {bounds.max_request_seconds:.4f} s")
    return f"{found:.4f} s per request, median", f"at most {bounds.max_request_seconds:.4f} s"


def _stop(canary: Canary, bounds: GateBounds) -> tuple[str, str]:
    began = time.monotonic()
    canary.process.terminate()
    try:
        status = canary.process.wait(STOP)
    except subprocess.TimeoutExpired:
        raise CanaryFailed(f"the server still runs {STOP} s after SIGTERM") from None
    left = psutil.wait_procs(find_processes(canary.home), timeout=5)[1]
    if status or left:
        raise CanaryFailed(f"the server exited with status {status}; {len(left)} of its processes still run")
    return f"after {time.monotonic() - began:.1f} s, status 0", f"within {STOP} s, status 0"


Step = Callable[[Canary, GateBounds], tuple[str, str]]
_LAST: dict[str, Step] = {"bad input": _refuse_bad_input, "time": _answer_in_time, "stop": _stop}
STEPS: dict[str, Step] = {
    "ready": _become_ready,
    "/predict, JSON": _predict_json,
    "/predict, bytes": _predict_bytes,
    "/classify, PNG": _classify_png,
    "/score, CSV": _score_csv,
    **_LAST,
}
STEPS_WITH_NETWORK: dict[str, Step] = {  # the model takes photos, not pixels
    "ready": _become_ready,
    "/predict, records": _predict_bytes,
    "/classify, PNG": _classify_png,
    "/score, Parquet": _score_parquet,
    **_LAST,
}


def _compare(canary: Canary, answer: httpx.Response) -> tuple[str, str]:
    return _compare_rows(canary, _read_predictions(canary, answer), canary.expected)


def _read_predictions(canary: Canary, answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the predictions of a successful answer by this model."""
    if not answer.is_success:
        raise CanaryFailed(f"{answer.status_code} {answer.text[:300]}")
    body = answer.json()
    _require_tag(canary, body["model"])
    rows: list[dict[str, Any]] = body["predictions"]
    return rows


def _require_tag(canary: Canary, found: str) -> None:
    if found != canary.tag:
        raise CanaryFailed(f"answered by {found}, expected {canary.tag}")


def _compare_rows(canary: Canary, rows: list[dict[str, Any]], expected: NDArray[np.float32]) -> tuple[str, str]:
    found = np.array([row["probabilities"] for row in rows])
    if found.shape != expected.shape:
        raise CanaryFailed(f"probabilities of shape {found.shape}, expected {expected.shape}")
    wrong = _find_wrong(canary, rows, expected)
    return _require_same(canary, int(wrong.sum()), float(np.abs(found - expected).max()))


def _find_wrong(canary: Canary, rows: list[dict[str, Any]], expected: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark the rows whose class number or name is wrong, (n,)."""
    labels = expected.argmax(axis=1).tolist()
    names = canary.contract.classes
    return np.array(
        [(int(row["label"]), row["name"]) != (label, names[label]) for row, label in zip(rows, labels, strict=True)]
    )


def _require_same(canary: Canary, wrong: int, error: float) -> tuple[str, str]:
    rows = len(canary.images)
    measured = f"{rows - wrong} of {rows} labels, probabilities within {error:.1e}"
    basis = "the predictions recorded after training" if canary.recorded else "the loaded model's predictions"
    if wrong or not error <= SAME:
        raise CanaryFailed(f"{measured} of {basis}")
    bound = f"all labels, probabilities within {SAME:.0e}"
    return measured, bound if canary.recorded else f"{bound} of {basis}; none were recorded after training"
