"""Downloads of the official archives are complete, or fail."""

from pathlib import Path

import pytest
from mirrors import Answer, Mirror, describe_case, downloading, files_in, mirror, sample_is_official  # noqa: F401, fixtures

from components.catalogues import OFFICIAL
from components.catalogues.fashion_mnist import CONTRACT
from components.dataset import download
from components.dataset.archives import (
    FILES,
)
from components.dataset.download import download_archives
from components.dataset.sources import find_source
from components.errors import SourceUnreachable
from components.settings import Settings

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES


@pytest.mark.parametrize("source", ["auto", "download"])
def test_the_four_archives_are_downloaded(downloading: Settings, mirror: Mirror, archives: Path, source: str) -> None:
    found = find_source(source, downloading, CONTRACT)
    assert found.name == OFFICIAL.contract.name
    assert mirror.asked == [f"/{file}" for file in FILES]
    assert files_in(downloading.raw_dir) == set(FILES)
    assert all((downloading.raw_dir / file).read_bytes() == (archives / file).read_bytes() for file in FILES)


@pytest.mark.parametrize("source", ["auto", "download"])
def test_existing_archives_are_not_downloaded_again(downloading: Settings, mirror: Mirror, source: str) -> None:
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


@pytest.mark.parametrize(
    "first", [Answer(b"wrong"), Answer(status=503), Answer(b"cut off", declared=999)], ids=describe_case
)
def test_a_failed_download_is_retried(downloading: Settings, mirror: Mirror, first: Answer) -> None:
    mirror.answers[TRAIN_LABELS].insert(0, first)
    download_archives(downloading)
    assert mirror.asked.count(f"/{TRAIN_LABELS}") == 2
    assert files_in(downloading.raw_dir) == set(FILES)


def test_a_failed_mirror_falls_back_to_the_next(downloading: Settings, mirror: Mirror) -> None:
    """With and without a trailing slash in the base URL."""
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
        (Answer(b"<html>moved</html>"), "found MD5 .*, expected"),
        (Answer(b""), "found MD5 .*, expected"),
        (Answer(b"cut off", declared=999), "peer closed connection"),
        (Answer(b"not gzip", encoding="gzip"), "MD5|decod|decompress"),
    ],
    ids=describe_case,
)
def test_a_failed_download_is_named_and_leaves_no_partial_file(
    downloading: Settings, mirror: Mirror, answer: Answer, reason: str
) -> None:
    mirror.answers[TEST_IMAGES] = [answer]
    with pytest.raises(SourceUnreachable, match=f"{TEST_IMAGES} could not be downloaded: {mirror.url}.*({reason})"):
        download_archives(downloading)
    assert mirror.asked.count(f"/{TEST_IMAGES}") == 2
    assert files_in(downloading.raw_dir) == {TRAIN_IMAGES, TRAIN_LABELS}


def test_an_interrupted_transfer_keeps_the_old_file(downloading: Settings, mirror: Mirror) -> None:
    download_archives(downloading)
    (downloading.raw_dir / TEST_IMAGES).write_bytes(b"damaged")
    mirror.answers[TEST_IMAGES] = [Answer(b"cut off", declared=999)]
    with pytest.raises(SourceUnreachable):
        download_archives(downloading)
    assert files_in(downloading.raw_dir) == set(FILES)
    assert (downloading.raw_dir / TEST_IMAGES).read_bytes() == b"damaged"


def test_a_gzip_content_encoding_is_ignored(downloading: Settings, mirror: Mirror, archives: Path) -> None:
    """Some web servers set Content-Encoding for the suffix .gz."""
    for file in FILES:
        mirror.answers[file] = [Answer((archives / file).read_bytes(), encoding="gzip")]
    download_archives(downloading)
    assert (downloading.raw_dir / TEST_IMAGES).read_bytes() == (archives / TEST_IMAGES).read_bytes()


def test_a_download_over_the_size_limit_is_aborted(
    downloading: Settings, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LARGEST", 100)
    with pytest.raises(SourceUnreachable, match="larger than 100 bytes"):
        download_archives(downloading)
    assert files_in(downloading.raw_dir) == set()


@pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1/", "http://[", "http://127.0.0.1:1/"])
def test_an_unreachable_mirror_is_named(downloading: Settings, url: str) -> None:
    settings = downloading.model_copy(update={"mirrors": (url,), "download_attempts": 1})
    with pytest.raises(SourceUnreachable) as refused:
        download_archives(settings)
    assert url.rstrip("/") in str(refused.value)
