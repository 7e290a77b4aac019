"""The index of a catalogue: the rows of a scored input, in which similar items are found."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.contract import pictures_of
from components.errors import InputError, NeighboursError
from components.model.classifier import Classifier
from components.neighbours.index import (
    IndexRecord,
    Items,
    NeighbourIndex,
    hide,
    read_index,
    require_size,
    write_index,
)
from components.readers.folders.opening import open_input
from components.readers.folders.parts import TableReading
from components.scoring.predict import predict_block
from components.settings import Settings

NAME = "catalogue.arrow"
BUILD = "fashion similar build INPUT"


@dataclass(frozen=True)
class BuiltCatalogue:
    """What went into the index of a catalogue: rows = indexed + rejected."""

    record: IndexRecord
    rows: int
    rejected: int
    reason: str  # of the first rejected row; "" if there is none


def build_catalogue(model: Classifier, source: Path, reading: TableReading, settings: Settings) -> BuiltCatalogue:
    """Index the rows of an input that `fashion score` takes, each with the class that the model predicts.

    It replaces the index of another catalogue, or of another model.

    Raises:
        InputError: the input cannot be read, or has no row that can be.
        NeighboursError: it has too many rows.
        OSError: the index cannot be written.
    """
    source = source.absolute()
    read, found, rejects = open_input(source, reading, model.contract), list[Items](), list[str]()
    rows = rejected = 0
    for block in (block for part in read.parts() for block in read.read(part)):
        rows += len(block.ids)
        rejected += len(block.rejects)
        rejects += [f"{one.line}: {one.reason}" for one in block.rejects[: not rejects]]
        require_size(rows, model, source)
        if len(block.ids):
            labels, shown = predict_block(model, block).labels, block.shown
            found.append(Items(list(block.ids), labels, pictures_of(shown), hide(model, shown)))
    if not found:
        raise InputError(str(source), f"no row can be read{f'; the first is {rejects[0]}' if rejects else ''}")
    record = write_index(settings.neighbours_dir / NAME, _join(found), model, str(source))
    return BuiltCatalogue(record, rows + rejected, rejected, "".join(rejects))


def open_catalogue(model: Classifier, settings: Settings) -> NeighbourIndex:
    """Open the index of the catalogue.

    Raises:
        NeighboursError: there is none, or it is damaged or was built with another model.
    """
    try:
        return read_index(settings.neighbours_dir / NAME, model)
    except FileNotFoundError as error:
        raise NeighboursError(f"no catalogue is indexed; run '{BUILD}'") from error
    except NeighboursError as error:
        raise NeighboursError(f"{error}; run '{BUILD}' again") from error


def _join(parts: list[Items]) -> Items:
    return Items(
        [one for part in parts for one in part.ids],
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.pictures for part in parts]),
        np.concatenate([part.hidden for part in parts]),
    )
