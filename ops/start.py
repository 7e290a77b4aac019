"""Start the pieces in order, each after the ones it needs respond."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from components.errors import SettingsError, StackError
from ops import supervisor
from ops.catalogues import Scheduled, keep_scheduled, kept_scheduled
from ops.layout import HOST, PIECES, StackLayout
from ops.ports import refuse_used_port

START_TIMEOUT = 300.0  # seconds for a piece to respond; an empty home is migrated first, maybe on a busy machine
INTERVAL = 0.5  # seconds between checks
REQUEST_TIMEOUT = 5.0  # seconds
VARIABLES = {"prefect": "PREFECT_PORT", "service": "PORT"}  # piece -> variable with its port


@dataclass(frozen=True)
class Piece:
    """Status of one piece of the stack."""

    name: str
    state: str  # state reported by the supervisor, such as RUNNING
    answers: bool  # to its health check; True for a piece without one
    pid: int  # 0 for none

    @property
    def is_well(self) -> bool:
        """Whether it runs and responds."""
        return self.state == "RUNNING" and self.answers


def look(layout: StackLayout) -> list[Piece]:
    """Return the status of each piece; empty if no supervisor runs."""
    infos = supervisor.describe(layout)
    return [
        Piece(name, infos[name]["statename"], answers(layout, name), infos[name]["pid"])
        for name in PIECES
        if name in infos
    ]


def answers(layout: StackLayout, name: str) -> bool:
    """Whether a piece passes its health check."""
    if name not in layout.addresses:
        return True
    try:
        return httpx.get(layout.addresses[name][1], timeout=REQUEST_TIMEOUT, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def sends_notifications(layout: StackLayout) -> bool | None:
    """Whether the Prefect server has a notification URL; None if it does not respond."""
    path = "block_types/slug/fashion-notification/block_documents/name/fashion"
    user, _, password = layout.environment().get("PREFECT_API_AUTH_STRING", "").partition(":")
    try:
        status = httpx.get(
            f"{layout.api}/{path}", auth=(user, password), timeout=REQUEST_TIMEOUT, trust_env=False
        ).status_code
    except httpx.HTTPError:
        return None
    return {200: True, 404: False}.get(status)


def find_model_problem(layout: StackLayout) -> str:
    """Return the problem with the live model that the service reports, or ""; no live model is a problem too."""
    token = os.environb.get(b"FASHION_TOKEN", b"").strip()
    headers = {b"Authorization": b"Bearer " + token} if token else {}
    address = f"{layout.addresses['service'][0]}/model"
    try:
        response = httpx.get(address, headers=headers, timeout=REQUEST_TIMEOUT, trust_env=False)
        if response.status_code == 401:
            return f"{address} rejected the token. Set FASHION_TOKEN in this shell to the token of the service"
        content = response.json()
        return str((content["problem"] or "") if response.is_success else content["error"]["reason"])
    except (httpx.HTTPError, ValueError, TypeError, KeyError) as error:
        return f"{address} sent no valid response: {type(error).__name__}"


def bring_up(layout: StackLayout, scheduled: Scheduled, echo: Callable[[str], None]) -> None:
    """Start the pieces that are not running, in order.

    Args:
        layout: the stack.
        scheduled: the scheduled catalogues.
        echo: called with a line for each step.

    Raises:
        SettingsError: a port is in use, or both are the same.
        StackError: a piece does not start; the message has the end of its log.
    """
    if not supervisor.is_up(layout):
        if layout.port == layout.prefect_port:
            raise SettingsError(f"PORT and PREFECT_PORT are both {layout.port}, expected different ports")
        _end_orphans(layout, echo)
        for name in VARIABLES:
            _refuse_used_port(layout, name)
        supervisor.start(layout)
    _start(layout, "prefect", echo)
    deploy(layout, scheduled, echo)
    _start(layout, "worker", echo)
    _start(layout, "service", echo)


def _end_orphans(layout: StackLayout, echo: Callable[[str], None]) -> None:
    """End leftovers of a killed supervisor, except runs: they wait for the server and may represent hours of work."""
    left = supervisor.orphans(layout)
    left.pop("runs", None)
    if left:
        echo(f"stopping processes of a killed supervisord: {', '.join(sorted(left))}")
        supervisor.end([process for processes in left.values() for process in processes])


def _refuse_used_port(layout: StackLayout, name: str) -> None:
    if name in VARIABLES:
        refuse_used_port(HOST, layout.port if name == "service" else layout.prefect_port, VARIABLES[name])


def _start(layout: StackLayout, name: str, echo: Callable[[str], None]) -> None:
    echo(f"starting {name}")
    if not _info(layout, name)["pid"]:
        _refuse_used_port(layout, name)
    supervisor.start_piece(layout, name)

    def is_ready() -> bool:
        state = _info(layout, name)["statename"]
        if state in {"FATAL", "UNKNOWN"}:
            raise _failed(layout, name)
        return state == "RUNNING" and answers(layout, name)

    _wait(layout, name, is_ready)


def deploy(layout: StackLayout, scheduled: Scheduled, echo: Callable[[str], None]) -> None:
    """Register the work pool, the deployments of prefect.yaml and the automations, before a worker starts runs.

    Raises:
        StackError: the registration failed; the message has the end of its log.
    """
    others = f", also for {', '.join(scheduled.names[1:])}" if scheduled.others else ""
    echo(f"registering the deployments of prefect.yaml{others}")
    before = kept_scheduled(layout.home)
    keep_scheduled(layout.home, scheduled)
    supervisor.start_piece(layout, "deploy")

    def is_done() -> bool:
        info = _info(layout, "deploy")
        if info["statename"] == "EXITED" and info["exitstatus"]:
            raise _failed(layout, "deploy")
        return bool(info["statename"] == "EXITED")

    try:
        _wait(layout, "deploy", is_done)
    except StackError:
        keep_scheduled(layout.home, before)  # else the next 'fashion up' would treat these as registered
        raise


def _info(layout: StackLayout, name: str) -> dict[str, Any]:
    found = supervisor.describe(layout)
    if name not in found:
        raise StackError("the supervisor stopped during the start, probably by 'fashion down'. Run 'fashion up' again")
    return found[name]


def _wait(layout: StackLayout, name: str, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not is_ready():
        if time.monotonic() > deadline:
            raise _failed(layout, name)
        time.sleep(INTERVAL)


def _failed(layout: StackLayout, name: str) -> StackError:
    log = layout.logs / f"{name}.log"
    last = supervisor.last_line(log.read_text(errors="replace")) if log.exists() else "nothing"
    return StackError(f"{name} did not start; {log} ends with: {last}")
