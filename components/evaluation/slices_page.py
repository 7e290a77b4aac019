"""Writes slices as a page, and as JSON that is read back."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from components.errors import ModelError
from components.evaluation.model_slices import ModelSlices
from components.evaluation.slices import CHANCE, Slices
from components.files import write_whole
from components.pages.render import render_page
from components.records import read_file, read_record

FILE = "slices.json"  # next to a model's report


def write_slices_page(path: Path, title: str, slices: Sequence[Slices], notes: Sequence[str] = ()) -> None:
    """Write a page with slices.

    Args:
        path: The page.
        title: The model or file.
        slices: One or more, each of other images.
        notes: What could not be sliced.
    """
    template = Path(__file__).with_name("slices.html.j2")
    write_whole(path, render_page(template, title=title, slices=slices, notes=notes, chance=CHANCE))


def write_slices(path: Path, slices: ModelSlices) -> None:
    """Write a model's slices as JSON."""
    write_whole(path, json.dumps(asdict(slices), indent=2).encode() + b"\n")


def read_slices(path: Path) -> ModelSlices | None:
    """Read a model's slices; None if the report was written without them.

    Raises:
        ModelError: The file is damaged.
    """
    try:
        return read_record(ModelSlices, read_file(path, ModelError), path, ModelError)
    except FileNotFoundError:
        return None
