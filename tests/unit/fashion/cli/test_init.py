"""`fashion init`: a folder whose settings every command reads."""

import json
from pathlib import Path

import pytest
from settings_folders import folder

from components.settings import Settings, read_settings
from fashion.cli import init
from fashion.cli.main import run_command
from ops import settings_file

__all__ = ["folder"]  # a fixture
pytestmark = pytest.mark.usefixtures("folder")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["fashion", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("has_weights", "network", "preparation"), [(True, "efficientnet-lite0", ""), (False, "", "garment")]
)
def test_its_settings_are_read_in_the_folder(
    has_weights: bool, network: str, preparation: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "find_spec", lambda name: name if has_weights else None)
    assert run(monkeypatch, "init", "My Shop") == 0
    monkeypatch.chdir(folder / "My Shop")
    settings_file.read_settings_file()
    settings = read_settings(Settings)
    assert (settings.catalogue, settings.network, settings.preparation) == ("my-shop", network, preparation)
    assert settings.source == str(folder / "My Shop" / "photos")
    assert settings.inbox.is_dir()
    assert settings.labelled_dir.is_dir()
    assert "my-shop" in (folder / "My Shop" / "README.md").read_text()


def test_as_json_it_names_the_folder_and_the_catalogue(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "init", "x", "--name", "shoes", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder / "x"), "catalogue": "shoes"}


def test_it_overwrites_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "README.md").write_text("mine")
    assert run(monkeypatch, "init", "shop") == 0
    assert (folder / "shop" / "README.md").read_text() == "mine"
    assert run(monkeypatch, "init", "shop") == 1
    assert "it has a fashion.toml already" in capsys.readouterr().err


def test_a_name_that_no_catalogue_can_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "init", "x", "--name", "Ünïcode!") == 1
    assert "expected at most 40 lowercase letters" in capsys.readouterr().err
