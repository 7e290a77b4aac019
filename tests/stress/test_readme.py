"""The commands of the README's table, each as a user would type it."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from readme import TABLE, User

from components.settings import CHECKOUT

pytestmark = pytest.mark.slow
ELSEWHERE = {  # commands that need a server or an argument, and the test that runs each
    "fashion init": "unit/fashion/cli/test_init.py, stress/test_wheel.py",
    "fashion notify --test": "unit/flows/test_notify.py",
    "fashion label import FOLDER": "journeys/test_corrections.py",
    "fashion inbox": "unit/scoring/test_delivery.py",
    "fashion ingest": "unit/fashion/test_cli.py",
}
SECOND = ("fashion impact latest", "fashion shadow latest", "fashion rollback")  # they need a second model


def test_each_command_works(tmp_path: Path, archives: Path) -> None:
    user = User.prepare(tmp_path, archives)
    path = f"{CHECKOUT / '.venv' / 'bin'}:{user.environment['PATH']}"
    added = {"PATH": path, "FASHION_REVIEW_DIR": str(tmp_path / "review")}
    user = dataclasses.replace(user, environment=user.environment | added)
    shutil.copyfile(CHECKOUT / "examples" / "photos" / "sneaker.png", tmp_path / "photo.jpg")
    shutil.copyfile(CHECKOUT / "examples" / "pixels.csv", tmp_path / "in.csv")
    commands = [one for one in TABLE if one.startswith("fashion ") and one not in ELSEWHERE]
    before, shadow, after = SECOND
    assert set(SECOND) < set(commands)
    trained = ["fashion ingest", "fashion validate", "fashion train --preset quick"]
    user.type_each([*trained, *(one for one in commands if one not in {*SECOND, "fashion train"})])
    user.type_each(["fashion train --preset dense-128 --no-promote", before, shadow])
    user.type_each(["fashion promote latest --force --reason WHY", after])
    assert (tmp_path / "out.csv").is_file()
    for place in ELSEWHERE.values():
        for name in place.split(", "):
            assert (CHECKOUT / "tests" / name).is_file(), name
