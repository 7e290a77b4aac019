"""The service over HTTP: what it answers, what it refuses and how, and that it stays up."""

import asyncio
import base64
import contextlib
import csv
import gzip
import hashlib
import http.client
import io
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asked import (  # noqa: F401, fixtures
    BYTES,
    CSV,
    JSON,
    NOISE,
    PARQUET,
    PNG,
    Live,
    announce,
    assert_refused,
    begin,
    client,
    dumps,
    encode,
    half_sure,
    live,
    pictures,
    table,
)
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from readings import PIXEL_COLUMNS
from servers import SERVICE_TOKEN, Server
from starlette.applications import Starlette

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Images
from components.readers.images.photos import read_photo, read_views
from components.scoring.answers import answer_schema
from components.scoring.job import rejects_path, run_job
from components.scoring.predict import predict, predict_photos
from serving.bodies import LARGEST_JSON, LARGEST_TABLE, LARGEST_UPLOAD
from serving.endpoints import ENDPOINTS as SERVED_PATHS
from serving.forms import MAX_FILES
from serving.gateway import Gateway
from serving.live import Serving, served
from serving.openapi import describe_api
from serving.pages import PATHS

pytestmark = pytest.mark.slow
ENDPOINTS = [("/predict", JSON), ("/classify", PNG), ("/score", CSV)]
FORM = {"Content-Type": "multipart/form-data; boundary=cut"}


def wait_for_line(server: Server, seen: int, marker: str) -> str:
    """Return what was logged after the first `seen` bytes, once it contains the marker."""
    deadline = time.monotonic() + 10
    while marker not in (logged := server.log.read_bytes()[seen:].decode()) or not logged.endswith("\n"):
        assert time.monotonic() < deadline, logged
        time.sleep(0.05)
    return logged


# --- what it answers ---


@pytest.mark.parametrize("number", [1, 20])
def test_predict_answers_as_the_library_does(live: Live, client: httpx.Client, pictures: Images, number: int) -> None:
    answer = client.post("/predict", content=dumps(pictures[:number].tolist()), headers=JSON)
    assert answer.headers["content-type"] == "application/json"
    expected = predict(live.model, pictures[:number])
    body = answer.json()
    assert body["model"] == live.model.tag
    rows = np.array([row["probabilities"] for row in body["predictions"]])
    np.testing.assert_allclose(rows, expected.probabilities, rtol=0, atol=1e-6)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-6)
    assert [row["label"] for row in body["predictions"]] == expected.labels.tolist()
    assert [row["name"] for row in body["predictions"]] == expected.names
    assert [row["confidence"] for row in body["predictions"]] == rows.max(axis=1).tolist()
    assert [row["sure"] for row in body["predictions"]] == expected.sure.tolist()
    assert expected.known is not None
    assert expected.familiarity is not None
    assert [row["known"] for row in body["predictions"]] == expected.known.tolist()
    assert [row["familiarity"] for row in body["predictions"]] == pytest.approx(expected.familiarity.tolist(), abs=1e-3)
    assert number == 1 or set(expected.sure.tolist()) == {True, False}


def test_nested_and_flat_pixels_are_the_same_image(client: httpx.Client, pictures: Images) -> None:
    square = client.post("/predict", content=dumps(pictures.tolist()), headers=JSON)
    flat = client.post("/predict", content=dumps(pictures.reshape(-1, 784).tolist()), headers=JSON)
    assert square.is_success
    assert flat.json() == square.json()


def test_bytes_and_numbers_are_the_same_images(client: httpx.Client, pictures: Images) -> None:
    numbers = client.post("/predict", content=dumps(pictures.tolist()), headers=JSON)
    assert client.post("/predict", content=pictures.tobytes(), headers=BYTES).json() == numbers.json()


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "found 0 bytes, expected a multiple of 784"),
        (bytes(783), 400, "found 783 bytes"),
        (bytes(785), 400, "found 785 bytes"),
        (bytes(784 * 1025), 413, "found 1,025 images, expected at most 1,024"),
    ],
)
def test_bytes_that_are_not_images_are_refused(client: httpx.Client, body: bytes, status: int, reason: str) -> None:
    assert_refused(client.post("/predict", content=body, headers=BYTES), status, "body", reason)


def test_1024_images_as_bytes_are_answered(live: Live, client: httpx.Client, pictures: Images) -> None:
    images = np.resize(pictures, (1024, 28, 28))
    answer = client.post("/predict", content=images.tobytes(), headers=BYTES).json()
    assert [row["label"] for row in answer["predictions"]] == predict(live.model, images).labels.tolist()


@pytest.mark.parametrize("top", [1, 3, 10])
def test_the_likeliest_classes_are_named_on_request(
    live: Live, client: httpx.Client, pictures: Images, top: int
) -> None:
    answer = client.post(f"/predict?top={top}", content=pictures.tobytes(), headers=BYTES).json()
    expected = predict(live.model, pictures).probabilities
    for prediction, row in zip(answer["predictions"], expected, strict=True):
        assert [one["label"] for one in prediction["top"]] == np.argsort(-row, kind="stable")[:top].tolist()
        assert [one["name"] for one in prediction["top"]] == [CLASSES[one["label"]] for one in prediction["top"]]
        shares = [one["probability"] for one in prediction["top"]]
        assert shares == pytest.approx(sorted(row.tolist(), reverse=True)[:top], abs=1e-6)


@pytest.mark.parametrize("top", ["11", "-1", "1.5", "three", "", "99999999999999999999", "\u0663"])
@pytest.mark.parametrize(("path", "headers"), [("/predict", JSON), ("/classify", PNG)])
def test_an_invalid_top_is_refused(client: httpx.Client, path: str, headers: dict[str, str], top: str) -> None:
    answer = client.post(path, params={"top": top}, content=b"{}", headers=headers)
    assert_refused(answer, 400, "top", "expected a whole number from 0 to 10")


@pytest.mark.parametrize(("path", "headers", "name"), [("/classify", PNG, "seen"), ("/score", CSV, "rejects")])
def test_an_invalid_boolean_parameter_is_refused(
    client: httpx.Client, path: str, headers: dict[str, str], name: str
) -> None:
    answer = client.post(path, params={name: "True"}, content=b"", headers=headers)
    assert_refused(answer, 400, name, "found 'True', expected true or false")


