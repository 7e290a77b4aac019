"""Concurrent and killed label imports."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from handed_in import New, base, counted, new, ready, write_pixels  # noqa: F401, fixtures

from components.contract import Dataset
from components.dataset.labels.adding import import_labels
from components.dataset.manifest import current_dataset
from components.settings import CHECKOUT, Settings

pytestmark = pytest.mark.slow


IMPORT = """
import sys
from pathlib import Path
from components.dataset.labels.adding import import_labels
print("ready", flush=True)
sys.stdin.readline()
for name in sys.argv[1:]:
    import_labels(Path(name))
"""


def start(*files: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", IMPORT, *map(str, files)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
def test_concurrent_imports_are_both_kept(base: Dataset, new: New, tmp_path: Path, settings: Settings) -> None:
    images, labels = new
    files = [write_pixels(tmp_path / f"{place}.csv", images[place::2], labels[place::2]) for place in range(2)]
    processes = [start(file) for file in files]
    for process in processes:
        go(process)
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    current = current_dataset(settings.datasets_dir)
    assert current
    assert current.rows == base.rows + 8


@pytest.mark.slow
def test_a_killed_import_leaves_the_old_dataset_and_can_be_repeated(
    base: Dataset, new: New, tmp_path: Path, settings: Settings
) -> None:
    file = write_pixels(tmp_path / "new.csv", *new)
    process = start(file)
    go(process)
    deadline = time.monotonic() + 60
    while len(list(settings.datasets_dir.glob("*.json"))) == 1 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert current_dataset(settings.datasets_dir) == base
    assert counted(import_labels(file))[0] == 8
