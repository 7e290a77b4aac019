"""Change the classes: write a new dataset version with a new contract, current once it passes validation.

Parts are rewritten with the labels of the new contract; ids, pixels and splits do not change. Existing models keep
their classes, and the gate maps them to the new ones by the version's `revisions`.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.contract import SPLITS, DataContract, Dataset, Images, Revision, Split
from components.dataset.classes.journal import ClassEntry, last_standing, write_entry
from components.dataset.classes.plans import (
    ClassPlan,
    plan_addition,
    plan_merger,
    plan_removal,
    plan_renaming,
    plan_split,
)
from components.dataset.labels.checks import sort_candidates, to_images
from components.dataset.labels.examples import LabelReject, count_reasons, keep_rejects, shown
from components.dataset.labels.inbox import requeue_waiting
from components.dataset.labels.pictures import read_picture, split_rejects
from components.dataset.manifest import (
    DatasetPart,
    Manifest,
    dataset_lock,
    dataset_of,
    read_manifest,
    read_part,
    read_split,
    to_table,
    write_manifest,
)
from components.dataset.manifest import to_images as images_in
from components.dataset.own.contract import FEWEST, FEWEST_SMALL
from components.dataset.parts import store_part
from components.dataset.replacing import replacement_lock, validate_and_activate
from components.dataset.splitting import draw_test_split
from components.dataset.threads import map_threads
from components.errors import DatasetError, InputError
from components.files import remove_leftovers
from components.readers.folders.listing import walk
from components.settings import Settings, load_settings

DEEPEST = 8  # folder levels at which symbolic links are followed
LARGEST_TABLE = 64 << 20  # bytes


@dataclass(frozen=True)
class ClassesChanged:
    """The result of a change."""

    entry: ClassEntry
    dataset: Dataset  # current after the change
    base: Dataset  # current before the change
    moved: dict[str, tuple[int, int]]  # renumbered class -> old and new number
    rejected: dict[str, int]  # reason -> number of rejected pictures of a new class
    rejects: Path | None  # the list of rejects
    called_back: list[str]  # items moved from waiting back to the inbox


@dataclass(frozen=True)
class _NewClass:
    """Pictures of a new class."""

    name: str  # of their folder
    images: dict[Split, Images]
    inputs: dict[Split, dict[str, str]]
    rejects: list[LabelReject]


def add_class(
    name: str, folder: Path, why: str, *, allow_small: bool = False, settings: Settings | None = None
) -> ClassesChanged:
    """Add a class with the pictures in a folder, at any depth, and draw a test split from them.

    Nothing changes if an error is raised.

    Args:
        name: the class's name.
        folder: its pictures.
        why: the reason, recorded in the journal.
        allow_small: allow fewer than 10 pictures.
        settings: data paths. None: from the environment.

    Raises:
        DatasetError: the class exists, too few pictures are usable, or the current dataset changed in the meantime.
        InputError: no such folder.
        ValidationError: the new version fails an expectation.
    """
    with _changing(settings) as (base, settings):
        plan = plan_addition(base.contract, name)
        added = _read_added(folder, base, FEWEST_SMALL if allow_small else FEWEST)
        return _change(base, plan, why, settings, added)


def rename_class(name: str, to: str, why: str, *, settings: Settings | None = None) -> ClassesChanged:
    """Rename a class. Raises DatasetError and ValidationError like `add_class`."""
    with _changing(settings) as (base, settings):
        return _change(base, plan_renaming(base.contract, name, to), why, settings)


def merge_classes(names: Sequence[str], into: str, why: str, *, settings: Settings | None = None) -> ClassesChanged:
    """Merge several classes into one. Raises DatasetError and ValidationError like `add_class`."""
    with _changing(settings) as (base, settings):
        return _change(base, plan_merger(base.contract, names, into), why, settings)


def remove_class(name: str, why: str, *, settings: Settings | None = None) -> ClassesChanged:
    """Remove a class and its images. Raises DatasetError and ValidationError like `add_class`."""
    with _changing(settings) as (base, settings):
        return _change(base, plan_removal(base.contract, name), why, settings)


def split_class(
    name: str, table: Path, why: str, *, allow_small: bool = False, settings: Settings | None = None
) -> ClassesChanged:
    """Split a class into several, by a CSV of `id,label`. Rows that the table does not list stay in the class.

    Raises the errors of `add_class`, and InputError if the table is invalid.
    """
    with _changing(settings) as (base, settings):
        members = {split: _members(base, split, name) for split in SPLITS}
        plan = plan_split(base.contract, name, _read_rows(table), [*members["train"], *members["test"]])
        _require_enough(plan, members, FEWEST_SMALL if allow_small else FEWEST)
        return _change(base, plan, why, settings)


def undo_change(why: str, *, force: bool = False, settings: Settings | None = None) -> ClassesChanged:
    """Undo the newest change that was not undone yet: make the dataset before it current again.

    Args:
        why: the reason, recorded in the journal.
        force: undo even if labels were imported since, which that dataset does not have.
        settings: data paths. None: from the environment.

    Raises:
        DatasetError: there is no change to undo, its dataset no longer exists, or labels were imported since.
    """
    with _changing(settings) as (base, settings):
        folder = settings.datasets_dir
        last = last_standing(folder)
        if last is None:
            raise DatasetError("no class change to undo. 'fashion classes history' lists all changes")
        if base.version != last.after and not force:
            raise DatasetError(
                f"cannot undo {last.change}: labels were imported since (dataset {last.after} then, {base.version} "
                f"now), and would be lost. Use --force to undo anyway"
            )
        dataset = dataset_of(folder, last.before)
        validate_and_activate(dataset, base, settings)
        entry = write_entry(folder, why, f"undo: {last.change}", base.version, dataset.version, undone=True)
    return ClassesChanged(
        entry, dataset, base, _moved(base.contract, dataset.contract), {}, None, requeue_waiting(settings)
    )


def _members(dataset: Dataset, split: Split, name: str) -> list[str]:
    """The row ids of a class."""
    examples, label = read_split(dataset, split), dataset.contract.label_of(name)
    return [row_id for row_id, one in zip(examples.ids, examples.labels.tolist(), strict=True) if one == label]


@contextmanager
def _changing(settings: Settings | None) -> Iterator[tuple[Dataset, Settings]]:
    """Yield the current dataset and the settings, under the lock for imports and class changes."""
    settings = settings or load_settings()
    with replacement_lock(settings) as base:
        if base is None:
            raise DatasetError("no dataset, so there are no classes to change. Run 'fashion ingest' first")
        yield base, settings


def _change(
    base: Dataset, plan: ClassPlan, why: str, settings: Settings, added: _NewClass | None = None
) -> ClassesChanged:
    """Write a new version, validate it, then make it current."""
    folder = settings.datasets_dir
    with dataset_lock(folder):
        remove_leftovers(folder / "parts")
        manifest = read_manifest(base)
        written = (_rewrite_part(part, plan, manifest.contract, folder) for part in manifest.parts)
        parts = [part for part in written if part]
        if added:
            parts += [_write_added(split, added, plan.contract, folder) for split in added.images]
        revision = Revision(manifest.contract.classes, plan.became)
        changed = Manifest(
            manifest.source, manifest.licence, tuple(parts), plan.contract, (*manifest.revisions, revision)
        )
        dataset = write_manifest(folder, changed, use=False)
    validate_and_activate(dataset, base, settings)
    entry = write_entry(folder, why, plan.summary, base.version, dataset.version)
    rejects = added.rejects if added else []
    kept = keep_rejects(added.name, rejects, settings.labelled_dir / "rejects") if added else None
    moved, back = _moved(base.contract, plan.contract), requeue_waiting(settings)
    return ClassesChanged(entry, dataset, base, moved, count_reasons(rejects), kept, back)


def _moved(before: DataContract, after: DataContract) -> dict[str, tuple[int, int]]:
    found = ((name, label, after.label_of(name)) for label, name in enumerate(before.classes))
    return {name: (label, now) for name, label, now in found if now not in (None, label) and name in after.classes}


def _rewrite_part(part: DatasetPart, plan: ClassPlan, before: DataContract, folder: Path) -> DatasetPart | None:
    """Rewrite a part with the labels of the new contract; None if no rows are left."""
    table = read_part(folder, part, before)
    nowhere = len(plan.contract.classes)
    became = np.array([plan.contract.label_of(names[0]) if len(names) else nowhere for names in plan.became], np.uint16)
    labels = became[table["label"].to_numpy()]
    if plan.rows:
        for row, row_id in enumerate(table["id"].to_pylist()):
            if row_id in plan.rows:
                labels[row] = plan.contract.label_of(plan.rows[row_id])
    place = table.schema.get_field_index("label")
    table = table.set_column(place, table.schema.field("label"), pa.array(labels, pa.uint16()))
    table = table.filter(pa.array(labels < nowhere)).combine_chunks()
    if not table.num_rows:
        return None
    metadata = table.schema.metadata
    rewritten = to_table(
        table["id"].to_pylist(),
        part.split,
        table["label"].to_numpy(),
        images_in(table, before),
        plan.contract,
        metadata[b"source"].decode(),
        metadata[b"licence"].decode(),
    )
    return store_part(rewritten, part.split, folder, part.inputs, plan.contract)


def _read_added(folder: Path, base: Dataset, fewest: int) -> _NewClass:
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder; expected a folder with pictures of the new class")
    contract, found = base.contract, walk(folder, follow=DEEPEST)
    label = len(contract.classes)
    read = map_threads(lambda name: read_picture(folder, name, label, contract), found.names)
    candidates, unreadable = split_rejects(read)
    sorted_candidates = sort_candidates(candidates, read_split(base, "train"), read_split(base, "test"))
    rejects = [*unreadable, *sorted_candidates.rejects]
    taken = sorted_candidates.added
    if len(taken) < fewest:
        example = f", e.g. {rejects[0].position}: {rejects[0].reason}" if rejects else ""
        hint = ". Use --allow-small for 2 pictures or more" if FEWEST_SMALL <= len(taken) < fewest else ""
        counts = f"found {len(taken)} usable pictures, {len(rejects)} rejected{example}"
        raise DatasetError(f"{folder}: {counts}; expected at least {fewest}{hint}")
    images = to_images(taken, contract)
    digests = [hashlib.sha256(one.original).hexdigest() for one in taken]
    drawn = draw_test_split(images, np.zeros(len(taken), np.uint16), digests, classes=(folder.name,))
    rows: dict[Split, list[int]] = {
        "train": np.flatnonzero(drawn.train).tolist(),
        "test": np.flatnonzero(drawn.test).tolist(),
    }
    return _NewClass(
        folder.name,
        {split: images[of] for split, of in rows.items()},
        {split: {f"labels/{shown(taken[row].position)}": digests[row] for row in of} for split, of in rows.items()},
        rejects,
    )


def _write_added(split: Split, added: _NewClass, contract: DataContract, folder: Path) -> DatasetPart:
    images, label = added.images[split], len(contract.classes) - 1
    infix = hashlib.sha256(images.tobytes() + contract.classes[label].encode()).hexdigest()[:8]
    ids = [f"{split}-{infix}-{number:05d}" for number in range(len(images))]
    labels = np.full(len(images), label, np.uint16)
    table = to_table(ids, split, labels, images, contract, f"labels:{added.name}", licence="as its owner says")
    return store_part(table, split, folder, added.inputs[split], contract)


def _read_rows(path: Path) -> dict[str, str]:
    """Read a CSV of `id,label` as id -> class."""
    if not path.is_file():
        raise InputError(str(path), "no such file; expected a CSV of id,label")
    if path.stat().st_size > LARGEST_TABLE:
        raise InputError(path.name, f"larger than {LARGEST_TABLE >> 20} MiB")
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path.name, f"not a CSV in UTF-8: {error}") from error
    if not rows or not {"id", "label"} <= rows[0].keys():
        found = ", ".join(map(str, rows[0]))[:100] if rows else "no rows"
        raise InputError(path.name, f"found {found}; expected rows of id,label")
    named = dict[str, str]()
    for line, row in enumerate(rows, 2):
        row_id, label = (row["id"] or "").strip(), (row["label"] or "").strip()
        if not row_id or not label:
            raise InputError(path.name, f"row {line}: expected an id and a label")
        if named.setdefault(row_id, label) != label:
            raise InputError(path.name, f"row {line}: {row_id[:60]} has two labels, {named[row_id]!r} and {label!r}")
    return named


def _require_enough(plan: ClassPlan, members: dict[Split, list[str]], fewest: int) -> None:
    """Check that each part of a split class has enough images, in both splits."""
    parts = {one for names in plan.became if len(names) > 1 for one in names}
    whole = next(names[0] for names in plan.became if len(names) > 1)
    for part in sorted(parts):
        counts = [sum(plan.rows.get(row_id, whole) == part for row_id in members[split]) for split in SPLITS]
        if sum(counts) < fewest or not all(counts):
            found = f"{counts[0]} pictures for training and {counts[1]} for testing"
            raise DatasetError(f"{part!r} would have {found}; expected at least {fewest}, and some in both splits")
