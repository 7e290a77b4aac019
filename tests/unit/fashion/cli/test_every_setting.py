"""Every variable with a wrong value: one plain line that begins with its name."""

import os
from pathlib import Path

import pytest

from components.errors import SettingsError
from components.monitoring.drift.bounds import DriftBounds
from components.probation.settings import ProbationSettings
from components.promotion.bounds import GateBounds
from components.settings import load_settings
from fashion.cli.every_setting import check_every_setting
from ops.settings_file import NAMES

FREE = {"FASHION_DEBUG", "FASHION_QUIET"}  # set or not set: any value will do
FILE = "<a file>"  # stands for the path of a file
WRONG = {
    "FASHION_CATALOGUE": (
        "Shop",
        "found 'Shop', expected at most 40 lowercase letters, digits and hyphens: try 'shop'",
    ),
    "FASHION_CATALOGUES": ("My shoes", "found 'My shoes', expected .*: try 'my-shoes'"),
    "FASHION_SOURCE": ("/nowhere", "no such file or folder: /nowhere; expected a path, auto, download or sample"),
    "FASHION_DATA_DIR": (FILE, "found '.*', a file, expected a folder"),
    "FASHION_INBOX_DIR": (FILE, "found '.*', a file, expected a folder"),
    "FASHION_CORRECTIONS_DIR": (FILE, "found '.*', a file, expected a folder, or off"),
    "FASHION_REVIEW_DIR": (FILE, "found '.*', a file, expected a folder, or off"),
    "FASHION_REVIEW_IMAGES": ("99", "found '99', expected a whole number from 100 to 100,000"),
    "FASHION_REVIEW_DAYS": ("0", "found '0', expected a whole number from 1 to 365"),
    "FASHION_PREDICTION_LOG": (FILE, "found '.*', a file, expected a folder, or off"),
    "FASHION_IMAGE": ("28", "found '28', expected HEIGHTxWIDTHxCHANNELS, as in 28x28x1 or 64x64x3"),
    "FASHION_PREPARATION": ("crop", "found 'crop', expected letterbox or garment"),
    "FASHION_NETWORK": ("resnet", "found 'resnet', expected efficientnet-lite0, .*, or a .onnx or .safetensors file"),
    "FASHION_MIRRORS": ("http://a", r"found 'http://a', expected JSON: a list, as in \["),
    "FASHION_DOWNLOAD_TIMEOUT": ("soon", "found 'soon', expected a number"),
    "FASHION_DOWNLOAD_ATTEMPTS": ("0", "found '0', expected at least 1"),
    "FASHION_TOKEN": (" ", "found only whitespace, expected a token"),
    "FASHION_FOLLOW": ("yes", "found 'yes', expected true or false"),
    "FASHION_WORKERS": ("0", "found '0', expected a whole number from 1 to 256"),
    "FASHION_ALLOWED_HOSTS": ("http://a", "found 'http://a', expected host names without scheme or port"),
    "FASHION_NOTIFY_URL": ("hunter2", "not a URL that Apprise supports"),
    "FASHION_DASK_ADDRESS": ("somewhere", "found 'somewhere', expected 'local', or the address of a scheduler"),
    "PORT": ("70000", "found '70000', expected at most 65535"),
    "PREFECT_PORT": ("http", "found 'http', expected a whole number"),
} | {
    f"{kind.model_config['env_prefix']}{field}".upper(): ("x", "found 'x', expected ")
    for kind in (GateBounds, DriftBounds, ProbationSettings)
    for field in kind.model_fields
}


def complaint(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as found:
        check_every_setting()
    return str(found.value)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_value_is_one_plain_line_with_the_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, words = WRONG[name]
    (tmp_path / "file").touch()
    found = complaint(monkeypatch, name, value.replace(FILE, str(tmp_path / "file")))
    assert found.startswith(name)
    assert "\n" not in found
    assert not any(word in found for word in ("Value error", "Input should", "pattern", "EnvSettings"))
    with pytest.raises(SettingsError, match=f"^{name}[^:]*: {words}"):
        raise SettingsError(found)


def test_every_variable_is_covered() -> None:
    assert not NAMES - WRONG.keys() - FREE


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FASHION_GATE_F1_MARGINS", '{"Bag": 2}', "FASHION_GATE_F1_MARGINS: 'Bag': found '2', expected at most 1.0"),
        (
            "FASHION_MIRRORS",
            '["a"]',
            "FASHION_MIRRORS: found 'a', expected addresses, as in https://example.com/fashion/",
        ),
        (
            "FASHION_DRIFT_DRIFTING",
            "5",
            "FASHION_DRIFT_DRIFTING: found 5, expected at most 4, the number of windows (FASHION_DRIFT_WINDOWS)",
        ),
        ("FASHION_IMAGE", "4x4", "FASHION_IMAGE: found 4 x 4 x 1, expected sides of 8 to 128 pixels"),
        ("FASHION_GATE_MARGIN", "nan", "FASHION_GATE_MARGIN: found 'nan', expected a finite number"),
    ],
)
def test_the_words_of_less_simple_mistakes(name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint(monkeypatch, name, value) == words


@pytest.mark.usefixtures("settings")
def test_an_empty_catalogue_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "FASHION_CATALOGUE", "")
    assert load_settings().catalogue == "fashion-mnist"