def test_the_model_input_is_returned_on_request(client: httpx.Client, pictures: Images) -> None:
    (plain,) = client.post("/classify", content=encode(pictures[0]), headers=PNG).json()["predictions"]
    assert "seen" not in plain
    (answer,) = client.post("/classify?seen=true", content=encode(pictures[0]), headers=PNG).json()["predictions"]
    kind, _, content = answer["seen"].partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as seen:
        assert np.array_equal(np.asarray(seen), pictures[0])


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP"])
def test_other_picture_formats_are_answered(live: Live, client: httpx.Client, pictures: Images, form: str) -> None:
    photo = encode(pictures[0], form)
    expected = predict(live.model, read_photo(photo, CONTRACT)).probabilities[0].tolist()
    headers = {"Content-Type": f"image/{form.lower()}"}
    (answer,) = client.post("/classify", content=photo, headers=headers).json()["predictions"]
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_image_is_answered_and_never_sure(client: httpx.Client, pictures: Images, level: int) -> None:
    images = np.concatenate([pictures[:2], np.full((1, 28, 28), level, np.uint8)])
    files = [("files", (f"{row}.png", encode(image), "image/png")) for row, image in enumerate(images)]
    for answer in (
        client.post("/predict", content=dumps(images.tolist()), headers=JSON),
        client.post("/predict", content=images.tobytes(), headers=BYTES),
        client.post("/classify", files=files),
    ):
        assert answer.json()["predictions"][2]["sure"] is False
        (warning,) = answer.json()["warnings"]
        assert (warning["kind"], warning["images"]) == ("blank", [2])
        assert "noise in 1 of 3 images" in warning["reason"]
    alone = client.post("/predict", content=images[2].tobytes(), headers=BYTES).json()
    assert [row["sure"] for row in alone["predictions"]] == [False]
    assert client.post("/predict", content=images[:2].tobytes(), headers=BYTES).json()["warnings"] == []


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda images: 255 - images, "; the background must be black: send 255 minus each pixel"),
        (lambda images: images // 255, "; pixels are 0 to 255: multiply those of 0 to 1 by 255"),
    ],
    ids=["inverted", "0 to 1"],
)
def test_images_that_cannot_be_right_are_refused(
    client: httpx.Client, pictures: Images, spoil: Callable[[Images], Images], reason: str, count: int
) -> None:
    images = spoil(pictures[:count])
    assert_refused(client.post("/predict", content=dumps(images.tolist()), headers=JSON), 400, "images", reason)
    assert_refused(client.post("/predict", content=images.tobytes(), headers=BYTES), 400, "body", reason)
    assert_refused(client.post("/score", content=as_csv(images), headers=CSV), 400, "body", reason)
    assert_refused(client.post("/score", content=as_pixels(images), headers=PARQUET), 400, "body", reason)


def test_numbers_sent_as_their_bytes_are_refused(client: httpx.Client, pictures: Images) -> None:
    body = (pictures / 255).astype(np.float32).tobytes()
    assert_refused(
        client.post("/predict", content=body, headers=BYTES),
        400,
        "body",
        "float32 numbers, expected one byte per pixel, from 0 to 255. Send (pixels",
    )
    fractions = dumps((pictures[:1] / 255).tolist())
    assert_refused(
        client.post("/predict", content=fractions, headers=JSON), 400, "images[0][0][0]", "by 255 and round them"
    )


def test_a_table_with_a_blank_row_is_scored_with_a_warning(client: httpx.Client, pictures: Images) -> None:
    blank = np.concatenate([pictures[:2], pictures[:1] * 0])
    for body, headers in ((as_csv(blank), CSV), (as_pixels(blank), PARQUET)):
        answer = client.post("/score", content=body, headers=headers)
        (warning,) = json.loads(answer.headers["x-warnings"])
        assert warning["kind"] == "blank"
        assert warning["reason"].startswith("nothing but one colour or noise in 1 of 3 images")
    rows = list(csv.DictReader(client.post("/score", content=as_csv(blank), headers=CSV).text.splitlines()))
    assert rows[2]["sure"] == "no"
    assert "x-warnings" not in client.post("/score", content=as_csv(pictures), headers=CSV).headers


def test_an_ambiguous_table_is_refused_with_the_choices(client: httpx.Client, pictures: Images) -> None:
    """It holds pixels, and files in another column. Rows with unreadable labels are scored as well."""
    wide = {name: pictures[:3].reshape(-1, 784)[:, place] for place, name in enumerate(PIXEL_COLUMNS)}
    files = [{"bytes": encode(picture), "path": None} for picture in pictures[:3]]
    body = io.BytesIO()
    pq.write_table(pa.table({"image": files, "label": ["?", "", "Bag"], **wide}), body)
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    message = "?drop=image scores the pixels, ?drop=pixels scores the files"
    assert_refused(client.post("/score", content=body.getvalue(), headers=headers), 400, "body", message)
    answers = [
        pq.read_table(io.BytesIO(client.post(f"/score?drop={name}", content=body.getvalue(), headers=headers).content))
        for name in ("image", "pixels")
    ]
    assert answers[0]["label"].to_pylist() == answers[1]["label"].to_pylist()
    assert answers[0]["reason"].to_pylist() == [None] * 3


def test_warnings_are_counted_by_kind(client: httpx.Client, pictures: Images) -> None:
    images = np.concatenate([pictures[:2], 255 - pictures[:1], pictures[:2] * 0])

    def counts() -> list[float]:
        output = client.get("/metrics").text
        found = dict(re.findall(r'^fashion_input_warnings_total\{kind="(\w+)"\} (\S+)$', output, re.MULTILINE))
        return [float(found.get(kind, 0)) for kind in ("inverted", "blank")]

    before = counts()
    assert client.post("/predict", content=images.tobytes(), headers=BYTES).is_success
    assert [after - then for after, then in zip(counts(), before, strict=True)] == [1, 2]


def test_responses_match_the_openapi_description(client: httpx.Client, pictures: Images, table: bytes) -> None:
    document = client.get("/openapi.json").json()

    def check(answer: httpx.Response, method: str) -> None:
        described = document["paths"][answer.url.path][method]["responses"][str(answer.status_code)]
        kind = answer.headers["content-type"].partition(";")[0]
        schema = described["content"][kind]["schema"]
        if kind == "application/json":
            jsonschema.validate(answer.json(), {**schema, "components": document["components"]})

    image, form = encode(pictures[0]), {"files": ("a.png", encode(pictures[0]), "image/png")}
    check(client.post("/predict?top=3", content=dumps(pictures.tolist()), headers=JSON), "post")
    check(client.post("/predict", content=b"[]", headers=JSON), "post")
    check(client.post("/predict", content=b"", headers=CSV), "post")
    check(client.post("/predict", content=bytes(784 * 1025), headers=BYTES), "post")
    check(client.post("/classify?seen=true&top=2", content=image, headers=PNG), "post")
    check(client.post("/classify", files=form), "post")
    check(client.post("/classify", content=b"no picture", headers=PNG), "post")
    check(client.post("/score", content=table, headers=CSV), "post")
    check(client.post("/score", content=b"a,b", headers=CSV), "post")
    check(client.post("/score", content=as_parquet(pictures), headers=PARQUET), "post")
    check(client.get("/model"), "get")
    check(client.get("/model", headers={"Host": "elsewhere.example"}), "get")


