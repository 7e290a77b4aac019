"""Where raw examples come from: archives, a download, a CSV, a folder of pictures, the drawn sample."""

import http.server
import io
import json
import logging
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from awkward import AWKWARD, draw_awkward, write_awkward
from PIL import Image
from readings import PIXEL_COLUMNS

from components.catalogues import OFFICIAL
from components.catalogues.catalogue import ArchiveChecksums
from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.catalogues.sample import draw
from components.contract import SAMPLE, DataContract, Images, ImageSpec, Labels
from components.dataset import download
from components.dataset.archives import (
    FILES,
    declare_source,
    md5_of,
    open_archives,
    write_sample,
)
from components.dataset.download import download_archives
from components.dataset.sources import find_source
from components.dataset.tables import read_picture_table
from components.errors import SettingsError, SourceError, SourceUnreachable
from components.readers.images.idx import encode_idx, read_idx
from components.settings import Settings

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES


@pytest.fixture
def folder(archives: Path, tmp_path: Path) -> Path:
    """A copy of the drawn archives that the test may change."""
    return shutil.copytree(archives, tmp_path / "archives")


@pytest.fixture
def _sample_is_official(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawn archives have the checksums of the official ones, so that they can stand in for them."""
    for file in FILES:
        checksums = ArchiveChecksums(md5_of(archives / file), "", "")
        monkeypatch.setitem(cast("dict[str, ArchiveChecksums]", OFFICIAL.checksums), file, checksums)


# --- archives ---


def test_our_checksums_and_mirrors_are_torchvision_s() -> None:
    from torchvision.datasets import FashionMNIST

    assert dict(FashionMNIST.resources) == {file: one.md5 for file, one in OFFICIAL.checksums.items()}
    assert list(OFFICIAL.mirrors) == FashionMNIST.mirrors
    assert FashionMNIST.mirrors[0].startswith("http")
    assert tuple(FashionMNIST.classes) == CLASSES


def test_a_declared_set_is_known_by_its_own_name(folder: Path) -> None:
    declare_source(folder, "acme", "CC-BY-4.0")
    source = find_source(str(folder), Settings(), CONTRACT)
    assert (source.name, source.licence, source.extends) == ("acme", "CC-BY-4.0", False)
    assert {file for files in source.digests.values() for file in files} == set(FILES)
    images, labels = source.read("train")
    assert (images.shape, labels.shape) == ((600, 28, 28), (600,))
    assert source.read("test")[0].shape == (200, 28, 28)


@pytest.mark.usefixtures("_sample_is_official")
def test_the_official_files_need_no_declaration(folder: Path) -> None:
    (folder / "source.json").unlink()
    source = open_archives(folder)
    assert (source.name, source.licence) == (OFFICIAL.contract.name, OFFICIAL.licence)


@pytest.mark.parametrize("contract", [AWKWARD, replace(AWKWARD, image=ImageSpec(12, 9))], ids=["RGB", "grey"])
def test_archives_may_bring_a_contract(tmp_path: Path, contract: DataContract) -> None:
    source = find_source(str(write_awkward(tmp_path, contract)), Settings(), CONTRACT)
    assert source.contract == contract
    for found, expected in zip(source.read("test"), draw_awkward(120, 120, contract), strict=True):
        assert np.array_equal(found, expected)


def test_what_does_not_fit_the_contract_beside_it_is_refused(tmp_path: Path) -> None:
    folder = write_awkward(tmp_path)
    declare_source(folder, "shop", "MIT", replace(AWKWARD, classes=("10", "3")))
    with pytest.raises(SourceError, match=f"{TRAIN_LABELS}: found the label 2, expected 0 to 1"):
        open_archives(folder).read("train")
    declare_source(folder, "shop", "MIT", replace(AWKWARD, image=ImageSpec(24, 20, 3)))
    with pytest.raises(SourceError, match=r"shape \(20, 24, 3\), expected \(24, 20, 3\)"):
        open_archives(folder).read("train")
    declare_source(folder, "shop", "MIT", replace(AWKWARD, name="fashion-mnist"))
    with pytest.raises(SourceError, match=r"source\.json: the contract 'fashion-mnist' is kept .*; image: found"):
        open_archives(folder)


@pytest.mark.parametrize(("column", "classes"), [(pa.string(), ["10", "kids  2-6", "3"]), (pa.int64(), [10, None, 3])])
def test_a_class_of_another_catalogue_may_be_called_by_a_number(
    tmp_path: Path, column: pa.DataType, classes: list[Any]
) -> None:
    path = tmp_path / "new.parquet"
    pq.write_table(pa.table({"image": pa.array([b"x"] * 3), "label": pa.array(classes, column)}), path)
    labels = [row.label for row in read_picture_table(path, AWKWARD)]
    assert labels == [0, 1 if classes[1] else None, 2]


def test_a_foreign_set_without_a_declaration_is_refused(folder: Path) -> None:
    (folder / "source.json").unlink()
    with pytest.raises(
        SourceError, match=rf"{TRAIN_IMAGES}: MD5 is .*{OFFICIAL.checksums[TRAIN_IMAGES].md5}.*source\.json"
    ):
        open_archives(folder)


@pytest.mark.usefixtures("_sample_is_official")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("declared", [True, False])
def test_a_flipped_bit_is_refused_and_its_file_named(folder: Path, file: str, declared: bool) -> None:
    if not declared:
        (folder / "source.json").unlink()
    content = bytearray((folder / file).read_bytes())
    content[4] ^= 1  # the time in the gzip header: the data unpacks as before
    (folder / file).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{file}: {'SHA-256' if declared else 'MD5'} is"):
        open_archives(folder)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(SourceError, match=rf"archives: no {file}$"):
        find_source(str(folder), Settings(), CONTRACT)


def test_a_label_that_is_no_class_is_refused(folder: Path) -> None:
    labels = read_idx(folder / TEST_LABELS, ()).copy()
    labels[3] = 10
    (folder / TEST_LABELS).write_bytes(encode_idx(labels))
    declare_source(folder, "acme", "MIT")
    source = open_archives(folder)
    source.read("train")
    with pytest.raises(SourceError, match=f"{TEST_LABELS}: found the label 10, expected 0 to 9"):
        source.read("test")


def test_images_and_labels_of_different_counts_are_refused(folder: Path) -> None:
    (folder / TRAIN_LABELS).write_bytes(encode_idx(read_idx(folder / TRAIN_LABELS, ())[:-1]))
    declare_source(folder, "acme", "MIT")
    with pytest.raises(SourceError, match="600 train images but 599 labels"):
        open_archives(folder).read("train")


def test_the_two_archives_exchanged_are_refused(folder: Path) -> None:
    shutil.copy(folder / TRAIN_IMAGES, folder / TRAIN_LABELS)
    declare_source(folder, "acme", "MIT")
    with pytest.raises(SourceError, match=f"{TRAIN_LABELS}: magic number is 00000803, expected 00000801"):
        open_archives(folder).read("train")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"name": "acme", "licence": "MIT"}',
        b'{"name": "acme", "sha256": {}}',
        b'{"name": "acme", "licence": "MIT", "sha256": null}',
        b'{"name": "acme", "licence": "MIT", "sha256": "abc"}',
        b"\xff",
    ],
)
def test_a_malformed_declaration_is_refused(folder: Path, content: bytes) -> None:
    (folder / "source.json").write_bytes(content)
    with pytest.raises(SourceError, match=r"source\.json: expected JSON with name, licence and sha256, found"):
        open_archives(folder)


def test_a_declaration_that_leaves_a_file_out_is_refused(folder: Path) -> None:
    declared = json.loads((folder / "source.json").read_bytes())
    del declared["sha256"][TEST_LABELS]
    (folder / "source.json").write_text(json.dumps(declared))
    with pytest.raises(SourceError, match=rf"{TEST_LABELS}: SHA-256 is .*, source\.json says None"):
        open_archives(folder)


def test_the_official_name_cannot_be_claimed(folder: Path) -> None:
    declare_source(folder, OFFICIAL.contract.name, "MIT")
    with pytest.raises(SourceError, match="the name 'fashion-mnist' is kept for the official files"):
        open_archives(folder)


# --- the download ---


@dataclass(frozen=True)
class Answer:
    """What the mirror says to one request."""

    body: bytes = b""
    status: int = 200
    declared: int | None = None  # Content-Length; None: the body's
    encoding: str = ""  # Content-Encoding; empty: none


def told(case: object) -> str:
    """A short name for a case."""
    return f"{case.status}-{case.body.decode()}" if isinstance(case, Answer) else str(case)


@dataclass
class Mirror:
    """A web server of the test's own. Each file has its answers in turn, the last for good; others are not found."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        queue = self.answers.get(path.rsplit("/", 1)[-1], [Answer(status=404)])
        return queue.pop(0) if len(queue) > 1 else queue[0]


@pytest.fixture
def mirror(archives: Path) -> Iterator[Mirror]:
    """A mirror that has the drawn archives."""
    mirror = Mirror({file: [Answer((archives / file).read_bytes())] for file in FILES})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = mirror.answer(self.path)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) if answer.declared is None else answer.declared))
            if answer.encoding:
                self.send_header("Content-Encoding", answer.encoding)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield mirror
        server.shutdown()
        thread.join()


