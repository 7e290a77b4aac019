"""A promotion, whole: the gate, the canary in a real server, the pointer."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from components.contract import ModelCard, Verdict
from components.errors import DatasetError, ModelError
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.canary import try_canary
from components.promotion.canary_steps import STEPS
from components.promotion.promote import promote
from components.registry import champion, store, verdicts
from components.settings import CHECKOUT, Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bentoml_home", "validated")]
START = 60  # seconds


@pytest.fixture
def bounds() -> GateBounds:
    """Hard enough to refuse a broken model, easy enough for one of two epochs."""
    return GateBounds(most_loss=3, most_calibration_error=0.5, least_accuracy=0.1, least_f1=0)


def change_bias(network: MLP, change: torch.Tensor) -> MLP:
    with torch.no_grad():
        network.state_dict()["logits.bias"].add_(change)
    return network


def failed(verdict: Verdict | None) -> list[str]:
    assert verdict
    return [check.name for check in verdict.checks if not check.passed]


def nothing_is_left(home: Path) -> None:
    """No server, no copy of a model."""
    running = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            running.append(process.environ().get("BENTOML_HOME", ""))
    assert not [other for other in running if other.startswith(f"{home}/fashion/staging/.canary")]
    assert not list((home / "fashion" / "staging").glob(".canary*"))


def test_what_goes_live_was_judged_and_served(
    network: MLP, card: ModelCard, bentoml_home: Path, bounds: GateBounds, shared_settings: Settings
) -> None:
    tag = store.save_model(network, card)
    promotion = promote(tag, "a test", bounds=bounds, settings=shared_settings)
    assert promotion.promoted, str(promotion)
    assert champion.live_move().verdict == "passed"
    verdict = verdicts.read_verdict(tag)
    assert verdict == promotion.verdict
    assert verdict
    assert [check.name for check in verdict.checks if check.name.startswith("canary")] == [
        f"canary: {step}" for step in STEPS
    ]
    nothing_is_left(bentoml_home)
    assert not list((bentoml_home / "fashion" / "canary").iterdir()), "the log of a server that did well is not kept"
    again = promote(tag, "again", bounds=bounds, settings=shared_settings)
    assert (again.promoted, again.verdict) == (True, verdict)
    assert len(champion.history()) == 1


def test_what_the_gate_refuses_is_not_served(
    network: MLP, card: ModelCard, bentoml_home: Path, bounds: GateBounds, shared_settings: Settings
) -> None:
    live = store.save_model(network, card)
    champion.make_live(live, "a test")
    permuted = store.save_model(change_bias(network, torch.arange(10.0)), card)
    promotion = promote(permuted, "a test", bounds=bounds, settings=shared_settings)
    assert not promotion.promoted
    assert "change of its answers since its training" in failed(promotion.verdict)
    assert champion.live_move().tag == live
    verdict = verdicts.read_verdict(permuted)
    assert verdict
    assert (verdict.outcome, verdict.champion) == ("refused", live)
    assert not (bentoml_home / "fashion" / "canary").exists()


def test_force_goes_past_the_gate_and_says_past_what(
    network: MLP, card: ModelCard, bounds: GateBounds, shared_settings: Settings
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    other = store.save_model(network, dataclasses.replace(card, expectations=0))
    assert not promote(other, "a test", bounds=bounds, settings=shared_settings).promoted
    promotion = promote(other, "Friday's sale", force=True, bounds=bounds, settings=shared_settings)
    assert promotion.promoted
    assert promotion.verdict
    assert (promotion.verdict.outcome, promotion.verdict.forced) == ("forced", "Friday's sale")
    move = champion.live_move()
    assert (move.tag, move.why) == (other, "Friday's sale")
    assert move.verdict.startswith("forced: Friday's sale; past: ")


def test_force_does_not_go_past_the_canary(
    network: MLP, card: ModelCard, bentoml_home: Path, bounds: GateBounds, shared_settings: Settings
) -> None:
    """Its probes are those of another network: it was changed after its training."""
    live = store.save_model(network, card)
    champion.make_live(live, "a test")
    changed = store.save_model(change_bias(network, torch.arange(10.0)), card)
    promotion = promote(changed, "an experiment", force=True, bounds=bounds, settings=shared_settings)
    assert not promotion.promoted
    assert failed(promotion.verdict)[-1] == "canary: /predict, JSON"
    verdict = verdicts.read_verdict(changed)
    assert verdict
    assert (verdict.outcome, verdict.forced) == ("refused", "")
    assert champion.live_move().tag == live


def test_without_the_images_nothing_goes_live_unless_forced(
    network: MLP, card: ModelCard, bounds: GateBounds, tmp_path: Path
) -> None:
    tag = store.save_model(network, card)
    elsewhere = Settings(data_dir=tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="no such dataset"):
        promote(tag, "a test", bounds=bounds, settings=elsewhere)
    assert champion.history() == ()
    promotion = promote(tag, "the images are lost", force=True, bounds=bounds, settings=elsewhere)
    assert promotion.promoted
    assert failed(promotion.verdict) == ["measurement"]


def test_where_the_live_model_cannot_be_read_nothing_goes_live_unless_forced(
    network: MLP, card: ModelCard, bentoml_home: Path, bounds: GateBounds, shared_settings: Settings
) -> None:
    live, other = store.save_model(network, card), store.save_model(network, card)
    champion.make_live(live, "a test")
    shutil.rmtree(bentoml_home / "models" / live.replace(":", "/"))
    with pytest.raises(ModelError, match="not in the store"):
        promote(other, "a test", bounds=bounds, settings=shared_settings)
    assert champion.live_move().tag == live
    assert promote(other, "it is gone", force=True, bounds=bounds, settings=shared_settings).promoted


def test_a_challenger_is_judged_again_when_another_goes_live_meanwhile(
    network: MLP, card: ModelCard, bentoml_home: Path, bounds: GateBounds, shared_settings: Settings
) -> None:
    first, second, third = (store.save_model(network, card) for _ in range(3))
    champion.make_live(first, "a test")
    log = bentoml_home / "fashion" / "canary" / f"{third.partition(':')[2]}.log"

    def overtake() -> None:
        deadline = time.monotonic() + START
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        champion.make_live(second, "meanwhile")

    overtaking = threading.Thread(target=overtake)
    overtaking.start()
    promotion = promote(third, "a test", bounds=bounds, settings=shared_settings)
    overtaking.join()
    assert promotion.promoted
    assert promotion.verdict
    assert promotion.verdict.champion == second
    assert [move.tag for move in champion.history()] == [first, second, third]


# --- the canary ---


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the service is made of, to be changed."""
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


