"""The service's own variables, checked before anything starts."""

import os
from pathlib import Path

from components.errors import SettingsError
from serving.guard import Guard

FOLDERS = ("FASHION_CORRECTIONS_DIR", "FASHION_PREDICTION_LOG")


def check_settings() -> None:
    """Check every variable that only the service reads.

    Raises:
        SettingsError: a variable has an invalid value; the message is one line that names it.
    """
    Guard()
    for name in FOLDERS:
        if Path(folder := os.environ.get(name, "")).is_file():
            raise SettingsError(f"{name}: found {folder!r}, a file, expected a folder, or off")
    if (follow := os.environ.get("FASHION_FOLLOW", "")) not in {"", "true", "false"}:
        raise SettingsError(f"FASHION_FOLLOW: found {follow[:60]!r}, expected true or false")
