"""The training flow with Prefect's temporary server."""

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
    """A new user's environment: an empty home, no network, no settings."""
    home = tmp_path_factory.mktemp("home")
    keep = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "PYTHONDONTWRITEBYTECODE"}}
    (home / "tmp").mkdir()
    keep["TMPDIR"] = str(home / "tmp")
    return {**keep, "HOME": str(home), "FASHION_DATA_DIR": str(home / "data"), "FASHION_MIRRORS": NOWHERE}


def fashion(environment: dict[str, str], *arguments: str, cwd: Path = CHECKOUT) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fashion", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=600)


def test_without_a_network_it_warns_and_trains_on_the_sample(environment: dict[str, str]) -> None:
    done = fashion(environment, "train", "--sample-fallback", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    assert "could not be reached" in done.stderr
    assert "Using a synthetic sample instead" in done.stderr
    assert "epoch 2 of 2" in done.stderr
    summary = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith(("model", "report")))
    tag = summary["model"].split()[0]
    assert "(live)" in summary["model"]
    assert "SAMPLE" in done.stdout
    assert "sample" in Path(summary["report"]).read_text()
    for part in ("validation  ", "fashion serve", "fashion score"):
        assert part in done.stdout
    (model,) = json.loads(fashion(environment, "models", "--json").stdout)
    assert (model["tag"], model["source"], model["live"]) == (tag, "sample", True)


def test_nothing_is_written_outside_the_data_and_the_store(environment: dict[str, str]) -> None:
    """Runs after the training above, in the same home."""
    home = Path(environment["HOME"])
    assert {path.name for path in home.iterdir()} == {"data", "bentoml", "tmp"}
    assert not list((home / "tmp").iterdir())
    assert not list((home / "data" / "checkpoints").iterdir()), "the checkpoint is gone once the model is stored"
    assert not list((home / "bentoml" / "fashion" / "staging").iterdir())


@pytest.fixture
def elsewhere(environment: dict[str, str], tmp_path: Path) -> tuple[dict[str, str], Path]:
    """The environment and folder of a user with other, mostly broken, Prefect settings."""
    home = tmp_path / "prefect"
    home.mkdir()
    (home / "profiles.toml").write_text("active = [")
    (home / "prefect.db").write_bytes(b"no database")
    (tmp_path / "prefect.toml").write_text("[api")
    (tmp_path / ".env").write_text(
        f"PREFECT_API_URL=http://127.0.0.1:9/api\nPREFECT_PROFILES_PATH={home}/profiles.toml\n"
    )
    (template,) = (Path(environment["FASHION_DATA_DIR"]) / "cache").glob("prefect-*.db")
    template.write_bytes(b"no database either")
    broken = {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILE": "gone",
        "PREFECT_API_KEY": "another's",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////proc/none.db",
        "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK": "s3/none",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    return {**environment, **broken}, tmp_path


def test_a_second_training_reports_the_changes_compared_with_the_first(
    environment: dict[str, str], elsewhere: tuple[dict[str, str], Path]
) -> None:
    """The user's other Prefect settings have no effect."""
    (first,) = json.loads(fashion(environment, "models", "--json").stdout)
    broken, cwd = elsewhere
    done = fashion(broken, "train", "--sample-fallback", "--epochs", "1", "--seed", "1", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (cwd / "prefect").iterdir()} == {"profiles.toml", "prefect.db"}
    report = Path(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("report")))
    assert "test images change label" in done.stderr
    text = report.read_text()
    for part in ('id="verdict"', f"Compared with {first['tag']}", 'href="impact.html"', 'href="impact.csv"'):
        assert part in text
    assert f"replacing {first['tag']}" in report.with_name("impact.html").read_text()
    assert report.with_name("impact.csv").read_text().startswith("id,label,change,")


def test_without_the_fallback_it_fails_and_changes_nothing(environment: dict[str, str]) -> None:
    before = fashion(environment, "models", "--json").stdout
    done = fashion({**environment, "FASHION_DOWNLOAD_ATTEMPTS": "1"}, "ingest")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: train-images-idx3-ubyte.gz could not be downloaded")
    assert "FASHION_SOURCE" in done.stderr
    assert fashion(environment, "models", "--json").stdout == before


def test_a_broken_expectation_fails_the_run_before_training(environment: dict[str, str], tmp_path: Path) -> None:
    from components.dataset.archives import ARCHIVES, declare_source, write_sample
    from components.files import write_whole
    from components.readers.images.idx import encode_idx, read_idx

    folder = write_sample(tmp_path, train_rows=200, test_rows=100)
    images = read_idx(folder / ARCHIVES["train"].images, (28, 28)).copy()
    images[7] = 0
    write_whole(folder / ARCHIVES["train"].images, encode_idx(images))
    declare_source(folder, "acme", "CC0-1.0")
    before = fashion(environment, "models", "--json").stdout
    done = fashion(environment, "train", "--source", str(folder), "--json")
    assert done.returncode == 1
    assert "train-00007" in json.loads(done.stdout)["error"]
    assert "train-00007" in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch 1" not in done.stderr
    assert fashion(environment, "models", "--json").stdout == before
