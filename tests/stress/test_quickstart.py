"""The quickstart: every command, in order."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from readme import User

from components.settings import CHECKOUT

pytestmark = pytest.mark.slow
PAGE = (CHECKOUT / "docs" / "quickstart.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)


def test_every_command_works(tmp_path: Path, archives: Path) -> None:
    user = User.prepare(tmp_path, archives)
    path = f"{CHECKOUT / '.venv' / 'bin'}:{user.environment['PATH']}"  # as `source .venv/bin/activate` sets it
    user = dataclasses.replace(user, environment=user.environment | {"PATH": path})
    user.type_each(COMMANDS)
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(lines) == 7
    assert (tmp_path / "predictions.rejects.csv").read_text() in PAGE
    moves = (tmp_path / "home" / "bentoml" / "fashion" / "history.jsonl").read_text().splitlines()
    assert [json.loads(move)["action"] for move in moves][-2:] == ["promote", "rollback"]
