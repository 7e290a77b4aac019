"""A port in use: what occupies it, and what to do."""

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from servers import free_port
from starlette.applications import Starlette

from components.errors import SettingsError
from fashion.cli import doctor
from ops.ports import Occupant, find_occupant, refuse_used_port
from serving import endpoints
from serving.gateway import Gateway

HOST = "127.0.0.1"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of our service, which asks for a token."""
    monkeypatch.setenv("FASHION_TOKEN", "s3cret")
    port = free_port()
    door = Gateway(Starlette(), {"/model": ("GET", endpoints.describe)})
    server = uvicorn.Server(uvicorn.Config(door, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join()


def refusal(port: int) -> str:
    with pytest.raises(SettingsError) as found:
        refuse_used_port(HOST, port, "PORT")
    return str(found.value)


def test_our_own_service_is_recognized_with_or_without_the_token(service: int) -> None:
    assert find_occupant(HOST, service).is_ours
    message = refusal(service)
    start = f"cannot listen on {HOST}, port {service}: Address already in use by this project's service, process "
    assert message.startswith(f"{start}{os.getpid()} (")
    stop = f"Stop it (Ctrl-C where 'fashion serve' runs or 'kill {os.getpid()}'), or choose another port with PORT=..."
    assert message.endswith(stop)


@pytest.mark.usefixtures("bentoml_home", "settings")
def test_the_doctor_recognizes_our_own_service(service: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(service))
    (found,) = [one for one in doctor.examine() if one.what == f"port {service}"]
    assert (found.state, found.remedy) == ("ok", "")
    assert found.found.startswith("in use by this project's service, process ")
    assert found.found.endswith("; stop it before 'fashion up'")


def test_another_program_is_named() -> None:
    with socket.create_server((HOST, 0)) as taken:
        message = refusal(port := taken.getsockname()[1])
    assert message.startswith(
        f"cannot listen on {HOST}, port {port}: Address already in use by process {os.getpid()} ("
    )
    assert message.endswith("). Stop it, or choose another port with PORT=...")


def test_a_piece_of_the_stack_is_stopped_with_the_stack() -> None:
    assert Occupant(7, "bentoml", is_ours=True, in_stack=True).how_to_stop == "Stop it with 'fashion down'"
    assert str(Occupant(0, "")) == "another program"
