"""Every command of the README, in the README's order, in a folder that looks like a checkout; and its Python."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from servers import free_port

from components.settings import CHECKOUT
from fashion.cli.app import app

README = (CHECKOUT / "README.md").read_text()
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
TIMEOUT = 600  # seconds a command


def test_every_command_line_is_told_apart_from_output() -> None:
    assert len(COMMANDS) > 10
    assert README.count("```console") == len(re.findall(r"```console\n\$ ", README))


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
def user(tmp_path_factory: pytest.TempPathFactory, archives: Path) -> tuple[Path, dict[str, str]]:
    """A folder with the checkout's files, and an environment with homes of its own."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "home").mkdir()
    for item in CHECKOUT.iterdir():
        if item.name not in {"data", ".git"}:
            (folder / item.name).symlink_to(item)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "PREFECT_", "MAKE"))}
    environment = {
        **kept,
        "PORT": str(free_port()),
        "BENTOML_HOME": str(folder / "home" / "bentoml"),
        "PREFECT_HOME": str(folder / "home" / "prefect"),
        "FASHION_DATA_DIR": str(folder / "home" / "data"),
        "FASHION_SOURCE": str(archives),
    }
    return folder, environment


@pytest.mark.slow
def test_each_command_does_what_it_says(user: tuple[Path, dict[str, str]]) -> None:
    folder, environment = user
    server = None
    try:
        for command in ["make run", *COMMANDS]:
            local = command.replace(":3000", f":{environment['PORT']}")
            if command == "make serve":
                server = subprocess.Popen(shlex.split(local), cwd=folder, env=environment, start_new_session=True)
                wait_until_ready(environment["PORT"])
                continue
            done = subprocess.run(
                ["bash", "-c", local], cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            if command.startswith("curl"):
                assert '"error"' not in done.stdout, done.stdout
                assert "fashion-mlp:" in done.stdout
            if command == "make run":
                assert "(live)" in done.stdout
    finally:
        if server is not None:
            os.killpg(server.pid, 15)
            assert server.wait(30) in (0, -15)
    assert (folder / "out.rejects.csv").read_text().splitlines()[1].startswith("3,")


@pytest.mark.slow
def test_the_python_of_the_readme_runs(user: tuple[Path, dict[str, str]]) -> None:
    """Runs after the commands above, with the model that they trained."""
    folder, environment = user
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fashion-mlp:")


def wait_until_ready(port: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail("make serve was not ready within a minute")