@pytest.fixture
def downloading(_sample_is_official: None, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose one mirror is the test's."""
    monkeypatch.setattr(download, "BACK_OFF", 0.01)
    return Settings(data_dir=tmp_path / "data", mirrors=(mirror.url,), download_attempts=2, download_timeout=5)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.mark.parametrize("source", ["auto", "download"])
def test_the_four_archives_are_downloaded(downloading: Settings, mirror: Mirror, archives: Path, source: str) -> None:
    found = find_source(source, downloading, CONTRACT)
    assert found.name == OFFICIAL.contract.name
    assert mirror.asked == [f"/{file}" for file in FILES]
    assert files_in(downloading.raw_dir) == set(FILES)
    assert all((downloading.raw_dir / file).read_bytes() == (archives / file).read_bytes() for file in FILES)


@pytest.mark.parametrize("source", ["auto", "download"])
def test_what_is_there_is_not_downloaded_again(downloading: Settings, mirror: Mirror, source: str) -> None:
    download_archives(downloading)
    (downloading.raw_dir / TEST_LABELS).unlink()
    mirror.asked.clear()
    find_source(source, downloading, CONTRACT)
    assert mirror.asked == [f"/{TEST_LABELS}"]
    mirror.asked.clear()
    find_source(source, downloading, CONTRACT)
    assert mirror.asked == []


def test_a_damaged_archive_is_downloaded_again(downloading: Settings, mirror: Mirror, archives: Path) -> None:
    download_archives(downloading)
    (downloading.raw_dir / TEST_IMAGES).write_bytes(b"damaged")
    mirror.asked.clear()
    download_archives(downloading)
    assert mirror.asked == [f"/{TEST_IMAGES}"]
    assert (downloading.raw_dir / TEST_IMAGES).read_bytes() == (archives / TEST_IMAGES).read_bytes()


@pytest.mark.parametrize("first", [Answer(b"wrong"), Answer(status=503), Answer(b"cut off", declared=999)], ids=told)
def test_a_second_attempt_makes_it_good(downloading: Settings, mirror: Mirror, first: Answer) -> None:
    mirror.answers[TRAIN_LABELS].insert(0, first)
    download_archives(downloading)
    assert mirror.asked.count(f"/{TRAIN_LABELS}") == 2
    assert files_in(downloading.raw_dir) == set(FILES)


def test_a_second_mirror_makes_it_good(downloading: Settings, mirror: Mirror) -> None:
    """Their base URLs end with a slash or do not."""
    dead = "http://127.0.0.1:1"
    nowhere, there = f"{mirror.url}nowhere", f"{mirror.url}there/"
    settings = downloading.model_copy(update={"mirrors": (dead, nowhere, there), "download_attempts": 3})
    for file in FILES:
        mirror.answers[file].insert(0, Answer(status=404))
    download_archives(settings)
    assert mirror.asked == [f"/{place}/{file}" for file in FILES for place in ("nowhere", "there")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=404), "404"),
        (Answer(status=500), "500"),
        (Answer(b"<html>moved</html>"), "MD5 is .*, expected"),
        (Answer(b""), "MD5 is .*, expected"),
        (Answer(b"cut off", declared=999), "peer closed connection"),
        (Answer(b"not gzip", encoding="gzip"), "MD5|decod|decompress"),
    ],
    ids=told,
)
def test_what_cannot_be_had_is_named_and_nothing_partial_is_left(
    downloading: Settings, mirror: Mirror, answer: Answer, reason: str
) -> None:
    mirror.answers[TEST_IMAGES] = [answer]
    with pytest.raises(SourceUnreachable, match=f"{TEST_IMAGES} could not be downloaded: {mirror.url}.*({reason})"):
        download_archives(downloading)
    assert mirror.asked.count(f"/{TEST_IMAGES}") == 2
    assert files_in(downloading.raw_dir) == {TRAIN_IMAGES, TRAIN_LABELS}


