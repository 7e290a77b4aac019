"""What needs the token, as the documentation says."""

import re

import pytest

from components.settings import CHECKOUT
from serving.endpoints import ENDPOINTS
from serving.errors import Refusal
from serving.guard import OPEN_PATHS, Guard


def documented() -> dict[str, bool]:
    """Map each path in the table of docs/security.md to whether it needs the token."""
    table = (CHECKOUT / "docs" / "security.md").read_text().partition("| path | token |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {path: need.startswith("yes") for paths, need in rows for path in re.findall(r"`(/[^`]*)`", paths)}


def test_the_documentation_lists_exactly_the_open_paths() -> None:
    found = documented()
    assert {path for path, needs in found.items() if not needs} == OPEN_PATHS


@pytest.mark.parametrize("path", sorted({*OPEN_PATHS, *ENDPOINTS, "/openapi.json", "/nowhere"}))
def test_pages_open_without_the_token_and_data_does_not(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_TOKEN", "s3cret")
    scope = {"path": path, "http_version": "1.1", "headers": [(b"host", b"127.0.0.1")]}
    if path in OPEN_PATHS:
        Guard().check(scope)
        return
    with pytest.raises(Refusal, match="missing or invalid bearer token"):
        Guard().check(scope)