def test_a_canary_catches_preprocessing_that_differs(
    network: MLP, card: ModelCard, bentoml_home: Path, checkout: Path, shared_settings: Settings
) -> None:
    replace_in(checkout / "components" / "model" / "tensors.py", "255", "127")
    check_last(network, card, checkout, shared_settings, "/predict, JSON", "labels, probabilities to")
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


def test_a_canary_catches_a_service_that_does_not_import(
    network: MLP, card: ModelCard, bentoml_home: Path, checkout: Path, shared_settings: Settings
) -> None:
    replace_in(checkout / "service.py", "import gc\n", "import gc\nimport no_such_module\n")
    check_last(network, card, checkout, shared_settings, "ready", "the server ended with status")
    nothing_is_left(bentoml_home)
    (log,) = (bentoml_home / "fashion" / "canary").iterdir()
    assert "no_such_module" in log.read_text()


BREAKS: dict[str, tuple[str, str, str, str]] = {  # step -> a file, what is changed in it, and what is told
    "/predict, bytes": ("serving/endpoints.py", '"application/octet-stream"', '"application/other"', "415"),
    "/classify, PNG": ("serving/endpoints.py", '"/classify": ("POST"', '"/classify": ("GET"', "405"),
    "/score, CSV": ("serving/endpoints.py", '"/score": ("POST"', '"/score": ("GET"', "405"),
    "bad input": ("serving/errors.py", "400", "500", "gave 500"),
    "stop": (
        "service.py",
        "        end_with_parent()\n",
        '        os.system("setsid sleep 600 &")\n',
        "1 of its processes go on",
    ),
}


@pytest.mark.parametrize("step", BREAKS)
def test_a_canary_catches_each_kind_of_break(
    network: MLP, card: ModelCard, bentoml_home: Path, checkout: Path, shared_settings: Settings, step: str
) -> None:
    file, old, new, told = BREAKS[step]
    replace_in(checkout / file, old, new)
    check_last(network, card, checkout, shared_settings, step, told)
    nothing_is_left(bentoml_home)


def test_a_canary_catches_a_slow_answer(
    network: MLP, card: ModelCard, bentoml_home: Path, shared_settings: Settings
) -> None:
    hurried = GateBounds(most_request_seconds=1e-6)
    check_last(network, card, CHECKOUT, shared_settings, "time", "for a request, at most", hurried)
    nothing_is_left(bentoml_home)


def check_last(
    network: MLP,
    card: ModelCard,
    checkout: Path,
    settings: Settings,
    step: str,
    told: str,
    bounds: GateBounds | None = None,
) -> None:
    model = store.load_stored(store.save_model(network, card))
    *before, last = try_canary(model, bounds or GateBounds(), settings, checkout)
    assert all(check.passed for check in before)
    assert (last.name, last.passed) == (f"canary: {step}", False), last.told
    assert told in last.told
    assert "the server's log is" in last.told


PROMOTE = """
import sys
from components.promotion.promote import promote
promote(sys.argv[1], "a test", force=True)
"""


def test_a_kill_during_the_canary_leaves_no_server_and_the_old_model(
    network: MLP, card: ModelCard, bentoml_home: Path, settings: Settings
) -> None:
    tag = store.save_model(network, card)
    process = subprocess.Popen([sys.executable, "-c", PROMOTE, tag], cwd=CHECKOUT)
    deadline = time.monotonic() + START
    log = bentoml_home / "fashion" / "canary" / f"{tag.partition(':')[2]}.log"
    while not (log.exists() and b"Starting production" in log.read_bytes()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    servers = psutil.Process(process.pid).children(recursive=True)
    assert servers
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(servers, timeout=START)[1] == []
    assert champion.history() == ()
