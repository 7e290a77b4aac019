"""Listing a folder: files, links and hidden entries."""

from pathlib import Path

import pytest

from components.readers.folders.listing import walk
from components.readers.folders.names import is_litter


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("in/a/1.png", "in/a/.b.png", "in/a/@eaDir/2.png", "in/b/deep/3.png", "in/.git/x", "out/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    root = tmp_path / "in"
    (root / "empty").mkdir()
    for link, target in {
        "other": "b",
        "a/other": "../b",
        "b/deep/up": "../..",
        "out": "../out",
        "file.png": "a/1.png",
        "round.png": "round.png",
        "gone.png": "gone",
    }.items():
        (root / link).symlink_to(target)
    return root


FILES = ["a/1.png", "b/deep/3.png", "file.png", "gone.png", "round.png"]


@pytest.mark.parametrize(
    ("follow", "files", "links"),
    [
        (0, [], ["a/other", "b/deep/up", "other", "out"]),
        (1, ["other/deep/3.png"], ["a/other", "b/deep/up", "other/deep/up", "out"]),
        (2, ["a/other/deep/3.png", "other/deep/3.png"], ["a/other/deep/up", "b/deep/up", "other/deep/up", "out"]),
        (9, ["a/other/deep/3.png", "other/deep/3.png"], ["a/other/deep/up", "b/deep/up", "other/deep/up", "out"]),
    ],
)
def test_links_to_folders_are_followed_to_a_maximum_depth_but_not_outside_or_upwards(
    root: Path, follow: int, files: list[str], links: list[str]
) -> None:
    found = walk(root, follow)
    assert found.names == sorted([*FILES, *files])
    assert found.links == links
    assert found.hidden == [".git", "a/.b.png", "a/@eaDir"]
    assert {"a", "b", "b/deep", "empty"} <= set(found.folders)


def test_is_litter_hides_only_litter(root: Path) -> None:
    found = walk(root, hidden=is_litter)
    assert found.hidden == ["a/@eaDir"]
    assert {".git/x", "a/.b.png"} <= set(found.names)
