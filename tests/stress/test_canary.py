"""The canary catches each kind of regression, and a kill leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from promotions import LENIENT, change_bias, failed, nothing_is_left

from components.contract import ModelCard
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.canary import try_canary
from components.promotion.promote import promote
from components.registry import champion, store, verdicts
from components.settings import CHECKOUT, Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bentoml_home", "validated")]
START = 60  # seconds


def test_force_does_not_skip_the_canary(
    network: MLP, card: ModelCard, bentoml_home: Path, shared_settings: Settings
) -> None:
    """The model was changed after training, so its probes no longer match."""
    live = store.save_model(network, card)
    champion.make_live(live, "a test")
    changed = store.save_model(change_bias(network, torch.arange(10.0)), card)
    promotion = promote(changed, "an experiment", force=True, bounds=LENIENT, settings=shared_settings)
    assert not promotion.promoted
    assert failed(promotion.verdict)[-1] == "canary: /predict, JSON"
    verdict = verdicts.read_verdict(changed)
    assert verdict
    assert (verdict.outcome, verdict.forced) == ("rejected", "")
    assert champion.live_move().tag == live


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A modifiable copy of the service code."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("components", "serving", "ui", "service.py", "bentofile.yaml"):
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_canary_catches_different_preprocessing(
    network: MLP, card: ModelCard, bentoml_home: Path, checkout: Path, shared_settings: Settings
) -> None:
    replace_in(checkout / "components" / "model" / "inputs.py", "255", "127")
    check_last(network, card, checkout, shared_settings, "/predict, JSON", "labels, probabilities within")
    nothing_is_left(bentoml_home)


def test_a_canary_catches_permuted_classes(
    network: MLP, card: ModelCard, bentoml_home: Path, checkout: Path, shared_settings: Settings
) -> None:
    state = network.state_dict()
    with torch.no_grad():
        for name in ("logits.weight", "logits.bias"):
            state[name].copy_(state[name].roll(1, 0))
    check_last(network, card, checkout, shared_settings, "/predict, JSON", "0 of ")
    nothing_is_left(bentoml_home)


def test_a_canary_catches_a_service_that_fails_to_import(
    network: MLP, card: ModelCard, bentoml_home: Path, checkout: Path, shared_settings: Settings
) -> None:
    replace_in(checkout / "service.py", "import gc\n", "import gc\nimport no_such_module\n")
    check_last(network, card, checkout, shared_settings, "ready", "the server exited with status")
    nothing_is_left(bentoml_home)
    (log,) = (bentoml_home / "fashion" / "canary").iterdir()
    assert "no_such_module" in log.read_text()


BREAKS: dict[str, tuple[str, str, str, str]] = {  # step -> file, old text, new text, expected message
    "/predict, bytes": ("serving/endpoints.py", '"application/octet-stream"', '"application/other"', "415"),
    "/classify, PNG": ("serving/endpoints.py", '"/classify": ("POST"', '"/classify": ("GET"', "405"),
    "/score, CSV": ("serving/endpoints.py", '"/score": ("POST"', '"/score": ("GET"', "405"),
    "bad input": ("serving/errors.py", "400", "500", "gave 500"),
    "stop": (
        "service.py",
        "        end_with_parent()\n",
        '        os.system("setsid sleep 600 &")\n',
        "1 of its processes still run",
    ),
}


@pytest.mark.parametrize("step", BREAKS)
def test_a_canary_catches_each_kind_of_regression(
    network: MLP, card: ModelCard, bentoml_home: Path, checkout: Path, shared_settings: Settings, step: str
) -> None:
    file, old, new, message = BREAKS[step]
    replace_in(checkout / file, old, new)
    check_last(network, card, checkout, shared_settings, step, message)
    nothing_is_left(bentoml_home)


def test_a_canary_catches_slow_responses(
    network: MLP, card: ModelCard, bentoml_home: Path, shared_settings: Settings
) -> None:
    hurried = GateBounds(max_request_seconds=1e-6)
    check_last(network, card, CHECKOUT, shared_settings, "time", "per request, expected at most", hurried)
    nothing_is_left(bentoml_home)


def check_last(
    network: MLP,
    card: ModelCard,
    checkout: Path,
    settings: Settings,
    step: str,
    message: str,
    bounds: GateBounds | None = None,
) -> None:
    model = store.load_stored(store.save_model(network, card))
    *before, last = try_canary(model, bounds or GateBounds(), settings, checkout)
    assert all(check.passed for check in before)
    assert (last.name, last.passed) == (f"canary: {step}", False), last.message
    assert message in last.message
    assert "server log: " in last.message


PROMOTE = """
import sys
from components.promotion.promote import promote
promote(sys.argv[1], "a test", force=True)
"""


def test_a_kill_during_the_canary_leaves_no_server_and_keeps_the_live_model(
    network: MLP, card: ModelCard, bentoml_home: Path, settings: Settings
) -> None:
    tag = store.save_model(network, card)
    process = subprocess.Popen([sys.executable, "-c", PROMOTE, tag], cwd=CHECKOUT)
    deadline = time.monotonic() + START
    staging = bentoml_home / "fashion" / "staging"
    while not any(b"Starting production" in log.read_bytes() for log in staging.glob(".canary*/server.log")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    servers = psutil.Process(process.pid).children(recursive=True)
    assert servers
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(servers, timeout=START)[1] == []
    assert champion.history() == ()
