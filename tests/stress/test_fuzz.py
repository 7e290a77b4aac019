"""Arbitrary requests cause no server error, and responses match the OpenAPI description. Runs are deterministic."""

import contextlib
import csv
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from fuzz_hooks import MODES, parquet_tables, pictures, tables
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from servers import Server

from components.catalogues.fashion_mnist import CONTRACT
from components.errors import InputError
from components.readers.images.photos import read_photo
from components.settings import CHECKOUT

pytestmark = pytest.mark.slow
CASES = {"/predict": 100, "/classify": 2400, "/score": 2400}  # generating the JSON of an image is slow
FEWEST = 5000
DISABLED = ("/corrections", *(f"/review/{name}" for name in ("next", "label", "skip", "undo")))  # in this server
SAME = examples(deadline=None, database=None, derandomize=True)
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        yield client
    assert not re.findall(r"Traceback|\(status=5", server.log.read_text())


def write_settings(folder: Path) -> Path:
    """Write the configuration of schemathesis: cases per endpoint, and the statuses allowed for invalid ones."""
    lines = ["[checks]", "negative_data_rejection.expected-statuses = [400, 405, 409, 413, 415]"]
    for path, number in CASES.items():
        lines += ["[[operations]]", f'include-path = "{path}"', f"generation.max-examples = {number}"]
    for path in DISABLED:
        lines += ["[[operations]]", f'include-path = "{path}"', "generation.max-examples = 50"]
        lines += ["checks.negative_data_rejection.expected-statuses = [400, 403, 405, 413, 415]"]
    file = folder / "schemathesis.toml"
    file.write_text("\n".join(lines))
    return file


def test_five_thousand_responses_match_the_openapi_description(server: Server, tmp_path: Path) -> None:
    """Statuses, content types, schemas and methods match; valid requests are accepted, invalid ones refused."""
    program = str(Path(sys.executable).with_name("st"))
    command = [program, "--config-file", str(write_settings(tmp_path)), "run", f"{server.url}/openapi.json"]
    options = ["--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--no-color"]
    ours = {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": f"{CHECKOUT / 'tests' / 'support'}:{CHECKOUT}"}
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env={**os.environ, **ours}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (cases,) = re.findall(r"(\d+) generated, \1 passed", done.stdout)
    assert int(cases) >= FEWEST
    logged = server.log.read_text()
    assert len(re.findall(r"path=/(?:predict|classify|score|model)\b", logged)) >= FEWEST
    assert not re.findall(r"Traceback|\(status=5", logged)


# --- pictures ---


def holds_or_says_why(content: bytes) -> None:
    with contextlib.suppress(InputError):  # any other exception is a bug
        images = read_photo(content, CONTRACT)
        assert images.dtype == np.uint8
        assert images.shape == (1, 28, 28)


@st.composite
def harmed(draw: st.DrawFn, whole: bytes) -> bytes:
    """Replace, remove or insert bytes at up to three places, or truncate the content."""
    content = whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        content = content[:start] + draw(st.binary(max_size=4)) + content[start + draw(st.integers(0, 4)) :]
    return content


@pytest.mark.parametrize("form", MODES)
@examples(SAME, max_examples=400)
@given(data=st.data())
def test_harmed_pictures_are_read_or_refused(form: str, data: st.DataObject) -> None:
    holds_or_says_why(data.draw(pictures(form, odd_exif=data.draw(st.booleans())).flatmap(harmed)))


@pytest.mark.parametrize("form", MODES)
@examples(SAME, max_examples=150)
@given(data=st.data())
def test_harmed_pictures_are_answered_over_http(client: httpx.Client, form: str, data: st.DataObject) -> None:
    content = data.draw(pictures(form, odd_exif=data.draw(st.booleans())).flatmap(harmed))
    answer = client.post("/classify?seen=true", content=content, headers=PNG)
    assert answer.status_code in {200, 400, 413}, answer.text


@examples(SAME, max_examples=300)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.sampled_from(["PNG", "BMP", "GIF"]))
def test_a_size_that_is_not_the_pictures_own_is_read_or_refused(width: int, height: int, form: str) -> None:
    file = io.BytesIO()
    Image.new("L", (3, 3)).save(file, form)
    content = bytearray(file.getvalue())
    place, kind = {"PNG": (16, ">II"), "BMP": (18, "<II"), "GIF": (6, "<HH")}[form]
    bound = 0xFFFF if form == "GIF" else 0xFFFFFFFF
    struct.pack_into(kind, content, place, width & bound, height & bound)
    holds_or_says_why(bytes(content))


# --- bodies ---


@examples(SAME, max_examples=300)
@given(tables().flatmap(harmed))
def test_harmed_tables_are_scored_or_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/score", content=body, headers=CSV)
    assert answer.status_code in {200, 400}, answer.text
    if answer.is_success:
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(rows) == len(body.removesuffix(b"\n").split(b"\n")) - 1
        assert all(bool(row["label"]) != bool(row["reason"]) for row in rows)


@examples(SAME, max_examples=300)
@given(parquet_tables().flatmap(harmed))
def test_harmed_parquet_is_scored_refused_or_broken_off(client: httpx.Client, body: bytes) -> None:
    try:
        answer = client.post("/score", content=body, headers=PARQUET)
    except httpx.RemoteProtocolError:  # the fault was found after the answer had begun
        return
    assert answer.status_code in {200, 400, 413}, answer.text
    if answer.is_success:
        found = pq.ParquetFile(io.BytesIO(answer.content))
        said = found.metadata.metadata
        assert found.metadata.num_rows == int(said[b"rows"]) == int(said[b"scored"]) + int(said[b"rejected"])


NUMBERS: st.SearchStrategy[Any] = st.integers(-(2**70), 2**70) | st.sampled_from(
    [0, 255, 256, -1, 1.5, 1e300, True, None, "0", "\ud800", [], {}]
)
IMAGES = st.lists(st.lists(st.lists(NUMBERS, max_size=3) | NUMBERS, max_size=29) | NUMBERS, max_size=3)


@examples(SAME, max_examples=400)
@given(st.fixed_dictionaries({"images": IMAGES}) | st.dictionaries(st.text(max_size=5), IMAGES, max_size=2))
def test_json_of_any_nesting_is_answered_or_refused(client: httpx.Client, document: dict[str, Any]) -> None:
    answer = client.post("/predict", content=json.dumps(document).encode(), headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["reason"]


@examples(SAME, max_examples=300)
@given(
    harmed(b"--cut\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nBM\r\n--cut--\r\n"), st.text(max_size=9)
)
def test_harmed_forms_are_refused(client: httpx.Client, body: bytes, boundary: str) -> None:
    for cut in ("cut", boundary.encode("ascii", "ignore").decode()):
        kind = ("multipart/form-data; boundary=" + "".join(filter(str.isprintable, cut))).rstrip()  # the client refuses
        answer = client.post("/classify", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["reason"]


# --- below the level of requests ---

REQUEST = (
    b"POST /predict?top=3 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n310\r\n" + bytes(784) + b"\r\n0\r\n\r\n"
)


@examples(SAME, max_examples=400)
@given(harmed(REQUEST))
def test_what_is_no_http_is_refused_or_waited_for(server: Server, content: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert re.match(rb"HTTP/1\.1 ([1234]\d\d|50[15]) |$", answer), answer[:200]
