"""Where the pieces of the stack live on this machine, and what they are told."""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.files import write_whole
from components.settings import CHECKOUT, load_settings, read_settings
from ops.environment import DEFAULTS

PIECES = ("prefect", "worker", "service")  # in the order in which each needs the one before
POOL = "fashion"
HOST = "127.0.0.1"
CONFIG = CHECKOUT / "deploy" / "supervisor" / "supervisord.conf"
MARK = "FASHION_STACK_HOME"  # in the environment of every process of a stack, and of those it starts

# Each of them only where nothing else is set.
SERVER_DEFAULTS = {
    **DEFAULTS,
    # Which run holds which limit, and until when: in files, which a server that was killed finds again. Prefect's
    # default is the server's memory.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Runs that ended 90 days ago leave the database with their logs and artifacts; events are Prefect's own default.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 24 * 3600),  # seconds
    # How long a statement may take in PostgreSQL; Prefect's own bound is 10. SQLite always waits 60 for a lock.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # seconds
    "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
}


class Ports(BaseSettings):
    """The two doors of the stack, both on the loopback address."""

    model_config = SettingsConfigDict(frozen=True)

    port: int = pydantic.Field(default=3000, ge=1, le=65535)  # PORT: of the service
    prefect_port: int = pydantic.Field(default=4200, ge=1, le=65535)  # PREFECT_PORT: of the Prefect server


@dataclass(frozen=True)
class StackLayout:
    """The places of one stack."""

    home: Path  # the supervisor's socket and number; a folder a stack
    logs: Path
    prefect_home: Path
    port: int
    prefect_port: int

    @property
    def socket(self) -> Path:
        """The supervisor's, as a process in `home` reaches it: a socket's path has at most 107 bytes, a deep checkout
        more. Where there is no /proc, the checkout must not lie that deep."""
        here = Path("/proc/self/cwd")
        return (here if here.exists() else self.home) / "supervisor.sock"

    @property
    def api(self) -> str:
        """What PREFECT_API_URL must be to reach the server."""
        return f"http://{HOST}:{self.prefect_port}/api"

    @property
    def addresses(self) -> dict[str, tuple[str, str]]:
        """Of the pieces that have one -> the page, and the address that answers 200 once it is up."""
        prefect, service = f"http://{HOST}:{self.prefect_port}", f"http://{HOST}:{self.port}"
        return {"prefect": (prefect, f"{prefect}/api/health"), "service": (service, f"{service}/livez")}

    def environment(self) -> dict[str, str]:
        """What every piece is told: this process's own variables, and where the others are."""
        environment = {**SERVER_DEFAULTS, **os.environ}
        if secret := environment.get("PREFECT_SERVER_API_AUTH_STRING"):
            environment.setdefault("PREFECT_API_AUTH_STRING", secret)
        return environment | {
            MARK: str(self.home),
            "FASHION_STACK_SOCKET": str(self.socket),
            "FASHION_STACK_LOGS": str(self.logs),
            "FASHION_STACK_BIN": str(Path(sys.executable).parent),
            "FASHION_STACK_PREFECT_PORT": str(self.prefect_port),
            "FASHION_DATA_DIR": str(load_settings().data_dir),
            "PREFECT_HOME": str(self.prefect_home),
            "PREFECT_API_URL": self.api,
            "PORT": str(self.port),
        }


def read_layout() -> StackLayout:
    """The stack of this checkout's data folder, as the environment says.

    Raises:
        SettingsError: a variable whose value cannot be used, by name.
    """
    ports, data = read_settings(Ports), load_settings().data_dir
    prefect_home = Path(os.environ.get("PREFECT_HOME") or data / "prefect").expanduser().absolute()
    return StackLayout(data / "stack", data / "logs", prefect_home, ports.port, ports.prefect_port)


def running_layout() -> StackLayout:
    """Likewise, with the ports that the stack was started with last, whatever the environment says now."""
    layout = read_layout()
    try:
        ports = json.loads((layout.home / "ports.json").read_bytes())
        return replace(layout, port=int(ports["port"]), prefect_port=int(ports["prefect_port"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # none was started, or the file is damaged
        return layout


def keep_ports(layout: StackLayout) -> None:
    """Write them down for `running_layout`."""
    ports = {"port": layout.port, "prefect_port": layout.prefect_port}
    write_whole(layout.home / "ports.json", json.dumps(ports).encode())