def test_the_examples_in_the_openapi_description_match_their_schemas() -> None:
    api = describe_api(CONTRACT)
    kinds = [
        kind
        for path in api["paths"].values()
        for operation in path.values()
        for answer in operation["responses"].values()
        for kind in answer.get("content", {}).values()
    ]
    for kind in kinds:
        if kind["schema"].get("format") != "binary":
            jsonschema.validate(kind["example"], {**kind["schema"], "components": api["components"]})


def test_the_openapi_description_lists_exactly_the_endpoints() -> None:
    ours = SERVED_PATHS.keys() - {*PATHS, "/openapi.json"}
    assert ours | {"/readyz", "/livez", "/metrics"} == set(describe_api(CONTRACT)["paths"])


def test_every_response_has_security_headers(client: httpx.Client) -> None:
    for answer in (client.get("/"), client.get("/model"), client.get("/nothing"), client.post("/predict")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none';")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.xdist_group("server")  # shares the guarded service
def test_with_a_token_set_requests_without_it_are_refused(guarded: Server, pictures: Images) -> None:
    body = dumps(pictures.tolist())
    with guarded.client() as client:
        for sent in (None, "", "Bearer", "Bearer a long", "Bearer a long secret!", "Basic a long secret"):
            headers = {**JSON, **({} if sent is None else {"Authorization": sent})}
            answer = client.post("/predict", content=body, headers=headers)
            assert_refused(answer, 401, "authorization", "missing or invalid bearer token")
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/model", "/openapi.json", "/nothing", "/healthz", "/schema.json"):
            assert client.get(path).status_code == 401
        for path in ("/", "/page.js", "/docs", "/livez", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
        for encoding in ("utf-8", "latin-1"):
            sent_as = {b"Authorization": f"bearer {SERVICE_TOKEN}".encode(encoding)}
            assert client.get("/model", headers=sent_as).is_success
            assert client.get("/healthz", headers=sent_as).is_success
    assert "a long secret" not in guarded.log.read_text()


def test_requests_are_counted_by_outcome_immediately(client: httpx.Client, pictures: Images) -> None:
    def count(metric: str, status: int) -> float:
        name = f'bentoml_service_{metric}{{endpoint="/predict",http_response_code="{status}",'
        lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    names = [("request_total", 200), ("request_total", 400), ("request_duration_seconds_count", 200)]
    before = [count(*name) for name in names]
    for _ in range(3):
        client.post("/predict", content=pictures.tobytes(), headers=BYTES)
    client.post("/predict", content=b"no image", headers=BYTES)
    assert [count(*name) for name in names] == [before[0] + 3, before[1] + 1, before[2] + 3]
    running = [line for line in client.get("/metrics").text.splitlines() if "request_in_progress{" in line]
    assert {line.rpartition(" ")[2] for line in running} == {"0.0"}


def test_predictions_are_counted(live: Live, client: httpx.Client, pictures: Images) -> None:
    def count() -> dict[str, float]:
        lines = (line.rpartition(" ") for line in client.get("/metrics").text.splitlines())
        return {name: float(value) for name, _, value in lines if name.startswith("fashion_")}

    before = count()
    assert client.post("/predict", content=pictures.tobytes(), headers=BYTES).is_success
    after = count()
    expected = predict(live.model, pictures)
    for label, name in enumerate(CLASSES):
        key = f'fashion_images_total{{name="{name}"}}'
        assert after[key] - before.get(key, 0) == (expected.labels == label).sum()
    assert after["fashion_not_sure_total"] - before["fashion_not_sure_total"] == (~expected.sure).sum()
    assert after["fashion_unknown_total"] - before["fashion_unknown_total"] == expected.unknown
    assert after[f'fashion_model_live{{tag="{live.model.tag}"}}'] == 1


def test_a_picture_is_answered_like_its_pixels(client: httpx.Client, pictures: Images) -> None:
    """As the request body, and as form files, in order."""
    expected = client.post("/predict", content=dumps(pictures[:3].tolist()), headers=JSON).json()
    files = [("files", (f"{number}.png", encode(pictures[number]), "image/png")) for number in range(3)]
    form = client.post("/classify", files=files).json()
    raw = [client.post("/classify", content=encode(picture), headers=PNG).json() for picture in pictures[:3]]
    assert [row.pop("file") for row in form["predictions"]] == ["0.png", "1.png", "2.png"]
    assert [answer["predictions"][0].pop("file") for answer in raw] == ["body"] * 3
    assert form["model"] == expected["model"]
    for number, row in enumerate(expected["predictions"]):
        for answer in (form["predictions"][number], raw[number]["predictions"][0]):
            assert answer["name"] == row["name"]
            assert answer["probabilities"] == pytest.approx(row["probabilities"], abs=1e-6)


def test_a_jpeg_is_answered(live: Live, client: httpx.Client, pictures: Images) -> None:
    photo = encode(pictures[0], "JPEG")
    expected = predict(live.model, read_photo(photo, CONTRACT)).probabilities[0].tolist()
    (answer,) = client.post("/classify", content=photo, headers={"Content-Type": "image/jpeg"}).json()["predictions"]
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)


def test_a_photo_is_answered_by_its_views_and_shows_the_first(
    live: Live, client: httpx.Client, pictures: Images
) -> None:
    """Compared with a dataset picture, which has a single view."""
    random = np.random.default_rng(0)
    carpet = random.integers(60, 120, (160, 120, 3), np.uint8)
    carpet[np.arange(160) // 20 % 2 == 1] //= 3
    carpet[40:130, 35:85] = random.integers(200, 230, (90, 50, 3), np.uint8)
    photo = encode(carpet)
    views = read_views(photo, CONTRACT)
    expected = predict_photos(live.model, [views, pictures[:1]])
    files = [("files", ("a.png", photo, "image/png")), ("files", ("b.png", encode(pictures[0]), "image/png"))]
    answers = client.post("/classify?seen=true", files=files).json()["predictions"]
    assert len(views) > 1
    for row, (answer, image) in enumerate(zip(answers, (views[0], pictures[0]), strict=True)):
        assert answer["probabilities"] == pytest.approx(expected.probabilities[row].tolist(), abs=1e-6)
        assert answer["sure"] == expected.sure[row]
        with Image.open(io.BytesIO(base64.b64decode(answer["seen"].partition(",")[2]))) as seen:
            assert np.array_equal(np.asarray(seen), image)


def test_it_reports_the_live_model(live: Live, client: httpx.Client) -> None:
    described = client.get("/model").json()
    assert (described["model"], described["preset"], described["source"]) == (live.model.tag, "quick", "sample")
    assert described["dataset_version"] == live.model.card.dataset_version
    assert described["test_accuracy"] == live.model.card.test.accuracy
    assert described["classes"] == list(CLASSES)


def test_a_caller_can_require_its_expected_classes(client: httpx.Client, pictures: Images, table: bytes) -> None:
    known = client.get("/model").json()["classes_fingerprint"]
    assert known == hashlib.sha256("\n".join(CLASSES).encode()).hexdigest()[:16]
    image, other = {"images": pictures[:1].tolist()}, "0123456789abcdef"
    bodies: dict[str, Any] = {"/predict": {"json": image}, "/score": {"content": table, "headers": CSV}}
    for path, body in bodies.items():
        assert client.post(path, params={"classes": known}, **body).status_code == 200
        refused = client.post(path, params={"classes": other}, **body)
        assert refused.status_code == 409
        error = refused.json()["error"]
        assert (error["field"], error["expected"], error["found"]) == ("classes", None, list(CLASSES))
        assert "T-shirt/top, Trouser" in error["reason"]
    assert client.post("/predict", json=image, headers={"X-Classes": known}).status_code == 200
    assert client.post("/predict", json=image, headers={"X-Classes": other}).status_code == 409
    for none in ("hat", ""):
        assert client.post("/predict", json=image, params={"classes": none}).status_code == 400
        assert client.post("/predict", json=image, headers={"X-Classes": none}).status_code == 400


def test_the_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "/predict" in page.text
    assert "://" not in page.text


def test_it_is_alive_ready_and_counted(client: httpx.Client, pictures: Images) -> None:
    assert client.post("/predict", content=dumps(pictures.tolist()), headers=JSON).is_success
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200
    counted = [line for line in client.get("/metrics").text.splitlines() if "request_total{" in line]
    assert any('"/predict"' in line and '"200"' in line for line in counted)


# --- tables ---


@pytest.mark.parametrize("chunked", [False, True])
def test_score_returns_one_row_per_row(
    live: Live, client: httpx.Client, table: bytes, tmp_path: Path, chunked: bool
) -> None:
    """In order; the scores and the reject reasons match those of `fashion score`."""
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(table)
    run_job(live.model, source, output)
    pieces = (table[start : start + 1000] for start in range(0, len(table), 1000))
    answer = client.post("/score", content=pieces if chunked else table, headers=CSV)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-model"] == live.model.tag
    header, *rows = answer.text.splitlines()
    assert header == "id,label,name,confidence,sure,known,familiarity,model,reason"
    scored = [row.removesuffix(",").split(",") for row in rows if row.endswith(",")]
    with output.open(newline="") as file:
        assert scored == [[row[name] for name in header.split(",")[:-1]] for row in csv.DictReader(file)]
    assert [row.split(",")[0] for row in rows] == ["'=1+1", "1", "", "bright", "2", "3", "4"]
    assert rows[2] == ',,,,,,,,"row: found 4 cells, expected 786"'
    assert rows[3] == "bright,,,,,,,,pixel1: '256' is not a whole number from 0 to 255"
    rejects = client.post("/score?rejects=true", content=table, headers=CSV)
    assert rejects.content == rejects_path(output).read_bytes()
    assert rejects.content.count(b"\n") == 3


def as_csv(images: Images) -> bytes:
    return "\n".join([",".join(PIXEL_COLUMNS), *(",".join(map(str, image.ravel())) for image in images)]).encode()


def as_pixels(images: Images) -> bytes:
    """Encode images as Parquet with one column of 784 bytes."""
    file = io.BytesIO()
    pq.write_table(pa.table({"pixels": pa.array([image.tobytes() for image in images], pa.binary(784))}), file)
    return file.getvalue()


def as_parquet(images: Images, **columns: Any) -> bytes:
    """Encode images as Parquet with one column per pixel; the third row has a null in the first."""
    pixels = {name: images.reshape(-1, 784)[:, place].tolist() for place, name in enumerate(PIXEL_COLUMNS)}
    pixels["pixel1"][2] = None
    file = io.BytesIO()
    pq.write_table(pa.table({**columns, **pixels}), file)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["application/vnd.apache.parquet", "application/x-parquet"])
def test_parquet_is_answered_as_parquet(live: Live, client: httpx.Client, pictures: Images, kind: str) -> None:
    body, headers = as_parquet(pictures[:5], id=list("abcde")), {"Content-Type": kind}
    answer = client.post("/score", content=body, headers=headers)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    found = pq.read_table(io.BytesIO(answer.content))
    expected = predict(live.model, np.delete(pictures[:5], 2, axis=0))
    assert found.schema.names == ["id", *answer_schema(CLASSES).names, "reason"]
    assert found["id"].to_pylist() == list("abcde")
    assert list(found.slice(2, 1).to_pylist()[0].values())[1:8] == [None] * 7
    assert found["reason"].to_pylist()[2] == "pixel1: null, expected a whole number from 0 to 255"
    assert found.filter(pa.array([True, True, False, True, True]))["label"].to_pylist() == expected.labels.tolist()
    metadata = pq.read_metadata(io.BytesIO(answer.content)).metadata
    assert (metadata[b"rows"], metadata[b"scored"], metadata[b"rejected"]) == (b"5", b"4", b"1")
    assert metadata[b"unknown"] == str(expected.unknown).encode()
    rejects = client.post("/score?rejects=true", content=body, headers=headers)
    (reject,) = pq.read_table(io.BytesIO(rejects.content)).to_pylist()
    assert (reject["number"], json.loads(reject["row"])["id"]) == (3, "c")


def test_a_table_is_read_under_any_content_type(client: httpx.Client, table: bytes, pictures: Images) -> None:
    """Any content type, gzip or a form file works: the first bytes decide the format."""
    expected = client.post("/score", content=table, headers=CSV)
    for kind in (
        "application/vnd.ms-excel",
        "text/plain; charset=utf-8",
        "application/csv",
        "application/octet-stream",
    ):
        answer = client.post("/score", content=table, headers={"Content-Type": kind})
        assert (answer.text, answer.headers["content-type"]) == (expected.text, "text/csv; charset=utf-8")
    packed = client.post("/score", content=gzip.compress(table), headers={**CSV, "Content-Encoding": "gzip"})
    assert packed.text == expected.text
    for name in ("x.csv", "x.parquet", "x"):
        assert client.post("/score", files={"file": (name, table)}).text == expected.text
    parquet = as_parquet(pictures[:5])
    for answer in (
        client.post("/score", files={"file": ("x.csv", parquet, "text/csv")}),
        client.post("/score", content=parquet, headers=BYTES),
    ):
        assert answer.headers["content-type"] == "application/vnd.apache.parquet"
        assert pq.read_table(io.BytesIO(answer.content)).num_rows == 5
    two = {"a": ("a.csv", table), "b": ("b.csv", table)}
    assert_refused(client.post("/score", files=two), 400, "body", "the form has more than one part")


@pytest.mark.parametrize(
    "kind", ["image/jpg", "image/pjpeg", "image/x-png", "application/octet-stream", "IMAGE/PNG; q=1"]
)
def test_a_picture_is_read_under_any_content_type(client: httpx.Client, pictures: Images, kind: str) -> None:
    expected = client.post("/classify", content=encode(pictures[0]), headers=PNG).json()
    assert client.post("/classify", content=encode(pictures[0]), headers={"Content-Type": kind}).json() == expected
    packed = gzip.compress(encode(pictures[0]))
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    assert client.post("/classify", content=packed, headers=headers).json() == expected


@pytest.mark.parametrize(("path", "kind"), [("/predict", "application/json"), ("/classify", "image/png")])
def test_a_missing_content_type_is_refused_with_an_example(client: httpx.Client, path: str, kind: str) -> None:
    """`curl --data-binary` sends this content type."""
    answer = client.post(path, content=b"x", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert_refused(answer, 415, "content-type", f"Set it, for example: curl --header 'content-type: {kind}'")


def test_a_table_without_rows_is_answered(client: httpx.Client, pictures: Images) -> None:
    header = ",".join(PIXEL_COLUMNS).encode()
    assert client.post("/score", content=header, headers=CSV).text.count("\n") == 1
    nothing = pa.table({name: pa.array([], pa.uint8()) for name in PIXEL_COLUMNS})
    file = io.BytesIO()
    pq.write_table(nothing, file)
    answer = client.post("/score", content=file.getvalue(), headers=PARQUET)
    assert pq.read_table(io.BytesIO(answer.content)).num_rows == 0


def test_a_fifth_concurrent_table_is_refused_with_retry_after(live: Live, client: httpx.Client, table: bytes) -> None:
    with contextlib.ExitStack() as held:
        first = [
            held.enter_context(contextlib.closing(begin(live.server, "/score", CSV, len(table), table[:-1])))
            for _ in range(4)
        ]
        fifth = client.post("/score", content=table, headers=CSV)
        assert_refused(fifth, 429, "request", "already scoring the maximum number of tables")
        assert fifth.headers["retry-after"] == "1"
        for upload in first:
            upload.send(table[-1:])
            answer = upload.getresponse()
            assert (answer.status, answer.read().count(b"\n")) == (200, 8)
    assert client.post("/score", content=table, headers=CSV).is_success


@pytest.fixture(scope="module")
def long_table(pictures: Images) -> bytes:
    """100,000 rows in 180 MB, which take seconds to score."""
    rows = b"".join(b",".join(b"%d" % value for value in image.ravel()) + b"\n" for image in pictures)
    return ",".join(PIXEL_COLUMNS).encode() + b"\n" + rows * 5_000


def upload(server: Server, path: str, table: bytes) -> http.client.HTTPResponse:
    """Send a table, and return once its response has started."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", path, table, CSV)
    return connection.getresponse()


def test_a_response_streams_while_later_rows_are_scored_and_others_are_answered(
    live: Live, client: httpx.Client, long_table: bytes, pictures: Images
) -> None:
    with contextlib.closing(upload(live.server, "/score", long_table)) as answer:
        began, size, slowest = time.monotonic(), 0, 0.0
        while piece := answer.read1():
            size += piece.count(b"\n")
            asked = time.monotonic()
            assert client.get("/livez").is_success
            assert client.post("/predict", content=pictures[:1].tobytes(), headers=BYTES).is_success
            slowest = max(slowest, time.monotonic() - asked)
        assert size == 100_001
        assert time.monotonic() - began > 1, "all of it was scored before the answer began"
        assert slowest < 1


def damaged_line(long_table: bytes) -> tuple[bytes, dict[str, str]]:
    return long_table[: 40 << 20] + b"0" * (70 << 10) + b"\n", CSV


def nothing_but_rejects(long_table: bytes) -> tuple[bytes, dict[str, str]]:
    return long_table[: 20 << 20] + b"\n" * 101_000, CSV


def damaged_page(long_table: bytes) -> tuple[bytes, dict[str, str]]:
    images = np.random.default_rng(3).integers(0, 256, (20_000, 784), np.uint8)
    file = io.BytesIO()
    column = pa.array([image.tobytes() for image in images], pa.binary(784))
    options = {"row_group_size": 2000, "compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(pa.table({"pixels": column}), file, **options)
    content = bytearray(file.getvalue())
    content[content.index(images[19_000].tobytes())] ^= 1
    return bytes(content), PARQUET


@pytest.mark.parametrize("rejects", ["false", "true"])
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (damaged_line, "a line is longer than 65,536 bytes"),
        (nothing_but_rejects, "more than 100,000 rows cannot be read"),
        (damaged_page, "damaged"),
    ],
)
def test_a_response_that_cannot_continue_is_aborted(
    live: Live,
    client: httpx.Client,
    long_table: bytes,
    harm: Callable[[bytes], tuple[bytes, dict[str, str]]],
    reason: str,
    rejects: str,
) -> None:
    """The status is already sent. No client mistakes the response for complete, and the log has the reason."""
    body, headers = harm(long_table)
    seen = len(live.server.log.read_bytes())
    with client.stream("POST", f"/score?rejects={rejects}", content=body, headers=headers) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            answer.read()
    logged = wait_for_line(live.server, seen, "response aborted")
    assert reason in logged
    assert "Traceback" not in logged


def test_a_client_that_disconnects_midway_frees_its_slot(
    live: Live, client: httpx.Client, table: bytes, long_table: bytes
) -> None:
    """One table is scored and three wait; all clients leave. The next one need not wait, and all files are closed."""
    (worker,) = psutil.Process(live.server.process.pid).children(recursive=True)
    assert client.post("/score", content=table, headers=CSV).is_success
    files = worker.num_fds()
    with contextlib.closing(upload(live.server, "/score", long_table)), contextlib.ExitStack() as waiting:
        for _ in range(3):
            connection = begin(live.server, "/score", CSV, len(table), table)
            waiting.callback(connection.close)
    began = time.monotonic()
    while not (answer := client.post("/score", content=table, headers=CSV)).is_success:
        assert_refused(answer, 429, "request", "already scoring the maximum number of tables")
        assert time.monotonic() - began < 2
        time.sleep(0.05)
    while worker.num_fds() > files:
        assert time.monotonic() - began < 2
        time.sleep(0.05)
    assert time.monotonic() - began < 2


def test_a_client_that_reads_slowly_does_not_block_others(
    live: Live, client: httpx.Client, table: bytes, long_table: bytes
) -> None:
    slow = socket.create_connection(("127.0.0.1", live.server.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = "POST /score?rejects=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: "
    body = long_table[: 10 << 20] + b"1,2,3\n" * 90_000
    with contextlib.closing(slow):
        slow.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
        began = time.monotonic()
        assert client.post("/score", content=table, headers=CSV).is_success
        assert time.monotonic() - began < 10


def test_scoring_loads_no_unneeded_library(live: Live, client: httpx.Client, table: bytes) -> None:
    """Arrow imports pandas with its first array if pandas is installed."""
    (worker,) = psutil.Process(live.server.process.pid).children(recursive=True)
    assert client.post("/score", content=table, headers=CSV).is_success
    files = [mapped.path for mapped in worker.memory_maps()]
    assert any("pyarrow" in file for file in files)
    assert [file for file in files if "site-packages/pandas" in file] == []


# --- what it refuses ---

BLACK = [[0] * 28 for _ in range(28)]


def pixel(value: str) -> bytes:
    """Return a request with a black image except for its first pixel."""
    return dumps([BLACK]).replace(b"0", value.encode(), 1)


@pytest.mark.parametrize(
    ("body", "status", "field", "reason"),
    [
        pytest.param(b"", 400, "body", "invalid JSON", id="nothing"),
        pytest.param(b'{"images": [', 400, "body", "invalid JSON", id="malformed"),
        pytest.param(b'{"images": "\xff"}', 400, "body", "invalid JSON", id="not UTF-8"),
        pytest.param(b"[" * 5000, 400, "body", "invalid JSON", id="deep"),
        pytest.param(dumps([BLACK])[11:-1], 400, "body", "found a list", id="array root"),
        pytest.param(b'{"images": [], "extra": 1}', 400, "extra", "unknown field", id="unknown field"),
        pytest.param(b"{}", 400, "images", "found nothing", id="no images"),
        pytest.param(dumps({}), 400, "images", "found an object", id="images is an object"),
        pytest.param(dumps([]), 400, "images", "found an empty list", id="empty list"),
        pytest.param(dumps([BLACK, "http://x/y.png"]), 400, "images[1]", "found a string", id="an address"),
        pytest.param(dumps([BLACK[1:]]), 400, "images[0]", "27 items", id="wrong shape"),
        pytest.param(dumps([[0] * 783]), 400, "images[0]", "783 items", id="783 pixels"),
        pytest.param(dumps([BLACK, [*BLACK[:3], [0] * 27, *BLACK[4:]]]), 400, "images[1][3]", "27 num", id="ragged"),
        pytest.param(dumps([BLACK] * 1025), 413, "images", "1,025 images", id="1025 images"),
        pytest.param(pixel('"0"'), 400, "images[0][0][0]", "found a string", id="text"),
        pytest.param(pixel("true"), 400, "images[0][0][0]", "found a boolean", id="boolean"),
        pytest.param(pixel("null"), 400, "images[0][0][0]", "found nothing", id="null"),
        pytest.param(pixel("[0]"), 400, "images[0][0][0]", "found a list", id="deeper"),
        pytest.param(pixel("256"), 400, "images[0][0][0]", "found 256", id="256"),
        pytest.param(pixel("-1"), 400, "images[0][0][0]", "found -1", id="-1"),
        pytest.param(pixel("1.5"), 400, "images[0][0][0]", "found 1.5", id="1.5"),
        pytest.param(pixel("9" * 400), 400, "body", "invalid JSON", id="400 digits"),
        pytest.param(pixel("NaN"), 400, "body", "invalid JSON", id="NaN"),
        pytest.param(pixel("1e400"), 400, "body", "invalid JSON", id="1e400"),
    ],
)
def test_json_that_is_refused(client: httpx.Client, body: bytes, status: int, field: str, reason: str) -> None:
    assert_refused(client.post("/predict", content=body, headers=JSON), status, field, reason)


@pytest.mark.parametrize("path", ["/predict", "/classify", "/score"])
@pytest.mark.parametrize("kind", ["", "application/vnd.bentoml+pickle", "application/x-pickle", "text/html", "\xe9"])
def test_content_types_that_are_refused(client: httpx.Client, path: str, kind: str) -> None:
    headers = {b"Content-Type": kind.encode("latin-1")} if kind else None
    answer = client.post(path, content=b"\x80\x04.", headers=headers)
    assert_refused(answer, 415, "content-type", f"found {kind or 'none'}, expected ")


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/predict", 405, "Method Not Allowed"),
        ("DELETE", "/model", 405, "Method Not Allowed"),
        ("PUT", "/livez", 405, "Method Not Allowed"),
        ("GET", "/nowhere", 404, "Not Found"),
    ],
)
def test_a_wrong_method_or_path_is_refused(
    client: httpx.Client, method: str, path: str, status: int, reason: str
) -> None:
    assert_refused(client.request(method, path), status, "request", reason)


@pytest.mark.parametrize(
    ("path", "kind", "limit"),
    [
        ("/predict", "application/json", LARGEST_JSON),
        ("/classify", "image/png", LARGEST_UPLOAD),
        ("/classify", "multipart/form-data; boundary=cut", LARGEST_UPLOAD),
        ("/score", "text/csv", LARGEST_TABLE),
        ("/score", "application/vnd.apache.parquet", LARGEST_TABLE),
    ],
)
def test_a_body_that_declares_too_many_bytes_is_refused_unread(live: Live, path: str, kind: str, limit: int) -> None:
    with contextlib.closing(announce(live.server, path, kind, limit + 1)) as connection:
        answer = connection.getresponse()
        assert answer.status == 413
        error = json.loads(answer.read())["error"]
    assert error == {"status": 413, "field": "body", "reason": f"more than {limit:,} bytes"}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(client: httpx.Client, chunked: bool) -> None:
    piece = b" " * (1 << 20)
    pieces = [piece] * (LARGEST_JSON // len(piece)) + [b" "]
    answer = client.post("/predict", content=iter(pieces) if chunked else b"".join(pieces), headers=JSON)
    assert_refused(answer, 413, "body", "more than 8,388,608 bytes")


# --- pictures it refuses ---


def forged(width: int, height: int) -> bytes:
    """Return a PNG that declares a larger size than it has."""
    content = bytearray(encode(np.zeros((28, 28), np.uint8)))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("L", (28, 28), shade) for shade in (0, 200)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        pytest.param(encode(NOISE)[:400], 400, "a damaged picture", id="truncated"),
        pytest.param(encode(NOISE, "JPEG")[:400], 400, "a damaged picture", id="truncated JPEG"),
        pytest.param(b"plain text\n", 400, "not a PNG, JPEG, WEBP, GIF or BMP picture", id="text"),
        pytest.param(b"", 400, "not a PNG, JPEG, WEBP, GIF or BMP picture", id="empty"),
        pytest.param(encode(NOISE, "TIFF"), 400, "not a PNG, JPEG, WEBP, GIF or BMP picture", id="TIFF"),
        pytest.param(animated(), 400, "animated", id="animated"),
        pytest.param(forged(8000, 8000), 413, "8000 x 8000 pixels", id="large"),
        pytest.param(forged(20000, 20000), 413, "pixels", id="bomb"),
    ],
)
def test_pictures_that_are_refused(client: httpx.Client, content: bytes, status: int, reason: str) -> None:
    """The error names the bad picture, even after a good one."""
    files = [("files", ("good.png", encode(NOISE), "image/png")), ("files", ("bad.png", content, "image/png"))]
    assert_refused(client.post("/classify", files=files), status, "bad.png", reason)
    assert_refused(client.post("/classify", content=content, headers=PNG), status, "body", reason)


@pytest.mark.parametrize("shape", [(1, 2000), (2000, 1)])
def test_a_one_pixel_thin_picture_is_answered(client: httpx.Client, shape: tuple[int, int]) -> None:
    answer = client.post("/classify", content=encode(np.zeros(shape, np.uint8)), headers=PNG)
    assert answer.status_code == 200, answer.text


def test_a_photo_with_invalid_metadata_causes_no_server_error(client: httpx.Client) -> None:
    """Its EXIF data has a rotation and a width in letters."""
    entries = struct.pack("<HHI4sHHI4s", 0x100, 2, 4, b"abc", 0x112, 3, 1, b"\x06")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "JPEG", exif=exif)
    answer = client.post("/classify", content=file.getvalue(), headers={"Content-Type": "image/jpeg"})
    assert answer.status_code in {200, 400}, answer.text


def part(name: str, content: bytes = b"", file: str = "") -> bytes:
    """Return one part of a form, without the closing boundary."""
    named = f'--cut\r\nContent-Disposition: form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
    return named.encode() + b"\r\n\r\n" + content + b"\r\n"


PICTURE = part("file", encode(NOISE), "a.png")


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        pytest.param(b"--cut--\r\n", "body", "the form contains no file", id="empty form"),
        pytest.param(b"", "body", "", id="empty body"),
        pytest.param(
            PICTURE + part("note", b"hello") + b"--cut--\r\n",
            "note",
            "found a text field (no file name)",
            id="text field",
        ),
        pytest.param(PICTURE * (MAX_FILES + 1) + b"--cut--\r\n", "body", "too many files", id="65 files"),
        pytest.param(b"no boundary here", "body", "", id="malformed"),
        pytest.param(PICTURE.replace(b' name="file";', b"") + b"--cut--\r\n", "body", '"name"', id="no name"),
        pytest.param(PICTURE + b"--cut\r\n\x00: x\r\n\r\n--cut--\r\n", "body", "invalid character", id="a bad header"),
        pytest.param(PICTURE + PICTURE, "body", "", id="the last boundary is missing"),
    ],
)
def test_forms_that_are_refused(client: httpx.Client, body: bytes, field: str, reason: str) -> None:
    assert_refused(client.post("/classify", content=body, headers=FORM), 400, field, reason)


def test_a_form_without_a_boundary_is_refused(client: httpx.Client) -> None:
    answer = client.post("/classify", content=PICTURE, headers={"Content-Type": "multipart/form-data"})
    assert_refused(answer, 400, "content-type", "boundary")


@pytest.mark.parametrize("charset", ["punycode", "undefined", "unicode_escape", "nonsense"])
def test_a_form_in_an_unusual_charset_causes_no_server_error(client: httpx.Client, charset: str) -> None:
    headers = {"Content-Type": f"{FORM['Content-Type']}; charset={charset}"}
    body = part("file", encode(NOISE), r"\ud800.png") + b"--cut--\r\n"
    assert client.post("/classify", content=body, headers=headers).status_code < 500


def test_html_in_a_file_name_comes_back_as_json_only(client: httpx.Client) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    good = client.post("/classify", files={"file": (name, encode(NOISE), "image/png")})
    assert good.headers["content-type"] == "application/json"
    assert good.json()["predictions"][0]["file"] == name
    assert_refused(client.post("/classify", files={"file": (name, b"<html>", "text/html")}), 400, name, "not a PNG")


# --- tables it refuses ---

HEADER = ",".join(PIXEL_COLUMNS).encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "found no header", id="empty"),
        pytest.param(b"\n", "found no header", id="blank"),
        pytest.param(b"pixel1,pixel2\n1,2\n", "missing 782 column(s)", id="columns missing"),
        pytest.param(HEADER + b",extra\n", "unknown 1 column(s) 'extra'", id="unknown column"),
        pytest.param(HEADER + b",pixel1\n", "repeated 1 column(s) 'pixel1'", id="repeated column"),
        pytest.param(encode(NOISE), "found a picture, expected text/csv", id="a picture"),
        pytest.param(HEADER + b"\n" + b"0" * (9 << 20), "a line is longer than", id="an endless line"),
    ],
)
def test_tables_that_are_refused(client: httpx.Client, body: bytes, reason: str) -> None:
    assert_refused(client.post("/score", content=body, headers=CSV), 400, "body", reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a Parquet file"),
        (HEADER, "not a Parquet file"),
        (b"PAR1" + b"\xff" * 100 + b"\x64\0\0\0PAR1", "damaged"),
    ],
)
def test_parquet_that_is_refused(client: httpx.Client, body: bytes, reason: str) -> None:
    """The reader's unit tests cover the rest."""
    assert_refused(client.post("/score", content=body, headers=PARQUET), 400, "body", reason)


# --- arbitrary input ---

FLOATS = st.floats(allow_subnormal=False)  # training sets flush-to-zero in this process
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def nearly_valid(draw: st.DrawFn) -> bytes:
    """Replace one value of a valid request, and up to two bytes of its text."""
    image: list[Any] = [[0] * 28 for _ in range(28)]
    document: dict[str, Any] = {"images": [image]}
    row, column = draw(st.integers(0, 27)), draw(st.integers(0, 27))
    holder, key = draw(
        st.sampled_from([(image[row], column), (image, row), (document["images"], 0), (document, "images")])
    )
    holder[key] = draw(VALUES)
    body = json.dumps(document).encode()
    start = draw(st.integers(0, len(body)))
    return body[:start] + draw(st.binary(max_size=2)) + body[start + draw(st.integers(0, 2)) :]


@examples(max_examples=400, deadline=None, database=None, derandomize=True)
@given(body=st.one_of(VALUES.map(lambda value: json.dumps(value).encode()), nearly_valid()))
def test_no_json_is_the_services_fault(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers=JSON)
    if answer.status_code != 200:
        assert_refused(answer, 400, answer.json()["error"]["field"], "")


@examples(max_examples=200, deadline=None, database=None, derandomize=True)
@given(
    st.sampled_from(["PNG", "JPEG"]), st.floats(0, 1, allow_subnormal=False), st.binary(max_size=4), st.integers(0, 4)
)
def test_no_picture_is_the_services_fault(
    client: httpx.Client, form: str, place: float, patch: bytes, lost: int
) -> None:
    whole = encode(NOISE, form)
    start = int(place * len(whole))
    answer = client.post("/classify", content=whole[:start] + patch + whole[start + lost :], headers=PNG)
    assert answer.status_code in {200, 400, 413}, answer.text


# --- it keeps answering other clients ---


@pytest.mark.parametrize("abruptly", [False, True])
@pytest.mark.parametrize(("path", "headers"), ENDPOINTS)
def test_a_client_that_disconnects_disturbs_no_one(
    live: Live, client: httpx.Client, pictures: Images, path: str, headers: dict[str, str], abruptly: bool
) -> None:
    seen = len(live.server.log.read_bytes())
    connection = begin(live.server, path, headers, 1000, b"{")
    if abruptly:  # a TCP reset instead of an orderly close
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    assert client.post("/predict", content=dumps(pictures.tolist()), headers=JSON).is_success
    logged = wait_for_line(live.server, seen, "length=1000)")
    assert "Traceback" not in logged
    assert "(status=5" not in logged


def test_a_path_cannot_forge_a_log_line(live: Live, client: httpx.Client) -> None:
    seen = len(live.server.log.read_bytes())
    client.get("/here%0Aforged%0Dforged")
    lines = wait_for_line(live.server, seen, "path=/here").splitlines()
    assert [line for line in lines if "forged" in line] == [line for line in lines if "path=/here" in line]


def test_unknown_paths_get_no_metrics(client: httpx.Client) -> None:
    """Otherwise any caller could fill the memory: each path costs 21 KB."""
    client.get("/a-path-of-the-callers-own")
    assert "a-path-of-the-callers-own" not in client.get("/metrics").text


def test_a_websocket_is_refused(live: Live, client: httpx.Client) -> None:
    seen = len(live.server.log.read_bytes())
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    answer = client.get("/model", headers={**upgrade, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert answer.status_code == 403
    assert "Traceback" not in live.server.log.read_bytes()[seen:].decode()


def test_invalid_http_is_refused_with_the_same_error_format(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.server.port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    reason = "not a valid HTTP/1.1 request: Invalid method encountered"
    assert json.loads(body) == {"error": {"status": 400, "field": "request", "reason": reason}}


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("host", "evil.example", 403),
        ("host", "127.0.0.1.evil.example:3000", 403),
        ("host", "[", 400),
        ("host", "user@127.0.0.1", 400),
        ("host", "10.1.2.3:3000", 403),
        ("host", "localhost:9", 200),
        ("host", "[::1]:3000", 200),
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://localhost:5173", 200),
    ],
)
def test_unknown_hosts_and_origins_are_refused(client: httpx.Client, field: str, value: str, status: int) -> None:
    """Prevents DNS rebinding: a site can point its own host name at the loopback address."""
    answer = client.get("/model", headers={field: value})
    assert answer.status_code == status
    if status != 200:
        assert_refused(answer, status, field, "FASHION_ALLOWED_HOSTS" if status == 403 else "expected a host name")
    for path in ("/schema.json", "/healthz", "/readyz", "/livez", "/metrics"):
        probes = value.startswith("10.") and path != "/schema.json"  # Kubernetes probes a pod by its IP address
        assert client.get(path, headers={field: value}).status_code == (200 if probes else status)


@pytest.mark.parametrize(("path", "headers"), ENDPOINTS)
def test_a_body_that_does_not_arrive_times_out(
    live: Live, monkeypatch: pytest.MonkeyPatch, path: str, headers: dict[str, str]
) -> None:
    """Runs in this process to shorten the timeout."""
    monkeypatch.setattr("serving.bodies.TIMEOUT", 0.2)
    monkeypatch.setattr("serving.bodies.TABLE_TIMEOUT", 0.2)
    monkeypatch.setattr(served, "serving", Serving(live.model))

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(20)

    async def ask() -> httpx.Response:
        door = Gateway(Starlette(), SERVED_PATHS)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://localhost") as client:
            return await client.post(path, content=slowly(), headers=headers)

    began = time.monotonic()
    assert_refused(asyncio.run(ask()), 408, "body", "not received in time")
    assert time.monotonic() - began < 5


# --- start and stop ---
