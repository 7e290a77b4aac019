"""The catalogue that this process works on: `FASHION_CATALOGUE`. Each has its own data, models, pointer and inboxes."""

import os
from pathlib import Path

from components.contract import CATALOGUE_NAME, describe_bad_name
from components.errors import SettingsError

VARIABLE = "FASHION_CATALOGUE"
DEFAULT = "fashion-mnist"  # keeps its data and models where they were before there were other catalogues


def catalogue_in_use() -> str:
    """Read the catalogue's name from the environment.

    Raises:
        SettingsError: the name is not valid for a catalogue.
    """
    name = os.environ.get(VARIABLE) or DEFAULT
    if not CATALOGUE_NAME.fullmatch(name):
        raise SettingsError(f"{VARIABLE}: {describe_bad_name(name)}")
    return name


def in_catalogue(folder: Path, name: str) -> Path:
    """The folder of one catalogue within a folder that all catalogues share."""
    return folder if name == DEFAULT else folder / "catalogues" / name
