"""Paths, ports and environment of the stack on this machine."""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.files import write_whole
from components.paths import CHECKOUT, RESOURCES
from components.settings import load_settings, read_settings
from ops.environment import DEFAULTS

PIECES = ("prefect", "worker", "service")  # in start order; each may need the previous ones
POOL = "fashion"
HOST = "127.0.0.1"
CONFIG = RESOURCES / "deploy" / "supervisor" / "supervisord.conf"
MARK = "FASHION_STACK_HOME"  # set in the environment of every process of a stack and its children

# Used unless set in the environment.
SERVER_DEFAULTS = {
    **DEFAULTS,
    # Keep concurrency leases in files, so that they survive a killed server. Prefect's default is the server's memory.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Delete runs with their logs and artifacts 90 days after their end; events are deleted by default.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 24 * 3600),  # seconds
    # Timeout of a statement in PostgreSQL; Prefect's default is 10. SQLite always waits 60 seconds for a lock.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # seconds
    "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
}


class Ports(BaseSettings):
    """The two ports of the stack, both on the loopback address."""

    model_config = SettingsConfigDict(frozen=True)

    port: int = pydantic.Field(default=3000, ge=1, le=65535)  # PORT: of the service
    prefect_port: int = pydantic.Field(default=4200, ge=1, le=65535)  # PREFECT_PORT: of the Prefect server


@dataclass(frozen=True)
class StackLayout:
    """Paths and ports of one stack."""

    home: Path  # socket and PID file of the supervisor; one folder per stack
    logs: Path
    prefect_home: Path
    port: int
    prefect_port: int

    @property
    def socket(self) -> Path:
        """Path of the supervisor's socket for a process whose working directory is `home`. It goes through /proc,
        because a socket path has at most 107 bytes; without /proc, the path of the checkout must be short."""
        cwd = Path("/proc/self/cwd")
        return (cwd if cwd.exists() else self.home) / "supervisor.sock"

    @property
    def api(self) -> str:
        """Value of PREFECT_API_URL for this server."""
        return f"http://{HOST}:{self.prefect_port}/api"

    @property
    def addresses(self) -> dict[str, tuple[str, str]]:
        """Piece -> URL of its UI and of its health check, for the pieces that have them."""
        prefect, service = f"http://{HOST}:{self.prefect_port}", f"http://{HOST}:{self.port}"
        return {"prefect": (prefect, f"{prefect}/api/health"), "service": (service, f"{service}/livez")}

    def environment(self) -> dict[str, str]:
        """Environment of every piece: the variables of this process plus the paths and ports of the stack."""
        environment = {**SERVER_DEFAULTS, **os.environ}
        if secret := environment.get("PREFECT_SERVER_API_AUTH_STRING"):
            environment.setdefault("PREFECT_API_AUTH_STRING", secret)
        return environment | {
            MARK: str(self.home),
            "FASHION_STACK_SOCKET": str(self.socket),
            "FASHION_STACK_LOGS": str(self.logs),
            "FASHION_STACK_CODE": str(CHECKOUT),
            "FASHION_STACK_BIN": str(Path(sys.executable).parent),
            "FASHION_STACK_PREFECT_PORT": str(self.prefect_port),
            "FASHION_DATA_DIR": str(load_settings().data_dir),
            "PREFECT_HOME": str(self.prefect_home),
            "PREFECT_API_URL": self.api,
            "PORT": str(self.port),
        }


def read_layout() -> StackLayout:
    """Return the layout configured by the environment, in this checkout's data folder.

    Raises:
        SettingsError: a variable has an invalid value.
    """
    ports, data = read_settings(Ports), load_settings().data_dir
    prefect_home = Path(os.environ.get("PREFECT_HOME") or data / "prefect").expanduser().absolute()
    return StackLayout(data / "stack", data / "logs", prefect_home, ports.port, ports.prefect_port)


def running_layout() -> StackLayout:
    """Return the layout with the ports that the stack was last started with, instead of those in the environment."""
    layout = read_layout()
    try:
        ports = json.loads((layout.home / "ports.json").read_bytes())
        return replace(layout, port=int(ports["port"]), prefect_port=int(ports["prefect_port"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # never started, or a damaged file
        return layout


def keep_ports(layout: StackLayout) -> None:
    """Save the ports for `running_layout`."""
    ports = {"port": layout.port, "prefect_port": layout.prefect_port}
    write_whole(layout.home / "ports.json", json.dumps(ports).encode())
