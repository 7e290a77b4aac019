"""Environment variables that every process sets before it imports third-party packages."""

import os
from pathlib import Path

from components import telemetry
from components.paths import IS_INSTALLED, default_data_dir
from ops.settings_file import read_settings_file

DEFAULTS = {
    **telemetry.OFF,
    # OpenMP threads spin while they wait for each other. If another process needs the core, an epoch with small layers
    # takes thirty times as long.
    "GOMP_SPINCOUNT": "100",
    # A temporary server with an empty home first migrates its database, which on a busy machine takes longer than
    # Prefect's timeout of 20 seconds.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # With Prefect's default of 180, the automation `dead-runs` would mark live runs as crashed, including those of a
    # shell that only sets the server's URL.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds, the minimum
    # Include the logs of components in a run's log.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "components",
}


def prepare() -> None:
    """Read the settings file, then set the defaults that are not set yet, for this process and its children.

    Raises:
        SettingsError: the settings file cannot be used.
    """
    read_settings_file()
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if IS_INSTALLED:  # child processes run in other folders
        os.environ.setdefault("FASHION_DATA_DIR", str(default_data_dir()))
    if not _has_home():
        os.environ["HOME"] = str(Path(os.environ.get("FASHION_DATA_DIR") or default_data_dir()).absolute())


def _has_home() -> bool:
    """Whether the user has a home folder, which Prefect, BentoML and Great Expectations need on import. A container's
    user may have neither HOME nor a line in /etc/passwd."""
    try:
        Path.home()
    except RuntimeError:
        return False
    return True
