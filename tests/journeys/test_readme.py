"""The README: its links, its Python, and its commands from the first training to the service's answers.

The commands after those, which train again and take back, are in tests/stress/test_readme.py.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from readme import AFTERWARDS, COMMANDS, FIRST, README, SERVED, User

from components.settings import CHECKOUT
from fashion.cli.app import app


def test_every_command_line_is_told_apart_from_output() -> None:
    assert len(COMMANDS) > 10
    assert README.count("```console") == len(re.findall(r"```console\n\$ ", README))


def test_every_command_is_typed_here_or_in_the_long_tests() -> None:
    assert [*SERVED, *AFTERWARDS] == COMMANDS
    assert "make serve" in SERVED
    assert not [command for command in AFTERWARDS if ":3000" in command]


def test_every_command_of_fashion_is_documented() -> None:
    pages = README + "".join(path.read_text() for path in (CHECKOUT / "docs").glob("*.md"))
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        assert re.search(rf"fashion {name}\b|make {name}\b", pages), f"fashion {name} is in no page"


def test_every_target_of_the_makefile_is_listed_by_plain_make() -> None:
    listed = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for target in ("help", "run", "test", "stress", "check", "serve", "bento", "clean"):
        assert re.search(rf"^{target}\s+\w", listed, re.MULTILINE), target


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in (CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md"), CHECKOUT / "data" / "README.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, archives: Path) -> User:
    return User.prepare(tmp_path_factory.mktemp("user"), archives)


@pytest.mark.slow
def test_each_command_does_what_it_says(user: User) -> None:
    user.type_each([FIRST, *SERVED])
    assert (user.folder / "out.rejects.csv").read_text().splitlines()[1].startswith("3,")


@pytest.mark.slow
def test_the_python_of_the_readme_runs(user: User) -> None:
    """Runs after the commands above, with the model that they trained."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=user.folder, env=user.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fashion-mlp:")
