"""Import labelled images: write a new dataset version with added training examples and corrected labels."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.contract import DataContract, Dataset
from components.dataset.labels.checks import SortedCandidates, sort_candidates, to_images
from components.dataset.labels.examples import LabelInput, count_reasons, keep_rejects, shown
from components.dataset.labels.reading import read_label_input
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
from components.dataset.replacing import replacement_lock, validate_and_activate
from components.dataset.threads import Progress
from components.errors import DatasetError
from components.files import remove_leftovers
from components.settings import Settings, load_settings


@dataclass(frozen=True)
class Imported:
    """The result of an import; read = added + relabelled + known + unchanged + rejected."""

    dataset: Dataset  # current after the import
    base: Dataset  # current before the import
    added: dict[str, int]  # class -> new training examples
    relabelled: dict[str, str]  # id of a training row -> its new class
    known: int  # already in the dataset with the same label, or repeated in the input
    unchanged: int  # rows of a table whose label was not edited
    rejected: dict[str, int]  # reason -> count
    rejects: Path | None  # the list of rejects
    left_out: tuple[str, ...] = ()  # names of ignored system files
    unknown: tuple[str, ...] = ()  # labels that are not classes of the dataset

    @property
    def changed(self) -> bool:
        """Whether the import created a new version."""
        return self.dataset.version != self.base.version

    @property
    def read(self) -> int:
        """The number of rows or pictures read."""
        taken = sum(self.added.values()) + len(self.relabelled)
        return taken + self.known + self.unchanged + sum(self.rejected.values())


def import_labels(
    path: Path,
    *,
    root: Path | None = None,
    images: Path | None = None,
    settings: Settings | None = None,
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Import labels from a file or folder into a new dataset version; make it current once it passes validation.

    Nothing changes if an error is raised.

    Args:
        path: a file or folder of labels, see `reading`.
        root: base of a CSV's paths. None: the CSV's folder.
        images: CSV or Parquet of pixels that a CSV's ids or hashes refer to. None: they refer to rows of the dataset.
        settings: data paths. None: from the environment.
        progress: called after each picture.

    Raises:
        InputError: the input cannot be read.
        DatasetError: there is no dataset, or the current dataset changed in the meantime.
        ValidationError: the new version fails an expectation.
    """
    settings = settings or load_settings()
    with replacement_lock(settings) as base:
        if base is None:
            raise DatasetError(f"{shown(path.name)}: no dataset to add these examples to. Ingest the archives first")
        label_input = read_label_input(path, base.contract, root, images, progress)
        found = sort_candidates(label_input.candidates, read_split(base, "train"), read_split(base, "test"))
        dataset = _take(found, label_input, base, settings) if found.added or found.relabelled else base
    classes, rejects = base.contract.classes, [*label_input.rejects, *found.rejects]
    return Imported(
        dataset=dataset,
        base=base,
        added=dict(Counter(classes[one.label] for one in found.added)),
        relabelled={row_id: classes[label] for row_id, label in found.relabelled.items()},
        known=found.known,
        unchanged=label_input.unchanged,
        rejected=count_reasons(rejects),
        rejects=keep_rejects(label_input.name, rejects, settings.labelled_dir / "rejects"),
        left_out=label_input.left_out,
        unknown=tuple(sorted({one.unknown for one in rejects if one.unknown})),
    )


def _take(found: SortedCandidates, label_input: LabelInput, base: Dataset, settings: Settings) -> Dataset:
    """Write a new version, validate it, then make it current."""
    folder = settings.datasets_dir
    with dataset_lock(folder):
        remove_leftovers(folder / "parts")
        manifest = read_manifest(base)
        parts = [_relabel(part, found.relabelled, label_input, folder, manifest.contract) for part in manifest.parts]
        if found.added:
            parts.append(_write_added(found, label_input, manifest, folder))
        dataset = write_manifest(folder, replace(manifest, parts=tuple(parts)), use=False)
    validate_and_activate(dataset, base, settings)
    return dataset


def _write_added(found: SortedCandidates, label_input: LabelInput, manifest: Manifest, folder: Path) -> DatasetPart:
    """Write the added examples as a new part; its ids contain a hash of its content, so that they are unique."""
    images = to_images(found.added, manifest.contract)
    labels = np.array([one.label for one in found.added], np.uint16)
    infix = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:8]
    ids = [f"train-{infix}-{number:05d}" for number in range(len(images))]
    table = to_table(
        ids, "train", labels, images, manifest.contract, f"labels:{label_input.name}", licence="as its owner says"
    )
    left_out = {shown(one.position) for one in label_input.candidates} - {shown(one.position) for one in found.added}
    inputs = {f"labels/{name}": sha256 for name, sha256 in label_input.inputs.items() if name not in left_out}
    return store_part(table, "train", folder, inputs, manifest.contract)


def _relabel(
    part: DatasetPart, changes: dict[str, int], label_input: LabelInput, folder: Path, contract: DataContract
) -> DatasetPart:
    """Rewrite a part with corrected labels; unchanged if none of its rows is affected or it is in the test split."""
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
    changes_digest = digest(repr(sorted(changes.items())).encode())
    inputs = part.inputs | {f"relabelled/{label_input.name}": changes_digest}
    return store_part(changed, part.split, folder, inputs, contract)
