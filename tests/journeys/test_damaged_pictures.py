"""Every input path rejects or refuses a damaged picture and still reads the others."""

import zipfile
from pathlib import Path

import pytest
from harmed_pictures import encode, noise, palette_picture_without_palette, png
from servers import Server

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import ModelCard
from components.dataset.class_folders import ClassFolders
from components.dataset.labels.pictures import read_class_folders
from components.dataset.manifest import Examples
from components.errors import SourceError
from components.inbox import find_work, open_inbox
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.readers.images.photos import write_png
from components.scoring.delivery import deliver
from components.scoring.job import rejects_path, run_job

DAMAGED = palette_picture_without_palette()
REASON = "a damaged picture: it uses palette colours but has no palette"
PICTURE = {"Content-Type": "image/png"}
pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture
def folder(tmp_path: Path, test_split: Examples) -> Path:
    """Twenty valid pictures and a damaged one, in class folders."""
    for number, label in enumerate(test_split.labels[:20].tolist()):
        path = tmp_path / "in" / str(label) / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_png(test_split.images[number]))
    (path.parent / "damaged.png").write_bytes(DAMAGED)
    return tmp_path / "in"


def test_a_folder_is_scored_without_the_damaged_picture(
    folder: Path, network: MLP, card: ModelCard, tmp_path: Path
) -> None:
    count = run_job(Classifier("fashion-mlp:a", card, network.to_numpy()), folder, tmp_path / "out.csv").count
    assert (count.scored, count.rejected) == (20, 1)
    (_, reject) = rejects_path(tmp_path / "out.csv").read_text().splitlines()
    assert REASON in reject
    assert "damaged.png" in reject


def test_a_folder_from_a_phone_is_scored_except_heic(network: MLP, card: ModelCard, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(encode(noise("RGB"), "MPO", save_all=True, append_images=[noise("L")]))
    (folder / "b.MPO").write_bytes((folder / "a.jpg").read_bytes())
    (folder / "c.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    count = run_job(Classifier("fashion-mlp:a", card, network.to_numpy()), folder, tmp_path / "out.csv").count
    assert (count.scored, count.rejected) == (2, 1)
    assert "found HEIC. Save the picture as JPEG or PNG" in rejects_path(tmp_path / "out.csv").read_text()


def test_labels_are_imported_without_the_damaged_picture(folder: Path) -> None:
    found = read_class_folders(folder, CONTRACT)
    assert len(found.candidates) == 20
    assert [(reject.file.rpartition("/")[2], reject.reason) for reject in found.rejects] == [("damaged.png", REASON)]


def test_an_archive_in_an_inbox_is_scored_without_the_damaged_picture(
    bentoml_home: Path, folder: Path, network: MLP, card: ModelCard, tmp_path: Path
) -> None:
    dropped = tmp_path / "inbox"
    dropped.mkdir()
    inbox = open_inbox(dropped)
    with zipfile.ZipFile(dropped / "shop.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, path.name)
    (item,) = find_work(inbox, 0.0)
    delivery = deliver(inbox, item, Classifier("fashion-mlp:a", card, network.to_numpy()))
    assert delivery
    assert (delivery.outcome, delivery.rows, delivery.rejected) == ("done", 21, 1)


def test_an_ingest_fails_and_names_the_damaged_picture(folder: Path) -> None:
    with pytest.raises(SourceError, match=rf"damaged\.png: {REASON}$"):
        ClassFolders.open(folder, CONTRACT).read("train")


# --- over HTTP ---


@pytest.mark.slow
def test_the_service_answers_400_and_names_the_damaged_picture(server: Server) -> None:
    good = encode(noise("L"), "PNG")
    with server.client() as client:
        alone = client.post("/classify", content=DAMAGED, headers=PICTURE)
        files = [("files", ("good.png", good)), ("files", ("damaged.png", DAMAGED))]
        among_others = client.post("/classify", files=files)
    assert alone.json() == {"error": {"status": 400, "field": "body", "reason": REASON}}
    assert among_others.json() == {"error": {"status": 400, "field": "damaged.png", "reason": REASON}}


@pytest.mark.slow
def test_a_form_with_too_many_pixels_is_refused_before_decoding(server: Server) -> None:
    """The declared size is enough: these pictures contain no pixels."""
    empty = png((5000, 5000), 8, 0, b"")
    with server.client() as client:
        answer = client.post("/classify", files=[("files", (f"{number}.png", empty)) for number in range(9)])
    reason = "with this picture, the request exceeds 200,000,000 pixels. Send fewer or smaller pictures"
    assert answer.json() == {"error": {"status": 413, "field": "8.png", "reason": reason}}
