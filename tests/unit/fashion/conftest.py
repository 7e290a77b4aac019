"""The `fashion` command in this process, and a live model."""

import sys
from collections.abc import Callable

import pytest

from components.contract import ModelCard
from components.model.mlp import MLP
from components.registry import champion, store
from fashion.cli.main import run_command

Fashion = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fashion(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Fashion:
    """Run a command: (status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fashion", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_command()
        output = capfd.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def live(network: MLP, card: ModelCard) -> str:
    tag = store.save_model(network, card)
    champion.make_live(tag, "a test")
    return tag