def test_a_transfer_that_is_cut_off_leaves_the_old_file(downloading: Settings, mirror: Mirror) -> None:
    download_archives(downloading)
    (downloading.raw_dir / TEST_IMAGES).write_bytes(b"damaged")
    mirror.answers[TEST_IMAGES] = [Answer(b"cut off", declared=999)]
    with pytest.raises(SourceUnreachable):
        download_archives(downloading)
    assert files_in(downloading.raw_dir) == set(FILES)
    assert (downloading.raw_dir / TEST_IMAGES).read_bytes() == b"damaged"


def test_a_server_that_says_gzip_of_a_gzip_file_gives_that_file(
    downloading: Settings, mirror: Mirror, archives: Path
) -> None:
    """As web servers do that take the ending .gz for an encoding."""
    for file in FILES:
        mirror.answers[file] = [Answer((archives / file).read_bytes(), encoding="gzip")]
    download_archives(downloading)
    assert (downloading.raw_dir / TEST_IMAGES).read_bytes() == (archives / TEST_IMAGES).read_bytes()


def test_a_file_that_does_not_end_is_given_up(
    downloading: Settings, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LARGEST", 100)
    with pytest.raises(SourceUnreachable, match="more than 100 bytes"):
        download_archives(downloading)
    assert files_in(downloading.raw_dir) == set()


@pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1/", "http://[", "http://127.0.0.1:1/"])
def test_a_mirror_that_cannot_be_reached_is_named(downloading: Settings, url: str) -> None:
    settings = downloading.model_copy(update={"mirrors": (url,), "download_attempts": 1})
    with pytest.raises(SourceUnreachable) as refused:
        download_archives(settings)
    assert url.rstrip("/") in str(refused.value)


# --- the words ---


@pytest.fixture
def offline(downloading: Settings) -> Settings:
    return downloading.model_copy(update={"mirrors": ("http://127.0.0.1:1",), "download_attempts": 1})


@pytest.mark.parametrize("name", ["nowhere", "/nowhere/at/all", "~nosuchuser/archives", "smaple", "a\0b"])
def test_a_word_that_is_no_source_says_which_there_are(offline: Settings, name: str) -> None:
    with pytest.raises(SettingsError, match="no such file or folder, nor one of auto, download, sample") as refused:
        find_source(name, offline, CONTRACT)
    assert name in str(refused.value)


def test_a_file_that_is_no_csv_is_refused(offline: Settings, archives: Path) -> None:
    with pytest.raises(SettingsError, match=r"a file must be a labelled \.csv or \.parquet; or name a folder"):
        find_source(str(archives / TRAIN_IMAGES), offline, CONTRACT)


def test_archives_in_the_raw_folder_need_no_network(offline: Settings, archives: Path) -> None:
    shutil.copytree(archives, offline.raw_dir, ignore=shutil.ignore_patterns("source.json"))
    assert find_source("auto", offline, CONTRACT).name == OFFICIAL.contract.name


@pytest.mark.parametrize("fallback", [True, False])
def test_damaged_archives_are_never_replaced_by_the_sample(offline: Settings, archives: Path, fallback: bool) -> None:
    shutil.copytree(archives, offline.raw_dir, ignore=shutil.ignore_patterns("source.json"))
    (offline.raw_dir / TRAIN_LABELS).write_bytes(b"damaged")
    with pytest.raises(SourceError, match=f"{TRAIN_LABELS}: MD5 is"):
        find_source("auto", offline, CONTRACT, sample_fallback=fallback)


def test_without_a_network_the_error_says_what_to_do(offline: Settings) -> None:
    with pytest.raises(SourceUnreachable) as refused:
        find_source("auto", offline, CONTRACT)
    assert f"put the four archives into {offline.raw_dir}, or set FASHION_SOURCE" in str(refused.value)
    assert "http://127.0.0.1:1/train-images" in str(refused.value)
    assert not offline.sample_dir.exists()


@pytest.mark.parametrize("fallback", [True, False])
def test_only_auto_falls_back_on_the_sample(offline: Settings, fallback: bool) -> None:
    with pytest.raises(SourceUnreachable):
        find_source("download", offline, CONTRACT, sample_fallback=fallback)


def test_the_fallback_says_so_in_plain_words(offline: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "components"):
        source = find_source("auto", offline, CONTRACT, sample_fallback=True)
    assert source.name == SAMPLE
    first, second = caplog.messages
    assert first.startswith("Fashion-MNIST could not be reached (train-images-idx3-ubyte.gz could not be downloaded")
    assert second == "Going on with a drawn sample: everything made from it is marked 'sample'."
    assert len(source.read("train")[0]) == 4000
    assert len(source.read("test")[0]) == 1000


# --- a labelled CSV ---


@pytest.fixture(scope="module")
def examples() -> tuple[Images, Labels]:
    return draw(12, np.random.default_rng(7))


def write_csv(path: Path, columns: str, rows: list[str]) -> Path:
    path.write_text("\n".join([f"{columns}{','.join(PIXEL_COLUMNS)}", *rows]) + "\n")
    return path


def rows_of(images: Images, labels: Labels) -> list[str]:
    return [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels, strict=True)]


