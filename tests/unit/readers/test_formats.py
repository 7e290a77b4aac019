"""Adding a table format takes one module with its reader, and one line in the registry."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import numpy as np
import pytest
from scored import model  # noqa: F401, a fixture
from starlette.applications import Starlette

from components.catalogues.fashion_mnist import CONTRACT
from components.catalogues.sample import draw
from components.dataset.ingest import ingest
from components.dataset.labels.adding import import_labels
from components.dataset.manifest import read_split
from components.model.classifier import Classifier
from components.readers import formats
from components.readers.blocks import Block, RowReject, Wanted
from components.readers.tables.kinds import Kind
from components.scoring.job import run_job
from components.settings import Settings
from serving.endpoints import ENDPOINTS
from serving.gateway import Gateway
from serving.live import Serving, served

BEGINNING = b"ROWS of images\n"


def read_rows(stream: BinaryIO, name: str, wanted: Wanted) -> Iterator[Block]:
    """One image per line: the class name, and the pixels as hexadecimal digits."""
    contract, images, labels, lines, rejects = wanted.contract, [], [], [], []
    for number, line in enumerate(stream.read().splitlines()[1:], 1):
        label, digits = line.decode().rsplit(" ", 1)
        if len(digits) != 2 * contract.image.size:
            rejects.append(RowReject(number, "too short", line))
            continue
        images.append(np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(contract.image.shape))
        labels.append(contract.label_of(label))
        lines.append(number)
    read = np.array(images, np.uint8).reshape(-1, *contract.image.shape)
    yield Block(np.array(lines), [str(line) for line in lines], read, np.array(labels, np.uint16), tuple(rejects))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = formats.Format(Kind("rows of images"), read_rows, (".rows",), ("application/x-rows",), BEGINNING)
    monkeypatch.setattr(formats, "FORMATS", [*formats.FORMATS, rows])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Twenty new images."""
    images, labels = draw(20, np.random.default_rng(77))
    lines = [f"{CONTRACT.classes[label]} {image.tobytes().hex()}" for label, image in zip(labels, images, strict=True)]
    path = tmp_path / "night.rows"
    path.write_bytes(BEGINNING + "\n".join(lines).encode())
    return path


def cut_off(rows: Path) -> Path:
    rows.write_bytes(rows.read_bytes() + b"\nCoat 00ff")
    return rows


def test_it_is_scored(model: Classifier, rows: Path, tmp_path: Path) -> None:
    summary = run_job(model, cut_off(rows), tmp_path / "out.csv", check="off")
    assert (summary.count.scored, summary.count.rejected) == (20, 1)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 21


def test_it_is_scored_over_http(
    model: Classifier,
    rows: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(served, "serving", Serving(model))

    async def ask(kind: str) -> httpx.Response:
        gateway = Gateway(Starlette(), ENDPOINTS)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://localhost") as client:
            return await client.post("/score", content=rows.read_bytes(), headers={"Content-Type": kind})

    for kind in ("application/x-rows", "application/octet-stream"):
        answer = asyncio.run(ask(kind))
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/csv")
        assert len(answer.text.splitlines()) == 21


def test_its_labels_are_imported(rows: Path, archives: Path, settings: Settings) -> None:
    ingest(str(archives), settings=settings)
    imported = import_labels(cut_off(rows), settings=settings)
    assert sum(imported.added.values()) == 20
    assert sum(imported.rejected.values()) == 1


def test_it_is_ingested(rows: Path, archives: Path, settings: Settings) -> None:
    before = ingest(str(archives), settings=settings).dataset
    after = ingest(str(rows), settings=settings).dataset
    assert after.rows == before.rows + 20
    labels = [line.rsplit(" ", 1)[0] for line in rows.read_text().splitlines()[1:]]
    assert [CONTRACT.classes[label] for label in read_split(after, "train").labels[-20:]] == labels
