"""Checks before a training, the same on the command line and in Python."""

import pytest

import fashion
from components.errors import ModelNotFound, SettingsError
from fashion import training
from fashion.training import check_training

pytestmark = pytest.mark.usefixtures("bentoml_home", "settings")


def test_no_preset_is_the_default_one() -> None:
    assert check_training("", {}) == ("dense-128", "")


def test_python_checks_everything_before_a_server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "open_training", lambda: pytest.fail("a server was started"))
    with pytest.raises(SettingsError, match="preset: no 'nosuch'"):
        fashion.train("nosuch")
    with pytest.raises(SettingsError, match="epochs"):
        fashion.train(epochs=0)
    with pytest.raises(ModelNotFound):
        fashion.train(start_from="fashion-mlp:nosuch")