def test_a_labelled_csv_adds_training_examples(tmp_path: Path, examples: tuple[Images, Labels]) -> None:
    path = write_csv(tmp_path / "new.CSV", "label,", rows_of(*examples))
    source = find_source(str(path), Settings(), CONTRACT)
    assert source.name == "csv:new.CSV"
    assert source.extends
    assert list(source.digests) == ["train"]
    images, labels = source.read("train")
    assert np.array_equal(images, examples[0])
    assert np.array_equal(labels, examples[1])


def test_one_bad_row_refuses_the_whole_csv(tmp_path: Path, examples: tuple[Images, Labels]) -> None:
    rows = rows_of(*examples)
    rows[2], rows[5], rows[6], rows[7] = f"1{rows[2][1:]},7", "", rows[6].replace(",", ",x", 1), "10" + rows[7][1:]
    source = find_source(str(write_csv(tmp_path / "new.csv", "label,", rows)), Settings(), CONTRACT)
    told = (
        r"new\.csv: 4 bad row\(s\), nothing was taken: line 4: row: 786 cells, expected 785; "
        r"line 7: row: an empty line; line 8: pixel1: 'x.*' is not a whole number"
    )
    with pytest.raises(SourceError, match=told):
        source.read("train")


@pytest.mark.parametrize("columns", ["", "id,"])
def test_a_csv_without_labels_adds_nothing(tmp_path: Path, columns: str) -> None:
    path = write_csv(tmp_path / "new.csv", columns, [columns.replace("id", "a") + ",".join(["1"] * 784)])
    with pytest.raises(SourceError, match=r"new\.csv: no labelled rows; expected label,pixel1"):
        find_source(str(path), Settings(), CONTRACT).read("train")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty; expected a header"),
        (b"label\n", r"missing 784 column\(s\)"),
        (f"label,{','.join(PIXEL_COLUMNS)}\n".encode(), "no labelled rows"),
    ],
)
def test_a_csv_that_is_no_table_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "new.csv").write_bytes(content)
    with pytest.raises(SourceError, match=rf"new\.csv: .*{told}"):
        find_source(str(tmp_path / "new.csv"), Settings(), CONTRACT).read("train")


