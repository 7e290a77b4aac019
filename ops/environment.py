"""What every process of ours tells the packages before it imports them."""

import os
from pathlib import Path

from components import telemetry
from ops.settings_file import read_settings_file

CHECKOUT = Path(__file__).resolve().parents[1]  # as in components.settings, which takes too long to import for --help
DEFAULTS = {
    **telemetry.OFF,
    # OpenMP's threads wait for each other by spinning. Where another process wants the core, that makes an epoch of
    # small layers thirty times as long.
    "GOMP_SPINCOUNT": "100",
    # A temporary server with an empty home migrates its database first, which on a busy machine takes longer than the
    # 20 seconds that Prefect waits.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Prefect's own 180 are longer than the automation `dead-runs` waits, which would take a living run for dead; also
    # that of a shell which only has the server's address.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds, the least there is
    # What components log appears in a run's log.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "components",
}


def prepare() -> None:
    """Set what is not set yet, for this process and those it starts: the settings file first, then our defaults.

    Raises:
        SettingsError: the settings file cannot be used.
    """
    read_settings_file()
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not _has_home():
        os.environ["HOME"] = str(Path(os.environ.get("FASHION_DATA_DIR") or CHECKOUT / "data").absolute())


def _has_home() -> bool:
    """A container's user may have neither HOME nor a line in /etc/passwd, and Prefect, BentoML and Great Expectations
    ask for a home when they are imported."""
    try:
        Path.home()
    except RuntimeError:
        return False
    return True
