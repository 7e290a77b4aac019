"""A change of the classes -> a new dataset version with a new contract, in use once it passed validation.

The parts are written anew with the labels of the new contract; ids, pixels and splits stay what they are. A model that
was trained before keeps its own classes, and the gate knows what became of them from the version's `revisions`.
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
from components.dataset.labels.examples import LabelCandidate, LabelReject, count_reasons, keep_rejects, shown
from components.dataset.labels.inbox import call_waiting_back
from components.dataset.labels.pictures import read_picture
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
from components.dataset.replacing import replacing, take_into_use
from components.dataset.splitting import draw_test_split
from components.errors import DatasetError, InputError
from components.files import remove_leftovers
from components.readers.folders.listing import walk
from components.settings import Settings, load_settings

DEEPEST = 8  # levels at which a link to a folder is followed
LARGEST_TABLE = 64 << 20  # bytes


@dataclass(frozen=True)
class ClassesChanged:
    """What came of a change."""

    entry: ClassEntry
    dataset: Dataset  # in use now
    base: Dataset  # in use before
    moved: dict[str, tuple[int, int]]  # class that has another number -> the number before, and now
    rejected: dict[str, int]  # reason -> how many pictures of a new class were not taken
    rejects: Path | None  # the list of them
    called_back: list[str]  # what waited for a class and is in the inbox again


@dataclass(frozen=True)
class _Added:
    """Pictures of a class that is new."""

    name: str  # of the folder that they come from
    images: dict[Split, Images]
    inputs: dict[Split, dict[str, str]]
    rejects: list[LabelReject]


def add_class(
    name: str, folder: Path, why: str, *, allow_small: bool = False, settings: Settings | None = None
) -> ClassesChanged:
    """Add a class with the pictures in a folder, at any depth; a test split is drawn of them.

    Args:
        name: the class's.
        folder: its pictures.
        why: kept with the change. So it is in all of these functions.
        allow_small: whether it may have fewer than 10 pictures.
        settings: where data lives; None: from the environment.

    Raises:
        DatasetError: there is such a class, too few pictures are left, or another dataset was taken into use meanwhile.
        InputError: no such folder.
        ValidationError: with it the dataset would break an expectation. Nothing changes, as with every error.
    """
    with _changing(settings) as (base, settings):
        plan = plan_addition(base.contract, name)
        added = _read_added(folder, base, FEWEST_SMALL if allow_small else FEWEST)
        return _change(base, plan, why, settings, added)


def rename_class(name: str, to: str, why: str, *, settings: Settings | None = None) -> ClassesChanged:
    """Give a class another name. Raises DatasetError and ValidationError as `add_class`."""
    with _changing(settings) as (base, settings):
        return _change(base, plan_renaming(base.contract, name, to), why, settings)


def merge_classes(names: Sequence[str], into: str, why: str, *, settings: Settings | None = None) -> ClassesChanged:
    """Make one class of several. Raises DatasetError and ValidationError as `add_class`."""
    with _changing(settings) as (base, settings):
        return _change(base, plan_merger(base.contract, names, into), why, settings)


def remove_class(name: str, why: str, *, settings: Settings | None = None) -> ClassesChanged:
    """Leave a class and its images out. Raises DatasetError and ValidationError as `add_class`."""
    with _changing(settings) as (base, settings):
        return _change(base, plan_removal(base.contract, name), why, settings)


def split_class(
    name: str, table: Path, why: str, *, allow_small: bool = False, settings: Settings | None = None
) -> ClassesChanged:
    """Make several classes of one, by a CSV of `id,label` that names its rows.

    Rows that the table does not name stay in the class. Raises as `add_class`, and InputError for the table.
    """
    with _changing(settings) as (base, settings):
        members = {split: _members(base, split, name) for split in SPLITS}
        plan = plan_split(base.contract, name, _read_rows(table), [*members["train"], *members["test"]])
        _require_enough(plan, members, FEWEST_SMALL if allow_small else FEWEST)
        return _change(base, plan, why, settings)


def undo_change(why: str, *, force: bool = False, settings: Settings | None = None) -> ClassesChanged:
    """Take the newest change back that was not taken back yet: the dataset of before it is in use again.

    Args:
        why: kept with it.
        force: although labels were taken in since, which are not in that dataset.
        settings: where data lives; None: from the environment.

    Raises:
        DatasetError: there is no such change, its dataset is gone, or labels were taken in since.
    """
    with _changing(settings) as (base, settings):
        folder = settings.datasets_dir
        last = last_standing(folder)
        if last is None:
            raise DatasetError("no change of the classes to take back; 'fashion classes history' shows all")
        if base.version != last.after and not force:
            raise DatasetError(
                f"labels were taken in since {last.change} ({last.after} then, {base.version} now), and the dataset of "
                f"before it has not got them; --force takes the change back all the same"
            )
        dataset = dataset_of(folder, last.before)
        take_into_use(dataset, base, settings)
        entry = write_entry(folder, why, f"undo: {last.change}", base.version, dataset.version, undone=True)
    return ClassesChanged(
        entry, dataset, base, _moved(base.contract, dataset.contract), {}, None, call_waiting_back(settings)
    )


def _members(dataset: Dataset, split: Split, name: str) -> list[str]:
    """The ids of a class's rows."""
    examples, label = read_split(dataset, split), dataset.contract.label_of(name)
    return [row_id for row_id, one in zip(examples.ids, examples.labels.tolist(), strict=True) if one == label]


