"""A client for a Prefect server, and a server that the tests of a session share."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from servers import Server, free_port, running, stop

from components.settings import CHECKOUT

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PREFECT = Path(sys.executable).with_name("prefect")
LONG = 600  # seconds; timeout of anything that a test waits for
EVERY = 0.5  # seconds between polls, which cost the server CPU time
OPEN = list[Server]()  # shared servers
TOKEN = "swordfish-42"  # a secret of the server that must not be disclosed


class Api:
    """A client for a server's /api, with a password if it requires one."""

    def __init__(self, url: str, secret: str = "") -> None:
        self.url = url
        user, _, password = secret.partition(":")
        # Without TLS certificates, which take longer to load than most requests; without keep-alive, because tests kill
        # servers.
        self.client = httpx.Client(
            auth=(user, password) if secret else None,
            timeout=90,
            trust_env=False,
            verify=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the JSON response. Retries while the database is locked, like Prefect's clients."""
        deadline = time.monotonic() + LONG
        while (answer := self.client.request(method, f"{self.url}{path}", json=body)).status_code == 503:
            assert time.monotonic() < deadline, answer.text
            time.sleep(EVERY)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def start_run(self, deployment: str, parameters: dict[str, Any] | None = None, **more: Any) -> str:
        found = self.ask("GET", f"/deployments/name/{deployment}")
        body = {"parameters": parameters or {}, **more}
        run: dict[str, str] = self.ask("POST", f"/deployments/{found['id']}/create_flow_run", body)
        return run["id"]

    def state(self, run: str) -> str:
        return str(self.ask("GET", f"/flow_runs/{run}")["state"]["name"])

    def end_of(self, run: str, log: Path) -> str:
        """Wait for a run to end and return its final state; `log` is the worker's."""
        last = ("Completed", "Failed", "Crashed", "Cancelled")
        states: list[str] = []

        def has_ended() -> bool:
            states.append(self.state(run))
            return states[-1] in last

        wait_until(has_ended, f"run {run} to end", log)
        return states[-1]


@dataclass(frozen=True)
class Shared:
    """An initially empty server, and the environment for processes that use it."""

    api: Api
    environment: dict[str, str]  # without the homes, which each test must set
    log: Path

    @contextlib.contextmanager
    def client(self) -> Iterator["SyncPrefectClient"]:
        """Prefect's client, in this process."""
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: self.api.url}), get_client(sync_client=True) as client:
            yield client

    def register(self, url: str = "") -> None:
        """Register the automations with this FASHION_NOTIFY_URL."""
        from ops.automations import register_automations

        with pytest.MonkeyPatch.context() as patch, self.client() as client:
            patch.setenv("FASHION_NOTIFY_URL", url)
            register_automations(client)

    def automations(self) -> list[str]:
        """The names of the enabled automations."""
        return sorted(one["name"] for one in self.api.ask("POST", "/automations/filter", {}) if one["enabled"])

    def have_deployment(self) -> str:
        """Return the ID of training/on-demand, which is created if `prefect deploy` has not done so."""
        answer = self.api.client.get(f"{self.api.url}/deployments/name/training/on-demand")
        if answer.is_success:
            return str(answer.json()["id"])
        flow = self.api.ask("POST", "/flows/", {"name": "training"})["id"]
        return str(self.api.ask("POST", "/deployments/", {"name": "on-demand", "flow_id": flow})["id"])


@contextlib.contextmanager
def sharing(folder: Path) -> Iterator[Shared]:
    """Run a shared server until the block ends."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FASHION_"))},
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # polling interval of workers, instead of 10
        "FASHION_TOKEN": TOKEN,
    }
    command = [str(PREFECT), "server", "start", "--port", str(port)]
    log = folder / "server.log"
    with running(command, port, environment, CHECKOUT, log, alive="/api/health") as server:
        OPEN.append(server)
        yield Shared(Api(url), environment, log)


def end_shared() -> None:
    """Stop the shared servers before their block ends."""
    while OPEN:
        stop(OPEN.pop().process)


def wait_until(holds: Callable[[], bool], what: str, log: Path | None = None) -> None:
    deadline = time.monotonic() + LONG
    while True:
        with contextlib.suppress(httpx.TransportError):
            if holds():
                return
        if time.monotonic() > deadline:
            pytest.fail(f"timed out waiting for {what}\n{log.read_text()[-4000:] if log else ''}")
        time.sleep(EVERY)
