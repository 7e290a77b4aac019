"""Which catalogue this process works on: `FASHION_CATALOGUE`. Its data, models, pointer and inboxes are its own."""

import os
from pathlib import Path

from components.contract import CATALOGUE_NAME
from components.errors import SettingsError

VARIABLE = "FASHION_CATALOGUE"
DEFAULT = "fashion-mnist"  # its data and models are where they were before there were others


def catalogue_in_use() -> str:
    """Its name, as the environment has it now.

    Raises:
        SettingsError: no catalogue can have that name.
    """
    name = os.environ.get(VARIABLE) or DEFAULT
    if not CATALOGUE_NAME.fullmatch(name):
        raise SettingsError(f"{VARIABLE}: {name[:60]!r}; expected up to 40 small letters, digits and hyphens")
    return name


def in_catalogue(folder: Path, name: str) -> Path:
    """Where a catalogue's own things are, in a folder that all of them share."""
    return folder if name == DEFAULT else folder / "catalogues" / name
