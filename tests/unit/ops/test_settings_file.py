"""fashion.toml."""

import os
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings
from settings_folders import folder

from components.errors import SettingsError
from components.promotion.bounds import GateBounds
from components.settings import Settings, read_settings
from flows.cluster import ClusterSettings
from flows.notify.send import NotifySettings
from ops import settings_file
from ops.settings_file import NAMES, read_settings_file

__all__ = ["folder"]  # a fixture
pytestmark = pytest.mark.usefixtures("folder")


def test_each_value_becomes_a_variable_that_the_settings_classes_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENTOML_HOME")
    (folder / "photos").mkdir()
    (folder / "fashion.toml").write_text(
        'catalogue = "shop"\nsource = "photos"\ndata_dir = "data"\ndownload_attempts = 2\nmirrors = ["http://a", "http://b"]\n'
        '[gate]\nmargin = 0.02\n[environment]\nBENTOML_HOME = "store"\n'
    )
    assert read_settings_file() == Path("fashion.toml")
    settings = read_settings(Settings)
    assert (settings.catalogue, settings.source, settings.data_dir) == ("shop", str(folder / "photos"), folder / "data")
    assert (settings.download_attempts, settings.mirrors) == (2, ("http://a", "http://b"))
    assert read_settings(GateBounds).margin == 0.02
    assert os.environ["BENTOML_HOME"] == str(folder / "store")
    assert "FASHION_CATALOGUE" in settings_file.given


def test_a_network_is_a_name_or_a_file_beside_the_settings(folder: Path) -> None:
    for given, expected in (("efficientnet-lite0", "efficientnet-lite0"), ("mine.onnx", str(folder / "mine.onnx"))):
        (folder / "mine.onnx").write_bytes(b"")
        (folder / "fashion.toml").write_text(f'network = "{given}"\n')
        os.environ.pop("FASHION_NETWORK", None)
        read_settings_file()
        assert read_settings(Settings).network == expected


def test_the_environment_wins(folder: Path) -> None:
    os.environ["FASHION_SOURCE"] = "sample"
    (folder / "fashion.toml").write_text('source = "download"\n')
    read_settings_file()
    assert (read_settings(Settings).source, settings_file.given) == ("sample", set())


def test_without_a_file_nothing_is_set() -> None:
    assert read_settings_file() is None


def test_another_file_is_named_by_a_variable(folder: Path) -> None:
    (folder / "other.toml").write_text('catalogue = "shoes"\n')
    os.environ["FASHION_CONFIG"] = "other.toml"
    read_settings_file()
    assert os.environ["FASHION_CATALOGUE"] == "shoes"
    os.environ["FASHION_CONFIG"] = "missing.toml"
    with pytest.raises(SettingsError, match=r"FASHION_CONFIG=missing.toml: no such file"):
        read_settings_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('catalouge = "shop"', "unknown setting 'catalouge'; did you mean 'catalogue'?"),
        ("[gate]\nmargn = 1", "unknown setting 'gate_margn'; did you mean 'gate_margin'?"),
        ("[environment]\nPATH = 1", "unknown setting 'PATH'"),
        ("[nothing]\na = 1", "unknown setting 'nothing'"),
        ("catalogue = ", "cannot be read"),
    ],
)
def test_what_is_no_setting_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "fashion.toml").write_text(content)
    with pytest.raises(SettingsError) as error:
        read_settings_file()
    assert message in str(error.value)


@pytest.mark.parametrize("kind", [Settings, NotifySettings, ClusterSettings])
def test_every_field_of_the_settings_classes_can_be_set(kind: type[BaseSettings]) -> None:
    assert {f"FASHION_{field.upper()}" for field in kind.model_fields} <= NAMES


def test_a_variable_that_overrides_the_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["FASHION_TOKEN"] = "secret"
    (folder / "fashion.toml").write_text('token = "other"\ncatalogue = "shop"\n')
    read_settings_file()
    assert capsys.readouterr().err == "note: FASHION_TOKEN in the environment overrides fashion.toml\n"
