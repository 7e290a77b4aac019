"""Ctrl-C in a terminal ends each long command at once: one line with what is kept, and exit status 130."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from photos import write_photos
from prefects import Shared
from readings import PIXEL_COLUMNS
from servers import free_port
from terminals import Terminal

from components.dataset.archives import write_sample

pytestmark = pytest.mark.slow
FASHION = str(Path(sys.executable).with_name("fashion"))
SOON = 5  # seconds; the target is 2 on an idle machine


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a validated dataset and a live model."""
    folder = tmp_path_factory.mktemp("home")
    write_sample(folder / "archives", train_rows=6000, test_rows=1000)
    run(folder, "train", "--preset", "quick", "--epochs", "2").end(240)
    return folder


def run(home: Path, *arguments: str, more: dict[str, str] | None = None) -> Terminal:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "PREFECT_"))}
    environment = {
        **kept,
        "FASHION_DATA_DIR": str(home / "data"),
        "FASHION_SOURCE": str(home / "archives"),
        "BENTOML_HOME": str(home / "bentoml"),
        **(more or {}),
    }
    return Terminal([FASHION, *arguments], environment, home)


def write_rows(folder: Path) -> tuple[str, ...]:
    row = ",".join(map(str, np.random.default_rng(0).integers(0, 200, 784)))
    (folder / "in.csv").write_text("\n".join([",".join(PIXEL_COLUMNS), *[row] * 60_000]) + "\n")
    options = ("--part-size", "1", "--workers", "1", "--check", "off")
    return "score", str(folder / "in.csv"), str(folder / "out.csv"), *options


def write_pictures(folder: Path) -> tuple[str, ...]:
    return "label", "import", str(write_photos(folder / "photos", {"Bag": 300, "Coat": 300}))


COMMANDS: dict[str, tuple[Callable[[Path], tuple[str, ...]], str]] = {  # arguments, and the output that shows progress
    "audit": (lambda folder: ("audit", "--preset", "flagship"), r"training networks|comparing images: +\d"),
    "score": (write_rows, r"\d+ rows, "),
    "label import": (write_pictures, r"reading pictures: +\d"),
    "sweep": (lambda folder: ("sweep", "--presets", "flagship", "--seeds", "0,1"), r"candidate|Task run|epoch"),
    "export": (lambda folder: ("export", "live"), r"exporting and checking"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_ends_the_command_at_once_with_one_line(command: str, home: Path, tmp_path: Path) -> None:
    arguments, shown = COMMANDS[command]
    interrupt(run(home, *arguments(tmp_path)), shown)
    assert not (tmp_path / "out.csv").exists()


def test_ctrl_c_ends_a_training_on_a_permanent_server(home: Path, tmp_path: Path, prefect_server: Shared) -> None:
    more = prefect_server.environment | {"PREFECT_HOME": str(tmp_path / "prefect")}
    long = ("--preset", "quick", "--epochs", "3000", "--no-promote")
    interrupt(run(home, "train", *long, more=more), r"\b[2-9]/3000")


def test_ctrl_c_while_the_stack_starts_keeps_what_is_up(home: Path, tmp_path: Path) -> None:
    ports = {"PORT": str(free_port()), "PREFECT_PORT": str(free_port()), "FASHION_DATA_DIR": str(tmp_path / "data")}
    try:
        interrupt(run(home, "up", more=ports), r"starting prefect")
    finally:
        down = run(home, "down", more=ports)
        assert down.end(60)[0] == 0, down.text


def interrupt(terminal: Terminal, shown: str) -> None:
    """Press Ctrl-C once a command prints `shown`, and check its end."""
    terminal.wait_until(lambda: bool(re.search(shown, terminal.text)))
    terminal.press()
    status, took = terminal.end()
    assert (status, took < SOON) == (130, True), terminal.text
    last = [line for line in terminal.text.splitlines() if line.strip()][-1]
    assert re.match(r"stopped by SIGINT: .+\.", last), terminal.text
    assert not any(word in terminal.text for word in ("Traceback", "Crash", "ERROR")), terminal.text
