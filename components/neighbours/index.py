"""An index of labelled images and their last hidden layers, in one file that is mapped into memory.

    data/neighbours/NAME.arrow   id, label, pixels and hidden of each item, in the order of the items
    data/neighbours/NAME.json    `IndexRecord`, written last, with the SHA-256 of the first file

Workers that map the same file share its memory, and a search reads only the rows that it measures.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from components.contract import Images, Labels, Positive, Sha256, Time
from components.errors import ModelError, NeighboursError
from components.files import naming, sha256_of, whole_file, write_whole
from components.model.classifier import Classifier
from components.neighbours.search import NearestRows
from components.records import read_file, read_record

MAX_BYTES = 1 << 30  # of the pictures and the hidden layers
AT_ONCE = 512  # images per forward pass, so that a service that builds an index hardly waits for it


@dataclass(frozen=True)
class Items:
    """n labelled images."""

    ids: Sequence[str]  # (n,)
    labels: Labels  # (n,), of the classes of the model
    pictures: NDArray[np.uint8]  # (n, height, width[, 3])
    hidden: NDArray[np.float32]  # (n, units), the last hidden layer of the model


@dataclass(frozen=True)
class IndexRecord:
    """What an index was made from."""

    model: str  # exact tag
    weights_sha256: Sha256  # of that model
    source: Annotated[str, Field(min_length=1)]  # a dataset version, or the path of an input
    rows: Positive
    sha256: Sha256  # of the Arrow file
    built_at: Time  # UTC


@dataclass(frozen=True)
class Neighbour:
    """An item near an image."""

    id: str
    row: int  # in the index, from 0
    name: str  # of its class
    distance: float  # Euclidean, between the last hidden layers
    picture: NDArray[np.uint8]  # (height, width[, 3])


class NeighbourIndex:
    """An open index."""

    def __init__(self, record: IndexRecord, items: Items, classes: tuple[str, ...]) -> None:
        self.record, self.items, self.classes = record, items, classes
        self.search = NearestRows(items.hidden)

    def find(self, model: Classifier, images: Images, count: int) -> list[list[Neighbour]]:
        """Find the nearest `count` items of each of m images, nearest first; fewer if the index has fewer.

        Args:
            model: the model of the index.
            images: (m,), as in its contract; m at least 1.
            count: at least 1.

        Raises:
            ModelError: the last hidden layer of an image is not finite.
        """
        hidden = hide(model, images)
        if not np.isfinite(hidden).all():
            raise ModelError(f"{model.tag}: the last hidden layer of an image is not finite")
        return [self._describe(*self.search.nearest(row, count)) for row in hidden]

    def _describe(self, rows: NDArray[np.intp], distances: NDArray[np.float64]) -> list[Neighbour]:
        items, found = self.items, zip(rows.tolist(), distances.tolist(), strict=True)
        return [
            Neighbour(str(items.ids[row]), row, self.classes[items.labels[row]], distance, items.pictures[row])
            for row, distance in found
        ]


def hide(model: Classifier, images: Images) -> NDArray[np.float32]:
    """The last hidden layers of n images, float32 (n, units); n at least 1."""
    parts = [model.hidden(images[start : start + AT_ONCE]) for start in range(0, len(images), AT_ONCE)]
    return np.concatenate(parts)


def require_size(images: int, model: Classifier, source: object) -> None:
    """Require that an index of this many images stays within `MAX_BYTES`.

    Raises:
        NeighboursError: it does not.
    """
    each = model.contract.image.size + 4 * model.units
    if images * each > MAX_BYTES:
        raise NeighboursError(
            f"{source}: an index of {images:,} images takes {images * each >> 20:,} MiB, expected at most "
            f"{MAX_BYTES >> 20:,}, {MAX_BYTES // each:,} images of this model"
        )


def write_index(path: Path, items: Items, model: Classifier, source: str) -> IndexRecord:
    """Write an index to `path`, NAME.arrow, and its record; both replace earlier ones.

    Raises:
        OSError: a file cannot be written.
    """
    with whole_file(path, flush=False) as temporary:  # its hash is checked before use
        with naming(path, temporary), pa.OSFile(str(temporary), "wb") as file:
            table = _to_table(items)
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
        sha256 = sha256_of(temporary)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = IndexRecord(model.tag, model.card.weights_sha256, source, len(items.ids), sha256, now)
    write_whole(path.with_suffix(".json"), json.dumps(asdict(record), indent=2).encode() + b"\n")
    return record


def read_index(path: Path, model: Classifier) -> NeighbourIndex:
    """Open an index of this model, and verify every byte.

    Raises:
        FileNotFoundError: there is no index at `path`.
        NeighboursError: it is damaged, or of another model.
    """
    where = path.with_suffix(".json")
    record = read_record(IndexRecord, read_file(where, NeighboursError), where, NeighboursError)
    if record.weights_sha256 != model.card.weights_sha256:
        raise NeighboursError(f"{path}: an index of {record.model}, expected one of {model.tag}")
    if (found := sha256_of(path)) != record.sha256:
        raise NeighboursError(
            f"{path}: changed since it was written (SHA-256 {found[:16]}..., {where.name} has another)"
        )
    items = _read_items(path, model)
    if len(items.ids) != record.rows:
        raise NeighboursError(f"{path}: found {len(items.ids):,} rows, expected {record.rows:,}")
    return NeighbourIndex(record, items, model.contract.classes)


def _to_table(items: Items) -> pa.Table:
    pixels, units = math.prod(items.pictures.shape[1:]), items.hidden.shape[1]
    flat = pa.py_buffer(np.ascontiguousarray(items.pictures))
    hidden = pa.array(np.ascontiguousarray(items.hidden).reshape(-1), pa.float32())
    columns = {
        "id": pa.array(items.ids, pa.string()),
        "label": pa.array(items.labels, pa.uint16()),
        "pixels": pa.FixedSizeBinaryArray.from_buffers(pa.binary(pixels), len(items.ids), [None, flat]),
        "hidden": pa.FixedSizeListArray.from_arrays(hidden, units),
    }
    return pa.table(columns)


def _read_items(path: Path, model: Classifier) -> Items:
    """Map the columns into memory."""
    image, units = model.contract.image, model.units
    try:
        (batch,) = pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_batches()
        pixels = np.frombuffer(batch["pixels"].buffers()[1], np.uint8)[: len(batch) * image.size]
        hidden = batch["hidden"].flatten().to_numpy()
        return Items(
            batch["id"],
            batch["label"].to_numpy(),
            pixels.reshape(-1, *image.shape),
            hidden.reshape(-1, units),
        )
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise NeighboursError(f"{path}: not an index: {str(error).splitlines()[0]}") from error
