"""Labelled images -> a new dataset version: the newest one, with new training examples and corrected labels."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.contract import DataContract, Dataset
from components.dataset.labels.checks import Sorted, sort_candidates, to_images
from components.dataset.labels.examples import HandedIn, count_reasons, keep_rejects, shown
from components.dataset.labels.reading import read_handed_in
from components.dataset.manifest import (
    DatasetPart,
    Manifest,
    dataset_lock,
    digest,
    read_manifest,
    read_part,
    read_split,
    to_table,
    write_manifest,
)
from components.dataset.parts import store_part
from components.dataset.replacing import replacing, take_into_use
from components.errors import DatasetError
from components.files import remove_leftovers
from components.settings import Settings, load_settings


@dataclass(frozen=True)
class Imported:
    """What an import came to; read = added + relabelled + known + unchanged + rejected."""

    dataset: Dataset  # in use now
    base: Dataset  # in use before
    added: dict[str, int]  # class -> new training examples
    relabelled: dict[str, str]  # id of a training row -> its class now
    known: int  # there before with the same label, or named twice
    unchanged: int  # rows of a table that nobody changed
    rejected: dict[str, int]  # reason -> how many
    rejects: Path | None  # the list of them
    left_out: tuple[str, ...] = ()  # names of files that systems leave in folders, which are not read
    unknown: tuple[str, ...] = ()  # classes that labels named and that there are not

    @property
    def changed(self) -> bool:
        """Whether there is a new version."""
        return self.dataset.version != self.base.version

    @property
    def read(self) -> int:
        """How many rows or pictures there were."""
        taken = sum(self.added.values()) + len(self.relabelled)
        return taken + self.known + self.unchanged + sum(self.rejected.values())


def import_labels(
    path: Path, *, root: Path | None = None, images: Path | None = None, settings: Settings | None = None
) -> Imported:
    """Take what is new in a file or folder into a new dataset version, and put that in use once it passed validation.

    Args:
        path: what a person hands in; see `reading`.
        root: where the paths of a CSV begin; None: at its own folder.
        images: a CSV or Parquet file of pixels that the ids or hashes of a CSV are of; None: rows of the dataset.
        settings: where data lives; None: from the environment.

    Raises:
        InputError: it cannot be read at all. Nothing changes, as with every error.
        DatasetError: there is nothing to add it to, or another ingest took another dataset into use meanwhile.
        ValidationError: with it the dataset would break an expectation.
    """
    settings = settings or load_settings()
    with replacing(settings) as base:
        if base is None:
            raise DatasetError(f"{shown(path.name)}: nothing to add these examples to; ingest the archives first")
        handed_in = read_handed_in(path, base.contract, root, images)
        found = sort_candidates(handed_in.candidates, read_split(base, "train"), read_split(base, "test"))
        dataset = _take(found, handed_in, base, settings) if found.added or found.relabelled else base
    classes, rejects = base.contract.classes, [*handed_in.rejects, *found.rejects]
    return Imported(
        dataset=dataset,
        base=base,
        added=dict(Counter(classes[one.label] for one in found.added)),
        relabelled={row_id: classes[label] for row_id, label in found.relabelled.items()},
        known=found.known,
        unchanged=handed_in.unchanged,
        rejected=count_reasons(rejects),
        rejects=keep_rejects(handed_in.name, rejects, settings.labelled_dir / "rejects"),
        left_out=handed_in.left_out,
        unknown=tuple(sorted({one.unknown for one in rejects if one.unknown})),
    )


def _take(found: Sorted, handed_in: HandedIn, base: Dataset, settings: Settings) -> Dataset:
    """Write, validate, and only then take into use."""
    folder = settings.datasets_dir
    with dataset_lock(folder):
        remove_leftovers(folder / "parts")
        manifest = read_manifest(base)
        parts = [_relabel(part, found.relabelled, handed_in, folder, manifest.contract) for part in manifest.parts]
        if found.added:
            parts.append(_write_added(found, handed_in, manifest, folder))
        dataset = write_manifest(folder, replace(manifest, parts=tuple(parts)), use=False)
    take_into_use(dataset, base, settings)
    return dataset


def _write_added(found: Sorted, handed_in: HandedIn, manifest: Manifest, folder: Path) -> DatasetPart:
    """A part of its own; its ids carry a hash of what is in it, so that they meet no others."""
    images = to_images(found.added, manifest.contract.image)
    labels = np.array([one.label for one in found.added], np.uint16)
    infix = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:8]
    ids = [f"train-{infix}-{number:05d}" for number in range(len(images))]
    table = to_table(
        ids, "train", labels, images, manifest.contract, f"labels:{handed_in.name}", licence="as its owner says"
    )
    left_out = {shown(one.position) for one in handed_in.candidates} - {shown(one.position) for one in found.added}
    inputs = {f"labels/{name}": sha256 for name, sha256 in handed_in.inputs.items() if name not in left_out}
    return store_part(table, "train", folder, inputs, manifest.contract)


def _relabel(
    part: DatasetPart, changes: dict[str, int], handed_in: HandedIn, folder: Path, contract: DataContract
) -> DatasetPart:
    """The part with other labels, or itself where none of its rows changes; the test split never does."""
    if part.split == "test" or not changes:
        return part
    table = read_part(folder, part, contract)
    ids = table["id"].to_pylist()
    rows = [row for row, row_id in enumerate(ids) if row_id in changes]
    if not rows:
        return part
    labels = table["label"].to_numpy().copy()
    labels[rows] = [changes[ids[row]] for row in rows]
    place = table.schema.get_field_index("label")
    changed = table.set_column(place, table.schema.field("label"), pa.array(labels))
    told = digest(repr(sorted(changes.items())).encode())
    inputs = part.inputs | {f"relabelled/{handed_in.name}": told}
    return store_part(changed, part.split, folder, inputs, contract)
