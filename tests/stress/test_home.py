"""A user as in containers: a UID missing from /etc/passwd, and no HOME."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.settings import CHECKOUT

NOBODY = "54321"
AS_NOBODY = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]  # files keep their owner


def run(folder: Path, archives: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as that user, who can write only to the data folder."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {"FASHION_DATA_DIR": str(folder / "data"), "FASHION_SOURCE": str(archives)}
    return subprocess.run(
        [*AS_NOBODY, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(autouse=True)
def _needs_namespaces(tmp_path: Path) -> None:
    done = run(tmp_path, tmp_path, "id", "-u")
    if done.returncode or done.stdout.strip() != NOBODY:
        pytest.skip("this system gives users no namespaces of their own")


def test_the_input_sanity_check_runs_without_a_home(tmp_path: Path, archives: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "from ops.environment import prepare; prepare()\n"
        "import numpy as np; from components.catalogues.catalogue import InputBounds\n"
        "from components.scoring.input_check import InputChecker\n"
        "print(InputChecker().check(np.zeros((100, 28, 28), np.uint8), InputBounds())[0].kind)"
    )
    done = run(tmp_path, archives, sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (0, "blank\n"), done.stderr


@pytest.mark.slow
def test_a_model_is_trained_promoted_and_used_without_a_home(tmp_path: Path, archives: Path) -> None:
    """Everything is in the data folder, and no folder is called ~."""
    fashion = str(Path(sys.executable).with_name("fashion"))
    pixels = "\n".join([",".join(f"pixel{number}" for number in range(1, 785)), *[",".join(["0"] * 784)] * 2])
    (tmp_path / "in.csv").write_text(pixels)
    for command in (("train", "--preset", "quick", "--epochs", "1"), ("score", "in.csv", "out.csv"), ("bento",)):
        done = run(tmp_path, archives, fashion, *command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "in.csv", "out.csv"}