@contextmanager
def _changing(settings: Settings | None) -> Iterator[tuple[Dataset, Settings]]:
    """Yield the dataset in use, and keep every other import or change of the classes waiting."""
    settings = settings or load_settings()
    with replacing(settings) as base:
        if base is None:
            raise DatasetError("nothing was ingested yet, so there are no classes; 'fashion ingest' comes first")
        yield base, settings


def _change(
    base: Dataset, plan: ClassPlan, why: str, settings: Settings, added: _Added | None = None
) -> ClassesChanged:
    """Write, validate, and only then take into use."""
    folder = settings.datasets_dir
    with dataset_lock(folder):
        remove_leftovers(folder / "parts")
        manifest = read_manifest(base)
        written = (_write_anew(part, plan, manifest.contract, folder) for part in manifest.parts)
        parts = [part for part in written if part]
        if added:
            parts += [_write_added(split, added, plan.contract, folder) for split in added.images]
        revision = Revision(manifest.contract.classes, plan.became)
        changed = Manifest(
            manifest.source, manifest.licence, tuple(parts), plan.contract, (*manifest.revisions, revision)
        )
        dataset = write_manifest(folder, changed, use=False)
    take_into_use(dataset, base, settings)
    entry = write_entry(folder, why, plan.summary, base.version, dataset.version)
    rejects = added.rejects if added else []
    kept = keep_rejects(added.name, rejects, settings.labelled_dir / "rejects") if added else None
    moved, back = _moved(base.contract, plan.contract), call_waiting_back(settings)
    return ClassesChanged(entry, dataset, base, moved, count_reasons(rejects), kept, back)


def _moved(before: DataContract, after: DataContract) -> dict[str, tuple[int, int]]:
    found = ((name, label, after.label_of(name)) for label, name in enumerate(before.classes))
    return {name: (label, now) for name, label, now in found if now not in (None, label) and name in after.classes}


def _write_anew(part: DatasetPart, plan: ClassPlan, before: DataContract, folder: Path) -> DatasetPart | None:
    """The part with the labels of the new contract; None where nothing of it is left."""
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
    said = table.schema.metadata
    anew = to_table(
        table["id"].to_pylist(),
        part.split,
        table["label"].to_numpy(),
        images_in(table["pixels"], before.image),
        plan.contract,
        said[b"source"].decode(),
        said[b"licence"].decode(),
    )
    return store_part(anew, part.split, folder, part.inputs, plan.contract)


def _read_added(folder: Path, base: Dataset, fewest: int) -> _Added:
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder; expected one with the pictures of the new class")
    contract, found = base.contract, walk(folder, follow=DEEPEST)
    label = len(contract.classes)
    read = [read_picture(folder, name, label, contract) for name in found.names]
    candidates = [one for one in read if isinstance(one, LabelCandidate)]
    sorted_ = sort_candidates(candidates, read_split(base, "train"), read_split(base, "test"))
    rejects = [*(one for one in read if isinstance(one, LabelReject)), *sorted_.rejects]
    taken = sorted_.added
    if len(taken) < fewest:
        example = f", such as {rejects[0].position}: {rejects[0].reason}" if rejects else ""
        hint = "; --allow-small takes a class from 2 pictures on" if FEWEST_SMALL <= len(taken) < fewest else ""
        counts = f"{len(taken)} pictures to take, {len(rejects)} not taken{example}"
        raise DatasetError(f"{folder}: {counts}; expected at least {fewest}{hint}")
    images = to_images(taken, contract.image)
    digests = [hashlib.sha256(one.original).hexdigest() for one in taken]
    drawn = draw_test_split(images, np.zeros(len(taken), np.uint16), digests, classes=(folder.name,))
    rows: dict[Split, list[int]] = {
        "train": np.flatnonzero(drawn.train).tolist(),
        "test": np.flatnonzero(drawn.test).tolist(),
    }
    return _Added(
        folder.name,
        {split: images[of] for split, of in rows.items()},
        {split: {f"labels/{shown(taken[row].position)}": digests[row] for row in of} for split, of in rows.items()},
        rejects,
    )


def _write_added(split: Split, added: _Added, contract: DataContract, folder: Path) -> DatasetPart:
    images, label = added.images[split], len(contract.classes) - 1
    infix = hashlib.sha256(images.tobytes() + contract.classes[label].encode()).hexdigest()[:8]
    ids = [f"{split}-{infix}-{number:05d}" for number in range(len(images))]
    labels = np.full(len(images), label, np.uint16)
    table = to_table(ids, split, labels, images, contract, f"labels:{added.name}", licence="as its owner says")
    return store_part(table, split, folder, added.inputs[split], contract)


def _read_rows(path: Path) -> dict[str, str]:
    """A CSV of `id,label`: id -> class."""
    if not path.is_file():
        raise InputError(str(path), "no such file; expected a CSV of id,label")
    if path.stat().st_size > LARGEST_TABLE:
        raise InputError(path.name, f"more than {LARGEST_TABLE >> 20} MiB")
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path.name, f"no CSV in UTF-8: {error}") from error
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
    """Each part of a class that is split needs images to learn from and to be judged on."""
    parts = {one for names in plan.became if len(names) > 1 for one in names}
    whole = next(names[0] for names in plan.became if len(names) > 1)
    for part in sorted(parts):
        counts = [sum(plan.rows.get(row_id, whole) == part for row_id in members[split]) for split in SPLITS]
        if sum(counts) < fewest or not all(counts):
            found = f"{counts[0]} pictures for training and {counts[1]} for testing"
            raise DatasetError(f"{part!r} would have {found}; expected at least {fewest}, and some of both")
