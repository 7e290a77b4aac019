"""The training flow with no server started by hand: Prefect's temporary mode."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.settings import CHECKOUT

pytestmark = pytest.mark.slow
NOWHERE = '["http://127.0.0.1:9/"]'  # the discard port: nothing listens there


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A new user's: an empty home, no network, nothing set."""
    home = tmp_path_factory.mktemp("home")
    keep = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "PYTHONDONTWRITEBYTECODE"}}
    return {**keep, "HOME": str(home), "FASHION_DATA_DIR": str(home / "data"), "FASHION_MIRRORS": NOWHERE}


def fashion(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "flows", *arguments]
    return subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=600)


def test_with_nothing_to_reach_it_says_so_and_goes_on_with_the_sample(environment: dict[str, str]) -> None:
    done = fashion(environment, "train", "--sample-fallback", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    assert "could not be reached" in done.stderr
    assert "Going on with a drawn sample" in done.stderr
    assert "epoch 2 of 2" in done.stderr
    summary = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith(("model", "report")))
    tag = summary["model"].split()[0]
    assert "(live)" in summary["model"]
    assert "SAMPLE" in done.stdout
    assert "sample" in Path(summary["report"]).read_text()
    for told in ("Data Docs", "make serve", "fashion score"):
        assert told in done.stdout
    (model,) = json.loads(fashion(environment, "models", "--json").stdout)
    assert (model["tag"], model["source"], model["live"]) == (tag, "sample", True)


def test_nothing_is_written_outside_the_data_the_store_and_prefect_s_home(environment: dict[str, str]) -> None:
    """Runs after the training above, in the same home."""
    home = Path(environment["HOME"])
    assert {path.name for path in home.iterdir()} == {"data", "bentoml", ".prefect"}
    assert not list((home / "data" / "checkpoints").iterdir()), "the checkpoint is gone once the model is stored"
    assert not list((home / "bentoml" / "fashion" / "staging").iterdir())


def test_a_second_training_tells_what_changes_beside_the_first(environment: dict[str, str]) -> None:
    (first,) = json.loads(fashion(environment, "models", "--json").stdout)
    done = fashion(environment, "train", "--sample-fallback", "--epochs", "1", "--seed", "1")
    assert done.returncode == 0, done.stderr
    report = Path(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("report")))
    assert "test images change label" in done.stderr
    told = report.read_text()
    for part in ('id="verdict"', f"Beside {first['tag']}", 'href="impact.html"', 'href="impact.csv"'):
        assert part in told
    assert f"in the place of {first['tag']}" in report.with_name("impact.html").read_text()
    assert report.with_name("impact.csv").read_text().startswith("id,label,change,")


def test_without_the_fallback_it_fails_and_nothing_changes(environment: dict[str, str]) -> None:
    before = fashion(environment, "models", "--json").stdout
    done = fashion({**environment, "FASHION_DOWNLOAD_ATTEMPTS": "1"}, "ingest")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: train-images-idx3-ubyte.gz could not be downloaded")
    assert "FASHION_SOURCE" in done.stderr
    assert fashion(environment, "models", "--json").stdout == before


def test_a_broken_expectation_fails_the_run_before_training(environment: dict[str, str], tmp_path: Path) -> None:
    from components.dataset.archives import ARCHIVES, declare_source
    from components.dataset.sample import write_sample
    from components.files import write_whole
    from components.formats.idx import encode_idx, read_idx

    folder = write_sample(tmp_path, train_rows=200, test_rows=100)
    images = read_idx(folder / ARCHIVES["train"].images, (28, 28)).copy()
    images[7] = 0
    write_whole(folder / ARCHIVES["train"].images, encode_idx(images))
    declare_source(folder, "acme", "CC0-1.0")
    before = fashion(environment, "models", "--json").stdout
    done = fashion(environment, "train", "--source", str(folder), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "train-00007" in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch 1" not in done.stderr
    assert fashion(environment, "models", "--json").stdout == before
