"""The README: its links, its Python, and the commands of its first screen.

tests/stress/test_readme.py runs the commands of its table.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from readme import COMMANDS, README, SHOWN, TABLE, User

from components.settings import CHECKOUT
from fashion.cli.app import GROUPS


def test_the_first_screen_trains_serves_and_sends_a_request() -> None:
    assert COMMANDS[:2] == ["make run", "make serve"]
    assert COMMANDS[2].startswith("curl ")
    assert len(COMMANDS) == 3


def test_the_table_has_every_command_and_no_other() -> None:
    groups = [entry.function.__name__ for entries in GROUPS.values() for entry in entries]
    by_make = {"serve", "bento", "up", "status", "down"}
    named = {word: {one.split()[1] for one in TABLE if one.startswith(f"{word} ")} for word in ("fashion", "make")}
    assert named["fashion"] == {*groups, "label", "classes", "similar", "review"} - by_make
    assert by_make <= named["make"]


def test_make_without_a_target_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for target in ("help", "run", "test", "stress", "check", "serve", "bento", "docs", "clean"):
        assert re.search(rf"^{target}\s+\w", listed, re.MULTILINE), target


def test_every_link_to_a_file_resolves() -> None:
    for page in (CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md"), CHECKOUT / "data" / "README.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, archives: Path) -> User:
    return User.prepare(tmp_path_factory.mktemp("user"), archives)


@pytest.mark.slow
def test_the_commands_of_the_first_screen_work(user: User) -> None:
    answer = json.loads(user.type_each(COMMANDS)[-1])
    assert shape_of(answer) == shape_of(json.loads(SHOWN.replace("[...]", "[0.5]")))
    assert len(answer["predictions"][0]["probabilities"]) == 10


def shape_of(value: object) -> object:
    """Return keys and types without the values; for a list, those of its first item."""
    if isinstance(value, dict):
        return {name: shape_of(one) for name, one in value.items()}
    return list(map(shape_of, value[:1])) if isinstance(value, list) else type(value)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(user: User) -> None:
    """Runs after the commands above, on the model they train."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=user.folder, env=user.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fashion-mlp:")
