"""Bring the pieces up one after the other, each once what it needs answers."""

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

START = 300.0  # seconds for a piece to answer; an empty home is migrated first, on a machine that may be busy
EVERY = 0.5  # seconds between two looks
ASK = 5.0  # seconds for an answer
VARIABLES = {"prefect": "PREFECT_PORT", "service": "PORT"}  # that say on which port a piece listens


@dataclass(frozen=True)
class Piece:
    """How one piece of the stack is."""

    name: str
    state: str  # the supervisor's word, RUNNING where all is well; "running" and not answering is STARTING
    answers: bool  # True for a piece that has no address
    pid: int  # 0 for none

    @property
    def is_well(self) -> bool:
        """Whether it runs and answers."""
        return self.state == "RUNNING" and self.answers


def look(layout: StackLayout) -> list[Piece]:
    """Each piece as it is now; none where there is no supervisor."""
    infos = supervisor.describe(layout)
    return [
        Piece(name, infos[name]["statename"], answers(layout, name), infos[name]["pid"])
        for name in PIECES
        if name in infos
    ]


def answers(layout: StackLayout, name: str) -> bool:
    """Whether a piece answers that it is up."""
    if name not in layout.addresses:
        return True
    try:
        return httpx.get(layout.addresses[name][1], timeout=ASK, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def sends_notifications(layout: StackLayout) -> bool | None:
    """Whether the Prefect server has an address to send messages to; None: it does not say."""
    path = "block_types/slug/fashion-notification/block_documents/name/fashion"
    user, _, password = layout.environment().get("PREFECT_API_AUTH_STRING", "").partition(":")
    try:
        status = httpx.get(f"{layout.api}/{path}", auth=(user, password), timeout=ASK, trust_env=False).status_code
    except httpx.HTTPError:
        return None
    return {200: True, 404: False}.get(status)


def find_model_problem(layout: StackLayout) -> str:
    """What the service says is wrong with the live model, that none is live included; "" where nothing is."""
    token = os.environb.get(b"FASHION_TOKEN", b"").strip()
    headers = {b"Authorization": b"Bearer " + token} if token else {}
    address = f"{layout.addresses['service'][0]}/model"
    try:
        answer = httpx.get(address, headers=headers, timeout=ASK, trust_env=False)
        if answer.status_code == 401:
            return f"{address} takes no other token than the service's; set FASHION_TOKEN in this shell"
        told = answer.json()
        return str((told["problem"] or "") if answer.is_success else told["error"]["reason"])
    except (httpx.HTTPError, ValueError, TypeError, KeyError) as error:
        return f"{address} gives no answer that can be read: {type(error).__name__}"


def bring_up(layout: StackLayout, scheduled: Scheduled, echo: Callable[[str], None]) -> None:
    """Start what does not run, in order; what runs stays.

    Args:
        layout: where.
        scheduled: the catalogues that have schedules.
        echo: called with a line for each step.

    Raises:
        SettingsError: a port is in use, or both are the same.
        StackError: a piece that does not come up, with the end of its log.
    """
    if not supervisor.is_up(layout):
        if layout.port == layout.prefect_port:
            raise SettingsError(f"PORT and PREFECT_PORT are both {layout.port}; each piece needs a port of its own")
        _end_orphans(layout, echo)
        for name in VARIABLES:
            _refuse_used_port(layout, name)
        supervisor.start(layout)
    _start(layout, "prefect", echo)
    deploy(layout, scheduled, echo)
    _start(layout, "worker", echo)
    _start(layout, "service", echo)


def _end_orphans(layout: StackLayout, echo: Callable[[str], None]) -> None:
    """End what a killed supervisor left, but for runs: they wait for the server, and may be hours old."""
    left = supervisor.orphans(layout)
    left.pop("runs", None)
    if left:
        echo(f"ending what a killed supervisord left: {', '.join(sorted(left))}")
        supervisor.end([process for processes in left.values() for process in processes])


def _refuse_used_port(layout: StackLayout, name: str) -> None:
    if name in VARIABLES:
        refuse_used_port(HOST, layout.port if name == "service" else layout.prefect_port, VARIABLES[name])


def _start(layout: StackLayout, name: str, echo: Callable[[str], None]) -> None:
    echo(f"starting {name}")
    if not _look(layout, name)["pid"]:
        _refuse_used_port(layout, name)
    supervisor.start_piece(layout, name)

    def is_there() -> bool:
        state = _look(layout, name)["statename"]
        if state in {"FATAL", "UNKNOWN"}:
            raise _failed(layout, name)
        return state == "RUNNING" and answers(layout, name)

    _wait(layout, name, is_there)


def deploy(layout: StackLayout, scheduled: Scheduled, echo: Callable[[str], None]) -> None:
    """The work pool, the automations and the deployments of prefect.yaml, before a worker takes runs.

    Raises:
        StackError: they cannot be registered, with the end of the log.
    """
    others = f", also for {', '.join(scheduled.names[1:])}" if scheduled.others else ""
    echo(f"registering the deployments of prefect.yaml{others}")
    before = kept_scheduled(layout.home)
    keep_scheduled(layout.home, scheduled)
    supervisor.start_piece(layout, "deploy")

    def is_done() -> bool:
        info = _look(layout, "deploy")
        if info["statename"] == "EXITED" and info["exitstatus"]:
            raise _failed(layout, "deploy")
        return bool(info["statename"] == "EXITED")

    try:
        _wait(layout, "deploy", is_done)
    except StackError:
        keep_scheduled(layout.home, before)  # or the next 'fashion up' would take these for registered
        raise


def _look(layout: StackLayout, name: str) -> dict[str, Any]:
    found = supervisor.describe(layout)
    if name not in found:
        raise StackError("the supervisor ended while it started the pieces: somebody took the system down")
    return found[name]


def _wait(layout: StackLayout, name: str, is_there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START
    while not is_there():
        if time.monotonic() > deadline:
            raise _failed(layout, name)
        time.sleep(EVERY)


def _failed(layout: StackLayout, name: str) -> StackError:
    log = layout.logs / f"{name}.log"
    said = supervisor.last_line(log.read_text(errors="replace")) if log.exists() else "nothing"
    return StackError(f"{name} does not come up; {log} ends: {said}")
