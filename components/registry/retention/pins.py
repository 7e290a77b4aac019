"""Models that a person wants kept: BENTOML_HOME/fashion/pins.json, exact tag -> reason."""

import json
from pathlib import Path

from components.errors import ModelError
from components.files import write_whole
from components.records import read_file, read_record
from components.registry.champion import Tag
from components.registry.store import home, store_lock, stored_folder


def pin(tag: str, reason: str) -> None:
    """Keep a model whatever `prune` is told; pinned again, the new reason stays.

    Raises:
        ModelNotFound: no such tag.
        ModelError: the pins cannot be read.
    """
    with store_lock():  # so that a prune comes before, and the model is gone, or after, and it stays
        stored_folder(tag)
        _write({**pinned(), tag: reason})


def unpin(tag: str) -> bool:
    """Let `prune` have a model again.

    Returns:
        Whether it was pinned.

    Raises:
        ModelNotFound: it was not, and no such model is stored.
        ModelError: the pins cannot be read.
    """
    with store_lock():
        pins = pinned()
        if tag not in pins:
            stored_folder(tag)
            return False
        del pins[tag]
        _write(pins)
        return True


def pinned() -> dict[str, str]:
    """Exact tag -> why it is pinned.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        content = read_file(_path(), ModelError)
    except FileNotFoundError:
        return {}
    return read_record(dict[Tag, str], content, f"{_path()}: not a list of pinned models", ModelError)


def _write(pins: dict[str, str]) -> None:
    write_whole(_path(), json.dumps(pins, indent=2).encode() + b"\n")


def _path() -> Path:
    return home() / "pins.json"
