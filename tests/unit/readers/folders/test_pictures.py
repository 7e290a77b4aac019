"""Pictures as an input: in every format, each picture is a row or a reject, with the predictions of the endpoint."""

import csv
import hashlib
import io
import json
import os
import pickle
import shutil
import socket
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from garments import encode as encode_photo
from PIL import Image

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.catalogues.preparation.fashion_mnist import prepare
from components.contract import Calibration, ModelCard
from components.dataset.manifest import Examples
from components.errors import InputError
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.readers.images import blocks as decoding
from components.readers.images.photos import read_views, write_png
from components.scoring.job import Opened, Summary, finish_job, open_job, rejects_path, run_job
from components.scoring.predict import predict_photos
from components.scoring.work import Result, score_part
from components.settings import CHECKOUT

GOLDEN = CHECKOUT / "tests" / "golden"
Rows = list[dict[str, str]]


@pytest.fixture(scope="session")
def model(card: ModelCard) -> Classifier:
    """A fixed model, independent of training: its weights are a formula."""
    network = MLP(ModelConfig(hidden=()), CONTRACT).eval()
    place = torch.arange(7840, dtype=torch.float64)
    weights = (torch.sin(place * 12.9898) / 2).float().reshape(10, 784)
    network.load_state_dict(
        {name: weights if values.ndim == 2 else torch.zeros(10) for name, values in network.state_dict().items()}
    )
    return Classifier("fashion-mlp:golden1", replace(card, calibration=Calibration(), known=None), network.to_numpy())


@pytest.fixture(scope="session")
def pictures(test_split: Examples) -> dict[str, bytes]:
    """Twelve small pictures, a large one on white, and two photos in front of a carpet."""
    small = {f"Coat/{number:02}.png": write_png(test_split.images[number]) for number in range(12)}
    large = np.kron(255 - test_split.images[0], np.ones((6, 6), np.uint8))
    file = io.BytesIO()
    Image.fromarray(large).save(file, "JPEG")
    photos = {"Dress/a.jpg": encode_photo((30, 60, 160), "JPEG"), "Dress/b.png": encode_photo((170, 30, 50))}
    return small | {"Bag/large.jpg": file.getvalue()} | photos


def write_folder(root: Path, pictures: dict[str, bytes]) -> Path:
    for name, content in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, pictures: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pictures.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, pictures: dict[str, bytes]) -> Path:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in pictures.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    packed = {".tgz": "gzip", ".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    with pa.output_stream(str(path), compression=packed) as stream:
        stream.write(file.getvalue())
    return path


def write_paths(path: Path, pictures: dict[str, bytes]) -> Path:
    write_folder(path.parent / "shop", pictures)
    lines = [f"{name},shop/{name},{name.partition('/')[0]},x" for name in pictures]
    path.write_text("\n".join(["id,path,label,note", *lines]) + "\n")
    return path


def write_parquet(path: Path, pictures: dict[str, bytes]) -> Path:
    images = pa.array(list(pictures.values()), pa.binary())
    if "huggingface" in path.name:
        images = pa.StructArray.from_arrays([images, pa.array(list(pictures))], ["bytes", "path"])
    pq.write_table(
        pa.table({"id": list(pictures), "image": images, "note": ["x"] * len(images)}), path, row_group_size=4
    )
    return path


FORMS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "folder": write_folder,
    "in.zip": write_zip,
    "in.tar": write_tar,
    "in.tar.gz": write_tar,
    "in.tgz": write_tar,
    "in.tar.zst": write_tar,
    "in.csv": write_paths,
    "in.parquet": write_parquet,
    "huggingface.parquet": write_parquet,
}


def read_csv(path: Path) -> Rows:
    with path.open(newline="", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def score(model: Classifier, source: Path, output: Path, **reading: object) -> tuple[Summary, Rows, Rows]:
    summary = run_job(model, source, output, reading=TableReading(**reading))  # type: ignore[arg-type]
    return summary, read_csv(output), read_csv(rejects_path(output)) if summary.count.rejected else []


@pytest.mark.parametrize("form", FORMS)
def test_each_format_gives_the_predictions_of_the_endpoint(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path, form: str
) -> None:
    ordered = dict(sorted(pictures.items()))
    summary, rows, _ = score(model, FORMS[form](tmp_path / form, ordered), tmp_path / "out.csv", part=80_000)
    said = predict_photos(model, [read_views(content, CONTRACT, name) for name, content in ordered.items()])
    assert [row["id"] for row in rows] == list(ordered)
    assert [int(row["label"]) for row in rows] == said.labels.tolist()
    assert [row["sure"] == "yes" for row in rows] == said.sure.tolist()
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], said.confidences, atol=2e-6)
    assert (summary.count.rows, summary.count.rejected) == (15, 0)
    assert len(read_views(ordered["Dress/a.jpg"], CONTRACT)) > 1, "one of them has several views"


