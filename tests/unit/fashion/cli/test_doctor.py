"""`fashion doctor`: what it finds, and what it says to do about it."""

import json
import socket
from pathlib import Path

import pytest

from components.contract import ModelCard
from components.model.mlp import MLP
from components.registry import champion, store
from components.settings import Settings
from fashion.cli import doctor
from fashion.cli.main import run_command

pytestmark = pytest.mark.usefixtures("bentoml_home", "settings")


def examined() -> dict[str, doctor.Finding]:
    return {one.what: one for one in doctor.examine()}


def test_a_machine_that_is_set_up_has_nothing_to_do(
    network: MLP, card: ModelCard, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    for name in ("PORT", "PREFECT_PORT"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            monkeypatch.setenv(name, str(free.getsockname()[1]))
    monkeypatch.setattr("sys.argv", ["fashion", "doctor", "--json"])
    with pytest.raises(SystemExit) as ended:
        run_command()
    found = json.loads(capfd.readouterr().out)
    assert not ended.value.code
    assert {one["state"] for one in found} == {"ok"}
    assert not any(one["remedy"] for one in found)


def test_without_a_model_it_says_how_to_train_one() -> None:
    found = examined()["live model"]
    assert (found.state, found.remedy) == ("warning", "run 'fashion train'")


def test_a_damaged_live_model_fails(network: MLP, card: ModelCard) -> None:
    tag = store.save_model(network, card)
    champion.make_live(tag, "a test")
    (store.stored_folder(tag) / "weights.safetensors").write_bytes(b"")
    assert examined()["live model"].state == "failed"


def test_an_unknown_variable_is_a_warning_and_a_bad_one_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_SUORCE", "sample")
    assert "FASHION_SUORCE" in examined()["settings"].found
    monkeypatch.setenv("FASHION_DOWNLOAD_ATTEMPTS", "0")
    found = examined()["settings"]
    assert (found.state, "FASHION_DOWNLOAD_ATTEMPTS" in found.found) == ("failed", True)


def test_a_port_in_use_and_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        found = examined()[f"port {port}"]
        assert (found.state, "set PORT" in found.remedy) == ("warning", True)
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    assert examined()["Prefect"].state == "failed"


def test_too_little_space_and_a_folder_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "SPACE", 1 << 60)
    assert examined()["data folder"].state == "warning"
    monkeypatch.setenv("FASHION_DATA_DIR", "/proc/nowhere")
    assert examined()["data folder"].state == "failed"
