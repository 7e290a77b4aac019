"""A folder whose settings file is the only source of settings."""

import os
from pathlib import Path

import pytest

from ops import settings_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {n: v for n, v in os.environ.items() if not n.startswith("FASHION_")})
    monkeypatch.setattr(settings_file, "given", set())
    return tmp_path
