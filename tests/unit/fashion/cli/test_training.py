"""What a training prints in the end, and how its options are read."""

from dataclasses import replace
from pathlib import Path

import pytest

from components.settings import CHECKOUT
from fashion.cli.tables import program
from fashion.cli.training import next_steps
from flows.training import TrainingResult
from ops import settings_file

RESULT = TrainingResult(
    "shop-mlp:a", "photos", "images:shop", "0" * 16, 0.9, 0.1, 0.8, None, 3, 1.0, True, "", Path("docs"), Path("report")
)


@pytest.mark.parametrize(
    ("catalogue", "prefix"), [("", ""), ("fashion-mnist", ""), ("shop", "FASHION_CATALOGUE=shop ")]
)
def test_the_next_steps_name_the_catalogue_that_was_trained(
    monkeypatch: pytest.MonkeyPatch, catalogue: str, prefix: str
) -> None:
    monkeypatch.setenv("FASHION_CATALOGUE", catalogue)
    monkeypatch.chdir(CHECKOUT)
    commands = [command for command, _ in next_steps(RESULT, promote=True)]
    assert commands[0] == f"{prefix}{program()} serve"
    assert all(command.startswith(prefix) for command in commands)


def test_a_catalogue_from_the_settings_file_needs_no_prefix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASHION_CATALOGUE", "shop")
    monkeypatch.setattr(settings_file, "given", {"FASHION_CATALOGUE"})
    monkeypatch.chdir(tmp_path)
    assert [command.split()[1] for command, _ in next_steps(RESULT, promote=True)] == [
        "serve",
        "predict",
        "score",
        "models",
    ]


def test_a_rejected_model_is_looked_at_and_one_that_was_not_evaluated_is_promoted() -> None:
    rejected = replace(RESULT, promoted=False, verdict="accuracy: 0.7, at least 0.8")
    assert [command.partition(" ")[2] for command, _ in next_steps(rejected, promote=True)] == [
        "verdict latest",
        "report latest",
        "promote latest --force --reason WHY",
    ]
    assert [command.partition(" ")[2] for command, _ in next_steps(rejected, promote=False)] == [
        "report latest",
        "promote latest",
    ]
