"""The service's own variables, checked before anything starts."""

import os
from pathlib import Path

from components.errors import SettingsError
from components.review.bounds import read_review_bounds
from serving.guard import Guard

FOLDERS = ("FASHION_CORRECTIONS_DIR", "FASHION_PREDICTION_LOG")
MAX_WORKERS = 256


def check_settings() -> None:
    """Check every variable that only the service reads.

    Raises:
        SettingsError: a variable has an invalid value; the message is one line that names it.
    """
    Guard()
    read_workers()
    read_review_bounds()
    for name in FOLDERS:
        if Path(folder := os.environ.get(name, "")).is_file():
            raise SettingsError(f"{name}: found {folder!r}, a file, expected a folder, or off")
    if (follow := os.environ.get("FASHION_FOLLOW", "")) not in {"", "true", "false"}:
        raise SettingsError(f"FASHION_FOLLOW: found {follow[:60]!r}, expected true or false")


def read_workers() -> int:
    """Number of worker processes, each with its own copy of the model: `FASHION_WORKERS`, 1 by default.

    Raises:
        SettingsError: not a whole number from 1 to 256.
    """
    found = os.environ.get("FASHION_WORKERS") or "1"
    if not (found.isascii() and found.isdigit() and 1 <= int(found[:4]) <= MAX_WORKERS):
        raise SettingsError(f"FASHION_WORKERS: found {found[:60]!r}, expected a whole number from 1 to {MAX_WORKERS}")
    return int(found)