@pytest.mark.parametrize("names", [list(CLASSES), sorted(CLASSES, reverse=True)])
@pytest.mark.parametrize("column", ["image", "pixels"])
def test_labels_are_read_by_the_names_in_a_hugging_face_schema(
    model: Classifier, test_split: Examples, tmp_path: Path, names: list[str], column: str
) -> None:
    """Not by position in the contract. A number without a name is not a label, and its row is still scored."""
    images, labels = test_split.images[:20], test_split.labels[:20]
    numbers = [names.index(CLASSES[label]) for label in labels]
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    contents = [write_png(image) if column == "image" else image.tobytes() for image in images]
    rows = [{"bytes": content, "path": None} for content in contents] if column == "image" else contents
    table = pa.table({column: [*rows, rows[0]], "label": [*numbers, -1]})
    described = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": described}), tmp_path / "in.parquet")
    summary, _, _ = score(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    assert [sum(row) for row in summary.count.confusion] == np.bincount(labels, minlength=10).tolist()
    assert (summary.count.scored, summary.count.unread) == (21, {"-1": 1})


def test_a_number_without_a_name_in_the_schema_is_not_a_class(
    model: Classifier, test_split: Examples, tmp_path: Path
) -> None:
    features = {"class": {"names": list(CLASSES[:5]), "_type": "ClassLabel"}}
    table = pa.table({"pixels": [image.tobytes() for image in test_split.images[:2]], "class": [7, 1]})
    described = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": described}), tmp_path / "in.parquet")
    summary, _, _ = score(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    assert summary.count.unread == {"7 (no name)": 1}


@pytest.mark.parametrize(
    "form",
    [
        "folder.in",
        "zip.in.zip",
        "tar.in.tgz",
        "tar.in.tar.zst",
        "paths.in.csv",
        "binary.in.parquet",
        "huggingface.in.parquet",
    ],
)
def test_predictions_for_golden_pictures_do_not_change(model: Classifier, tmp_path: Path, form: str) -> None:
    reading = {"root": str(GOLDEN / "folder.in")} if form == "paths.in.csv" else {}
    summary, rows, rejects = score(model, GOLDEN / form, tmp_path / "out.csv", **reading)
    expected = read_csv(GOLDEN / "pictures.out.csv")
    assert [row["label"] for row in rows] == [row["label"] for row in expected]
    ids = ["1", "3", "4", "5", "6"] if form == "paths.in.csv" else [row["id"] for row in expected]
    assert [row["id"] for row in rows] == ids
    for column in ("confidence", "second_confidence", "third_confidence"):
        np.testing.assert_allclose(
            [float(row[column]) for row in rows], [float(row[column]) for row in expected], atol=1e-5
        )
    assert [row["reason"].partition(":")[0] for row in rejects] == ["a damaged picture"]
    assert sum(map(sum, summary.count.confusion[3:4])) == 3, "the label is the folder, or the column"


def test_the_fast_path_of_small_pictures_gives_the_same_images(test_split: Examples) -> None:
    for image in test_split.images[:50]:
        content = write_png(image)
        with Image.open(io.BytesIO(content)) as picture:
            assert np.array_equal(read_views(content, CONTRACT), prepare(picture, CONTRACT.image))
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(test_split.images[0]).save(turned, "PNG", exif=exif)
    assert np.array_equal(read_views(turned.getvalue(), CONTRACT)[0], np.rot90(test_split.images[0], -1))


@pytest.mark.parametrize("form", ["folder", "in.zip", "in.tgz", "in.csv", "in.parquet"])
def test_parts_workers_and_resuming_do_not_change_the_output(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path, form: str
) -> None:
    source = FORMS[form](tmp_path / form, dict(sorted(pictures.items())) | {"Bag/broken.png": b"x"})
    whole = run_job(model, source, tmp_path / "whole.csv", reading=TableReading(part=1), workers=1)
    with pytest.raises(InputError, match="cannot be read"):
        run_job(model, source, tmp_path / "out.csv", reading=TableReading(part=1), workers=3, max_reject_rate=0)
    resumed = run_job(model, source, tmp_path / "out.csv", reading=TableReading(part=1), workers=3, resume=True)
    at = whole.scored_at.encode()
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes().replace(
        at, resumed.scored_at.encode()
    )
    assert resumed.resumed > 1
    assert (resumed.count, resumed.input_sha256) == (whole.count, whole.input_sha256)


def test_the_digest_of_a_folder_covers_its_files(model: Classifier, pictures: dict[str, bytes], tmp_path: Path) -> None:
    summary, _, _ = score(model, write_folder(tmp_path / "in", pictures), tmp_path / "out.csv", part=100_000)
    hashes = [hashlib.sha256(pictures[name]).hexdigest() for name in sorted(pictures)]
    assert summary.input_sha256 == hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@pytest.mark.parametrize("change", ["content", "name", "other root"])
def test_a_changed_picture_changes_the_fingerprint(pictures: dict[str, bytes], tmp_path: Path, change: str) -> None:
    source = write_paths(tmp_path / "in.csv", pictures)
    before = [open_input(one, TableReading(), CONTRACT).fingerprint() for one in (source, tmp_path / "shop")]
    shutil.copytree(tmp_path / "shop", tmp_path / "other" / "shop")
    picture = tmp_path / "shop" / "Coat" / "00.png"
    if change == "content":
        picture.write_bytes(b"x")
    elif change == "name":
        picture.rename(picture.with_name("renamed.png"))
    after = [open_input(one, TableReading(), CONTRACT).fingerprint() for one in (source, tmp_path / "shop")]
    if change == "other root":
        assert TableReading(root=str(tmp_path / "other")) != TableReading()
        assert after == before
    else:
        assert before[0] != after[0]
        assert before[1] != after[1]


def test_a_picture_that_changes_during_scoring_is_a_reject(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "in", pictures)
    changed, gone, *others = sorted(pictures)
    read = open_input(folder, TableReading(), CONTRACT)
    time.sleep(0.02)  # a file system's clock ticks every few milliseconds
    (folder / changed).write_bytes(pictures[others[0]])
    (folder / gone).unlink()
    (block,) = [block for part in read.parts() for block in read.read(part)]
    reasons = {reject.row.decode(): reject.reason for reject in block.rejects}
    assert reasons == {changed: "the file changed during scoring. Score it again", gone: "no such file"}
    assert block.ids == others


@pytest.mark.parametrize("what", ["table", "picture"])
def test_a_table_of_paths_that_changes_during_scoring_gives_no_output(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path, what: str
) -> None:
    source = write_paths(tmp_path / "in.csv", pictures)
    changed = source if what == "table" else tmp_path / "shop" / max(pictures)

    def change(opened: Opened) -> Iterator[Result]:
        time.sleep(0.02)  # a file system's clock ticks every few milliseconds
        changed.write_bytes(changed.read_bytes())
        return (score_part(opened.job, opened.read, part, model) for part in opened.parts())

    with open_job(source, tmp_path / "out.csv", model, reading=TableReading(), resume=False, check="off") as opened:
        results = change(opened)
        with pytest.raises(InputError, match="changed while it was scored"):
            finish_job(opened, results, 1.0)
    assert not (tmp_path / "out.csv").exists()


def test_pictures_added_during_scoring_are_reported(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "in", pictures)

    def come(count: object, share: object) -> None:
        (folder / "late.png").write_bytes(next(iter(pictures.values())))
        (folder / "notes.txt").write_text("")

    summary = run_job(model, folder, folder / "out.csv", progress=come)
    assert summary.count.scored == len(pictures)
    assert summary.warnings == ("1 file(s) arrived during scoring and are not in the output: late.png",)


# --- folders ---


def test_other_files_are_counted_and_listed(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path, test_split: Examples
) -> None:
    folder = write_folder(tmp_path / "in", dict(list(pictures.items())[:2]))
    write_folder(
        folder, {"notes.txt": b"", "Coat/Thumbs.db": b"", ".DS_Store": b"", "Coat/._00.png": b"", "a.csv": b""}
    )
    summary, rows, _ = score(model, folder, tmp_path / "out.csv")
    assert len(rows) == 2
    assert summary.left_out.count == 5
    assert summary.left_out.first == (".DS_Store", "Coat/._00.png", "Coat/Thumbs.db", "a.csv", "notes.txt")


def test_undecodable_pictures_are_rejects_with_their_paths(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    folder = write_folder(
        tmp_path / "in", {"b.png": pictures["Coat/00.png"], "a.png": b"", "c.tiff": b"II*", "d.png": b"\x89"}
    )
    _, rows, rejects = score(model, folder, tmp_path / "out.csv")
    assert [row["id"] for row in rows] == ["b.png"]
    assert [(row["line"], row["row"]) for row in rejects] == [("1", "a.png"), ("3", "c.tiff"), ("4", "d.png")]
    assert all("picture" in row["reason"] for row in rejects)


@pytest.mark.parametrize("form", ["folder", "in.zip", "in.tar"])
@pytest.mark.parametrize(
    ("folders", "labelled", "unread"),
    [
        ("Bag Coat", 2, {}),
        ("0 t-shirt_top", 2, {}),
        ("Bag hats t-shirts", 1, {"hats": 1, "t-shirts": 1}),
        ("hats t-shirts", 0, {}),
    ],
)
def test_folders_label_their_pictures_and_unknown_classes_are_reported(
    model: Classifier,
    pictures: dict[str, bytes],
    tmp_path: Path,
    folders: str,
    labelled: int,
    unread: dict[str, int],
    form: str,
) -> None:
    files = {f"night/{name}/a.png": pictures["Coat/00.png"] for name in folders.split()}
    source = {"folder": write_folder, "in.zip": write_zip, "in.tar": write_tar}[form](tmp_path / form, files)
    count = score(model, source, tmp_path / "out.csv")[0].count
    assert np.sum(count.confusion) == labelled
    assert (count.unread, count.unlabelled) == (unread, len(unread))


def test_links_are_followed_only_within_the_folder(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    content = pictures["Coat/00.png"]
    outside = write_folder(tmp_path / "outside", {"secret.png": content})
    folder = write_folder(tmp_path / "in", {"deep/real.png": content})
    (folder / "inside.png").symlink_to("deep/real.png")
    (folder / "out.png").symlink_to(outside / "secret.png")
    (folder / "up.png").symlink_to("../outside/secret.png")
    (folder / "all").symlink_to(outside, target_is_directory=True)
    (folder / "nothing.png").symlink_to("gone.png")
    (folder / "round.png").symlink_to("round.png")
    os.mkfifo(folder / "pipe.png")
    _, rows, rejects = score(model, folder, tmp_path / "out.csv")
    assert [row["id"] for row in rows] == ["deep/real.png", "inside.png"]
    reasons = {row["row"]: row["reason"] for row in rejects}
    assert all("a link to outside the folder" in reasons[name] for name in ("out.png", "up.png", "all")), reasons
    assert reasons["nothing.png"] == "no such file"
    assert reasons["pipe.png"] == "found a pipe, expected a picture file"
    assert "round.png" in reasons


def test_names_that_are_not_utf8_are_kept(model: Classifier, pictures: dict[str, bytes], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", {'a, b\n"c".png': pictures["Coat/00.png"]})
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b"x")
    _, rows, rejects = score(model, folder, tmp_path / "out.csv")
    assert [row["id"] for row in rows] == ['a, b\n"c".png']
    assert len(rejects) == 1
    assert b"\xff.png" in (tmp_path / "out.rejects.csv").read_bytes()


def test_parquet_and_pictures_in_one_folder_are_refused(pictures: dict[str, bytes], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", pictures)
    write_parquet(folder / "in.parquet", pictures)
    with pytest.raises(InputError, match=r"both Parquet \(in.parquet\) and pictures \(Bag/large.jpg\)"):
        open_input(folder, TableReading(), CONTRACT)


# --- patterns and folders of tables ---


def test_a_pattern_reads_every_matching_file(model: Classifier, pictures: dict[str, bytes], tmp_path: Path) -> None:
    write_folder(tmp_path / "in", pictures)
    _, rows, _ = score(model, tmp_path / "in" / "*" / "[ab].*", tmp_path / "out.csv")
    assert [row["id"] for row in rows] == ["Dress/a.jpg", "Dress/b.png"]
    with pytest.raises(InputError, match="no file matches"):
        open_input(tmp_path / "in" / "*.webp", TableReading(), CONTRACT)
    for name in ("b.parquet", "a.parquet"):
        write_parquet(tmp_path / name, {f"{name}{number}": pictures["Coat/00.png"] for number in range(3)})
    _, rows, _ = score(model, tmp_path / "*.parquet", tmp_path / "out.csv")
    assert [row["id"] for row in rows][::3] == ["a.parquet0", "b.parquet0"]


def test_several_tables_are_read_as_one(model: Classifier, pictures: dict[str, bytes], tmp_path: Path) -> None:
    write_folder(tmp_path / "shop", pictures)
    names = [f"shop/{name}" for name in sorted(pictures)]
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "1.csv").write_text("\n".join(["path", *names[:5], "shop/gone.png"]) + "\n")
    with pa.output_stream(str(folder / "2.csv.gz"), compression="gzip") as stream:
        stream.write("\n".join(["path", "shop/gone.png", *names[5:]]).encode())
    summary, rows, rejects = score(model, folder, tmp_path / "out.csv", part=70_000, root=str(tmp_path))
    assert [row["line"] for row in rejects] == ["7", "8"], "numbering continues, with one header"
    assert [int(row["id"]) for row in rows] == [number for number in range(1, 18) if number not in {6, 7}]
    assert summary.count.rows == 17
    (folder / "3.csv").write_text("path,label\n")
    with pytest.raises(InputError, match=r"the header differs from that of 1\.csv"):
        open_input(folder, TableReading(), CONTRACT)


# --- lists of paths ---


def test_a_list_of_paths_only_reads_files_below_its_root(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    root = write_folder(tmp_path / "root", {"a.png": pictures["Coat/00.png"]})
    write_folder(tmp_path, {"secret.png": pictures["Coat/00.png"]})
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "socket.png"))
    wrong = {
        str(tmp_path / "secret.png"): "outside the root",
        "../secret.png": "outside the root",
        "up/secret.png": "a link to outside the folder",
        "out.png": "a link to outside the folder",
        "gone.png": "no such file",
        "a.png/b.png": "no such file",
        ".": "a folder",
        "pipe.png": "a pipe",
        "socket.png": "a socket",
        "http://127.0.0.1/a.png": "URLs are not fetched",
        "file:///a.png": "URLs are not fetched",
        '""': "empty or invalid path",
        "a.png,b": "found 2 cells, expected 1",
        "x" * 300: "too long",
    }
    (tmp_path / "in.csv").write_text("\n".join(["path", "a.png", *wrong]) + "\n")
    _, rows, rejects = score(model, tmp_path / "in.csv", tmp_path / "out.csv", root=str(root))
    assert [row["id"] for row in rows] == ["1"]
    assert [row["line"] for row in rejects] == [str(number) for number in range(3, 17)], "as in an editor"
    for row, (cell, reason) in zip(rejects, wrong.items(), strict=True):
        assert reason in row["reason"], cell


def test_kept_columns_are_passed_through(model: Classifier, pictures: dict[str, bytes], tmp_path: Path) -> None:
    source = write_paths(tmp_path / "in.csv", pictures)
    _, rows, _ = score(model, source, tmp_path / "out.csv", kept=("note",))
    assert {row["note"] for row in rows} == {"x"}
    parquet = write_parquet(tmp_path / "in.parquet", pictures)
    _, rows, _ = score(model, parquet, tmp_path / "out.csv", kept=("note",))
    assert {row["note"] for row in rows} == {"x"}


def test_dropped_ids_and_labels_are_ignored(model: Classifier, pictures: dict[str, bytes], tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": pictures["Coat/00.png"]})
    (tmp_path / "in.csv").write_text("id,label,path\nx,shoes,a.png\n")
    columns = {"id": [1.5], "label": ["shoes"], "image": [pictures["Coat/00.png"]]}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    for form in ("in.csv", "in.parquet"):
        summary, rows, rejects = score(model, tmp_path / form, tmp_path / "out.csv", dropped=("id", "label"))
        assert ([row["id"] for row in rows], rejects, summary.count.confusion) == (["1"], [], ())


@pytest.mark.parametrize(
    ("reading", "message"),
    [({"root": "/nowhere"}, "no such folder"), ({"kept": ("price",)}, "missing column 'price'")],
)
def test_options_that_do_not_apply_are_refused(
    pictures: dict[str, bytes], tmp_path: Path, reading: dict[str, str], message: str
) -> None:
    source = write_paths(tmp_path / "in.csv", pictures)
    with pytest.raises(InputError, match=message):
        open_input(source, TableReading(**reading), CONTRACT)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"the root .* has no effect\. Leave it out"):
        open_input(tmp_path / "shop", TableReading(root=str(tmp_path)), CONTRACT)


# --- archives ---


def names_of(rows: Rows) -> list[str]:
    return [row["id"] for row in rows]


@pytest.mark.parametrize("form", ["in.zip", "in.tgz"])
def test_unsafe_member_names_are_made_relative(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path, form: str
) -> None:
    content = pictures["Coat/00.png"]
    unsafe = {"../../up.png": content, "/etc/a.png": content, "C:\\b.png": content, "notes.txt": b"", "in.zip": b"PK"}
    source = FORMS[form](tmp_path / form, unsafe | {"__MACOSX/._a.png": b""})
    summary, rows, _ = score(model, source, tmp_path / "out.csv")
    assert names_of(rows) == ["up.png", "etc/a.png", "b.png"]
    assert summary.left_out.first == ("notes.txt", "in.zip", "__MACOSX/._a.png")
    assert {path.name for path in tmp_path.iterdir()} == {form, "out.csv"}


@pytest.mark.parametrize("form", ["in.zip", "in.tar"])
def test_members_of_the_same_name_keep_their_positions(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path, form: str
) -> None:
    first, second = write_png(np.zeros((28, 28), np.uint8)), pictures["Coat/00.png"]
    if form == "in.zip":
        with zipfile.ZipFile(tmp_path / form, "w") as archive:
            archive.writestr("a.png", first)
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("a.png", second)
    else:
        with tarfile.open(tmp_path / form, "w") as archive:
            for content in (first, second):
                member = tarfile.TarInfo("a.png")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    _, rows, _ = score(model, tmp_path / form, tmp_path / "out.csv")
    said = predict_photos(model, [read_views(first, CONTRACT), read_views(second, CONTRACT)])
    assert names_of(rows) == ["a.png", "a.png"]
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], said.confidences, atol=2e-6)


def test_unreadable_zip_members_are_rejects(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.zip"
    content = pictures["Coat/00.png"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("good.png", "damaged.png", "encrypted.png"):
            archive.writestr(name, content)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "good.png")
        archive.writestr(zipfile.ZipInfo("large.png"), bytes(decoding.LARGEST + 1), zipfile.ZIP_DEFLATED)
    whole = bytearray(path.read_bytes())
    whole[whole.index(content, whole.index(b"damaged.png")) + 50] ^= 1
    whole[whole.index(b"encrypted.png", whole.rindex(b"good.png")) - 38] |= 1  # its flag in the central directory
    path.write_bytes(whole)
    _, rows, rejects = score(model, path, tmp_path / "out.csv")
    assert names_of(rows) == ["good.png"]
    reasons = {row["row"]: row["reason"] for row in rejects}
    assert reasons["damaged.png"].startswith("damaged archive member: Bad CRC-32")
    assert reasons["encrypted.png"] == "encrypted"
    assert reasons["link.png"] == "a link, which is not followed"
    assert reasons["large.png"] == "the file is larger than 128 MiB"


def test_tar_members_that_are_not_regular_files_are_rejects(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "in.tar", {"good.png": pictures["Coat/00.png"]})
    with tarfile.open(path, "a") as archive:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "good.png"
            archive.addfile(member)
    _, rows, rejects = score(model, path, tmp_path / "out.csv")
    assert names_of(rows) == ["good.png"]
    assert [row["reason"] for row in rejects] == ["a link, which is not followed"] * 2 + ["not a regular file"]
    (part,) = open_input(path, TableReading(), CONTRACT).parts()
    assert str(pickle.loads(pickle.dumps(part))) == str(part), "it can be sent to another machine"
    assert [str(one.content) for one in pickle.loads(pickle.dumps(part)).pictures[1:]] == [
        str(one.content) for one in part.pictures[1:]
    ]


@pytest.mark.parametrize("form", ["in.zip", "in.tar", "in.tgz", "in.tar.zst"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_archive_is_refused(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path, form: str, share: float
) -> None:
    source = FORMS[form](tmp_path / form, pictures)
    content = source.read_bytes()
    source.write_bytes(content[: int(len(content) * share) // 512 * 512])
    with pytest.raises(InputError, match=r"cannot read the (zip|tar) archive|damaged"):
        run_job(model, source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_damaged_tar_header_is_refused(model: Classifier, pictures: dict[str, bytes], tmp_path: Path) -> None:
    source = write_tar(tmp_path / "in.tar", pictures)
    content = bytearray(source.read_bytes())
    content[content.index(b"Coat/07.png")] ^= 1
    source.write_bytes(content)
    with pytest.raises(InputError, match="bad checksum"):
        open_input(source, TableReading(), CONTRACT)


def test_an_oversized_tar_name_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    (tmp_path / "in.tar").write_bytes(header.tobuf() + bytes(1 << 20))
    with pytest.raises(InputError, match="a name or attributes longer than 1 MiB"):
        open_input(tmp_path / "in.tar", TableReading(), CONTRACT)


def test_a_zip_with_overlapping_members_is_refused(pictures: dict[str, bytes], tmp_path: Path) -> None:
    source = write_zip(tmp_path / "in.zip", {"a.png": pictures["Coat/00.png"], "b.png": pictures["Coat/01.png"]})
    content = bytearray(source.read_bytes())
    place = content.rindex(b"b.png") - 4  # its offset in the central directory
    content[place : place + 4] = bytes(4)
    source.write_bytes(content)
    with pytest.raises(InputError, match="its members overlap"):
        open_input(source, TableReading(), CONTRACT)


@pytest.mark.parametrize("form", ["in.zip", "in.tar", "in.tgz", "in.parquet"])
def test_other_files_and_archives_without_pictures_are_refused(tmp_path: Path, form: str) -> None:
    (tmp_path / form).write_bytes(b"id,pixel1\n" * 100)
    with pytest.raises(InputError, match=r"not a|cannot read the|damaged"):
        open_input(tmp_path / form, TableReading(), CONTRACT)
    if form != "in.parquet":
        FORMS[form](tmp_path / form, {"notes.txt": b""})
        with pytest.raises(InputError, match="contains no pictures"):
            open_input(tmp_path / form, TableReading(), CONTRACT)


# --- Parquet ---


def test_parquet_rejects_store_the_pictures_byte_for_byte(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    good, broken = pictures["Coat/00.png"], pictures["Coat/01.png"][:80]
    images = pa.array([good, broken, None, good], pa.binary())
    pq.write_table(pa.table({"image": images, "label": [4, 4, 4, 11]}), tmp_path / "in.parquet")
    summary = run_job(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert (summary.count.scored, summary.count.unlabelled, summary.count.unread) == (2, 1, {"11": 1})
    rejects = pq.read_table(tmp_path / "out.rejects.parquet").to_pylist()
    assert [row["line"] for row in rejects] == [2, 3]
    assert [row["row"] for row in rejects] == [broken, b""]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a.png"]}, "column image: found string, expected binary"),
        ({"image": [b""], "label": [["Bag"]]}, "column label: found list.*, expected whole numbers or class names"),
        ({"image": [{"path": "a.png"}]}, "column image: found struct"),
    ],
)
def test_columns_of_other_types_are_refused(tmp_path: Path, columns: dict[str, list[object]], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=message):
        open_input(tmp_path / "in.parquet", TableReading(), CONTRACT)


def test_a_pattern_does_not_follow_circular_links(
    model: Classifier, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    root = write_folder(tmp_path / "night", {**pictures, ".hidden/no.png": pictures["Coat/00.png"]})
    (root / "Coat" / "again").symlink_to("..")
    run_job(model, root / "**" / "*.png", tmp_path / "out.csv")
    ids = [row["id"] for row in read_csv(tmp_path / "out.csv")]
    assert ids == sorted(name for name in pictures if name.endswith(".png"))
    everything = run_job(model, root / "**", tmp_path / "all.csv").count
    assert (everything.scored, everything.rejected) == (len(pictures), 1), "the link"


def test_a_header_may_start_with_an_empty_cell(model: Classifier, pictures: dict[str, bytes], tmp_path: Path) -> None:
    """As pandas writes its index, here with tabs."""
    source = write_folder(tmp_path / "shop", pictures) / "in.csv"
    source.write_text("\tpath\n" + "".join(f"{place}\t{name}\n" for place, name in enumerate(pictures)))
    assert run_job(model, source, tmp_path / "out.csv", reading=TableReading(delimiter="\t")).count.scored == len(
        pictures
    )