# --- a folder of pictures ---


@pytest.fixture
def pictures(tmp_path: Path, examples: tuple[Images, Labels]) -> Path:
    """Three pictures: of the class 0 by name, of 9 by name, of 3 by number."""
    places = ("t-shirt_top/b.png", "Ankle boot/a.PNG", "3/c.png")
    for place, image in zip(places, examples[0], strict=False):
        path = tmp_path / "pictures" / place
        path.parent.mkdir(parents=True)
        Image.fromarray(image).save(path)
    return tmp_path / "pictures"


def test_a_folder_of_pictures_adds_training_examples(pictures: Path, examples: tuple[Images, Labels]) -> None:
    source = find_source(str(pictures), Settings(), CONTRACT)
    assert source.name == "images:pictures"
    assert source.extends
    assert list(source.digests) == ["train"]
    assert list(source.digests["train"]) == ["3/c.png", "Ankle boot/a.PNG", "t-shirt_top/b.png"]
    images, labels = source.read("train")
    assert labels.tolist() == [3, 9, 0]
    assert np.array_equal(images, examples[0][[2, 1, 0]])


@pytest.mark.parametrize(("label", "name"), list(enumerate(CLASSES)))
def test_a_class_has_a_name_and_a_number(
    tmp_path: Path, label: int, name: str, examples: tuple[Images, Labels]
) -> None:
    for folder in (str(label), name.replace("/", "_"), name.replace("/", "-").upper(), name.lower().replace(" ", "-")):
        path = tmp_path / folder.replace("/", "_") / f"{len(folder)}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(examples[0][0]).save(path)
    assert set(find_source(str(tmp_path), Settings(), CONTRACT).read("train")[1].tolist()) == {label}


