"""Paths inside folders."""

import os
from pathlib import Path

import pytest

from components.files import is_inside


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("", True),
        (".", True),
        ("a/b.png", True),
        ("not/there", True),
        ("a/../a/b.png", True),
        ("..a", True),
        ("a...", True),
        ("link", True),
        ("up/in/a/b.png", True),
        ("round", True),
        ("..", False),
        ("a/../../in.png", False),
        ("../in.", False),
        ("../in./b.png", False),
        ("../in-other/b.png", False),
        ("/", False),
        ("/etc/passwd", False),
        ("out", False),
        ("up", False),
        ("up/b.png", False),
        ("out/b.png", False),
        ("a\0b", False),
    ],
)
def test_is_inside_resolves_links(tmp_path: Path, name: str, inside: bool) -> None:
    folder = tmp_path / "in"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "b.png").write_bytes(b"")
    (tmp_path / "in-other").mkdir()
    for link, target in {"link": "a", "out": "../in-other", "up": "..", "round": "round"}.items():
        (folder / link).symlink_to(target)
    (tmp_path / "linked").symlink_to("in")
    for root in (folder, tmp_path / "linked"):
        assert is_inside(f"{root}/{name}" if not name.startswith("/") else name, root) is inside
        assert is_inside(os.path.relpath(root / name) if "\0" not in name else name, root) is inside


def test_every_path_is_inside_the_root() -> None:
    assert is_inside("/etc/passwd", "/")
