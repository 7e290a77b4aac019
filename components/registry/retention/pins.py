"""Pinned models, which `prune` keeps: BENTOML_HOME/fashion/pins.json, exact tag -> reason."""

import json
from pathlib import Path

from components.errors import ModelError
from components.files import write_whole
from components.records import read_file, read_record
from components.registry.champion import Tag
from components.registry.store import home, store_lock, stored_folder


def pin(tag: str, reason: str) -> None:
    """Pin a model, so that `prune` keeps it. Pinning it again replaces the reason.

    Raises:
        ModelNotFound: no such tag.
        ModelError: the pins cannot be read.
    """
    with store_lock():  # a concurrent prune runs either before or after
        stored_folder(tag)
        _write({**pinned(), tag: reason})


def unpin(tag: str) -> bool:
    """Unpin a model, so that `prune` may remove it.

    Returns:
        Whether it was pinned.

    Raises:
        ModelNotFound: the model is neither pinned nor stored.
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
    """Return the pins: exact tag -> reason.

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