@pytest.mark.parametrize("name", ["hat", "10", "-1", "01", "T-shirt", "_", ".git", "unsorted"])
def test_a_folder_that_is_no_class_is_refused(pictures: Path, name: str) -> None:
    (pictures / name).mkdir()
    with pytest.raises(SourceError, match=rf"{name}: not a class; expected 0 to 9 or one of T-shirt/top, Trouser"):
        find_source(str(pictures), Settings(), CONTRACT)


@pytest.mark.parametrize("place", ["3/notes.txt", "3/c.gif", "3/c", "stray.png", "stray.txt"])
def test_a_stray_file_is_refused_not_left_out(pictures: Path, place: str) -> None:
    (pictures / place).write_bytes(b"stray")
    with pytest.raises(SourceError, match=place):
        find_source(str(pictures), Settings(), CONTRACT)


@pytest.mark.parametrize("place", ["3/folder", "3/folder.png"])
def test_a_folder_among_the_pictures_is_refused(pictures: Path, place: str) -> None:
    (pictures / place).mkdir()
    with pytest.raises(SourceError, match=place):
        find_source(str(pictures), Settings(), CONTRACT)


@pytest.mark.parametrize("place", ["3/link.png", "5"])
def test_a_symlink_is_refused_not_followed_and_not_left_out(pictures: Path, tmp_path: Path, place: str) -> None:
    target = tmp_path / "outside"
    target.mkdir()
    shutil.copy(pictures / "3" / "c.png", target)
    (pictures / place).symlink_to(target / "c.png" if place.endswith("png") else target)
    with pytest.raises(SourceError, match=place):
        find_source(str(pictures), Settings(), CONTRACT)


def test_a_truncated_picture_is_named(pictures: Path) -> None:
    path = pictures / "3" / "c.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match=r"pictures/3/c\.png: a damaged picture"):
        find_source(str(pictures), Settings(), CONTRACT).read("train")


def test_a_disguised_picture_is_named(pictures: Path) -> None:
    content = io.BytesIO()
    Image.new("L", (28, 28)).save(content, "GIF")
    (pictures / "3" / "c.png").write_bytes(content.getvalue())
    with pytest.raises(SourceError, match=r"3/c\.png: not a PNG, JPEG or WEBP picture"):
        find_source(str(pictures), Settings(), CONTRACT).read("train")


@pytest.mark.parametrize(
    ("inside", "told"), [((), "neither the four IDX archives nor a folder"), (("3",), "expected PNG")]
)
def test_a_folder_without_pictures_is_refused(tmp_path: Path, inside: tuple[str, ...], told: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in inside:
        (empty / name).mkdir()
    with pytest.raises(SourceError, match=f"empty: {told}"):
        find_source(str(empty), Settings(), CONTRACT)


# --- the drawn sample ---


def test_the_sample_always_has_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = tmp_path / "first", tmp_path / "second", tmp_path / "other"
    for folder, seed in ((first, 0), (second, 0), (other, 1)):
        write_sample(folder, train_rows=20, test_rows=10, seed=seed)
    assert files_in(first) == {*FILES, "source.json"}
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files_in(first))
    assert (first / TRAIN_IMAGES).read_bytes() != (other / TRAIN_IMAGES).read_bytes()


def test_the_sample_says_what_it_is(archives: Path) -> None:
    source = open_archives(archives)
    assert (source.name, source.licence) == (SAMPLE, "CC0-1.0, drawn by this project")


def test_the_sample_has_all_classes_in_equal_shares(archives: Path) -> None:
    source = open_archives(archives)
    assert np.bincount(source.read("train")[1]).tolist() == [60] * 10
    assert np.bincount(source.read("test")[1]).tolist() == [20] * 10
    assert len(set(source.read("test")[1][:20].tolist())) > 5, "mixed, not class by class"


def test_no_two_images_of_the_sample_are_alike(archives: Path) -> None:
    source = open_archives(archives)
    images = np.concatenate([source.read("train")[0], source.read("test")[0]])
    assert len({image.tobytes() for image in images}) == len(images) == 800


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")  # the corners are always black
def test_the_silhouettes_can_be_told_apart(archives: Path) -> None:
    from sklearn.neighbors import NearestCentroid

    source = open_archives(archives)
    (images, labels), (test_images, test_labels) = source.read("train"), source.read("test")
    found = NearestCentroid().fit(images.reshape(-1, 784), labels).predict(test_images.reshape(-1, 784))
    assert (found == test_labels).mean() > 0.8
    assert all((found == test_labels)[test_labels == label].mean() > 0.25 for label in range(10))
