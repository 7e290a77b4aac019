"""A source of one's own -> the first version of its catalogue, or the next one of a source that has grown.

The test split is drawn once and stays: what is added later goes to the training split, so that models before and after
are judged on the same images.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from components.contract import DataContract, Dataset, ImageSpec, Labels, Split
from components.dataset.manifest import (
    DatasetPart,
    Manifest,
    check_part,
    current_dataset,
    dataset_lock,
    read_manifest,
    read_part,
    to_table,
    write_manifest,
)
from components.dataset.own.contract import DEFAULT_PREPARATION, derive_contract
from components.dataset.own.decoding import Decoded, decode_rows, digest_rows
from components.dataset.own.rows import Rejected, SourceRows
from components.dataset.own.sources import read_source
from components.dataset.own.tables import TableOptions
from components.dataset.parts import Ingested, store_part
from components.dataset.profiling import bounds_path
from components.dataset.splitting import SHARE, draw_test_split, find_equal
from components.errors import DatasetError, SourceError
from components.files import remove_leftovers, write_whole
from components.settings import Settings

log = logging.getLogger(__name__)

ID_DIGITS = 16  # of a row's digest, in its id
NO_MORE = 1e-9  # share of what is added that goes to the test split
OF_PEOPLE = ("labels/", "relabelled/")  # begin the names of inputs that labels came from
SHOWN = 30  # classes that are listed
CHOICE = (
    f"photos are prepared by {DEFAULT_PREPARATION}, which shows the whole photo; "
    "--replace --preparation garment cuts out the one product of each"
)


@dataclass(frozen=True)
class StartOptions:
    """What a person says of a source beyond its path."""

    image: ImageSpec | None = None  # None: what the source has, else as Fashion-MNIST
    preparation: str = ""  # of photos; "": `letterbox`
    root: Path | None = None  # where the paths of a table begin; None: at its folder
    group: str = ""  # a table's column that names what stays in one split
    allow_small: bool = False  # whether a class may have fewer than 10 pictures
    replace: bool = False  # whether the catalogue is started anew where there is one


def ingest_own(
    path: Path, settings: Settings, options: StartOptions, echo: Callable[[str], None] = log.info
) -> Ingested:
    """Start the catalogue in use with a source, or take in what the source has gained.

    Args:
        path: see `read_source`.
        settings: where data lives, and the catalogue's name.
        options: the rest. Where there is a catalogue already, its contract stays.
        echo: called with lines for a person: how far it is; and before anything is written, what will be.

    Raises:
        SettingsError: no such path, or an image or a preparation that cannot be.
        SourceError: a damaged source; one that no catalogue can be made of; or one that lacks what the catalogue has.
        DatasetError: another dataset was taken into use meanwhile.
    """
    folder = settings.datasets_dir
    base = None if options.replace else _in_use(folder)
    source = read_source(
        path, TableOptions(base.contract.image if base else options.image, options.root, options.group)
    )
    changed = bool(base and read_manifest(base).revisions)
    contract = base.contract if base and changed else _contract_of(base, source, settings.catalogue, options)
    digests = digest_rows(source)
    inputs = source.files | (digests if source.of_files else {})
    if base and inputs == _inputs_of(read_manifest(base)):
        for part in read_manifest(base).parts:
            check_part(folder, part)
        return Ingested(base, written=False)
    if changed:
        raise SourceError(
            f"{source.name}: it is not what {contract.name} was made from, whose classes people changed since; "
            f"'fashion label import' adds pictures to it, --replace starts the catalogue anew"
        )
    before = _splits_before(base, digests, source.name) if base else {}
    decoded = decode_rows(source, contract, echo)
    test, left_out = _divide(source, decoded, before, contract)
    rejected = (*source.rejected, *decoded.rejected, *left_out.values())
    train = ~test & ~np.isin(np.arange(len(test)), list(left_out))
    for line in _describe(contract, decoded, train, test, rejected):
        echo(line)
    if base is None and not options.preparation and source.image is None:
        echo(CHOICE)
    with dataset_lock(folder):
        remove_leftovers(folder)
        remove_leftovers(folder / "parts")
        if not options.replace and current_dataset(folder) != base:
            raise DatasetError(f"{source.name}: another dataset was taken into use meanwhile; ingest it again")
        if options.replace:
            bounds_path(folder, contract).unlink(missing_ok=True)  # the first version that passes has new ones profiled
        others = [part for part in read_manifest(base).parts if _is_of_people(part)] if base else []
        parts = [
            _write_part(split, rows, decoded, source, inputs if split == "train" else {}, contract, folder)
            for split, rows in _splits(train, test)
        ]
        dataset = write_manifest(folder, Manifest(source.name, "as its owner says", (*parts, *others), contract))
    _keep_rejected(dataset, rejected)
    return Ingested(dataset, written=True, left_out=source.left_out)


def _in_use(folder: Path) -> Dataset | None:
    try:
        return current_dataset(folder)
    except DatasetError as error:
        damage = str(error).partition("; ")[0]
        raise DatasetError(f"{damage}; restore that file, or --replace starts the catalogue anew") from error


def _splits(train: NDArray[np.bool_], test: NDArray[np.bool_]) -> Iterator[tuple[Split, NDArray[np.intp]]]:
    yield "train", np.flatnonzero(train)
    yield "test", np.flatnonzero(test)


def _contract_of(base: Dataset | None, source: SourceRows, name: str, options: StartOptions) -> DataContract:
    if base is None:
        return derive_contract(name, source, options.image, options.preparation, options.allow_small)
    contract, anew = base.contract, "--replace starts the catalogue anew"
    for word, mine, asked in (
        ("images", contract.image, options.image or source.image),
        ("preparation", contract.preparation, options.preparation),
    ):
        if asked and asked != mine:
            raise SourceError(f"{source.name}: {word}: {name} has {mine}, found {asked}; {anew}")
    if unknown := [one for one in source.classes if contract.label_of(one) is None]:
        known = ", ".join(contract.classes[:SHOWN])
        raise SourceError(f"{source.name}: {unknown[0]!r} is no class of {name} ({known}); {anew}")
    there = {contract.label_of(one) for one in source.classes}
    if gone := [one for label, one in enumerate(contract.classes) if label not in there]:
        raise SourceError(f"{source.name}: nothing of the class {gone[0]!r}, which {name} has; {anew}")
    return contract


def _inputs_of(manifest: Manifest) -> dict[str, str]:
    """What a version was made of, but for what people said of it later."""
    inputs = {name: sha256 for part in manifest.parts for name, sha256 in part.inputs.items()}
    return {name: sha256 for name, sha256 in inputs.items() if not name.startswith(OF_PEOPLE)}


def _is_of_people(part: DatasetPart) -> bool:
    return any(name.startswith("labels/") for name in part.inputs)


def _splits_before(base: Dataset, digests: dict[str, str], name: str) -> dict[str, Split]:
    """The digest of each row of the version in use -> its split.

    Raises:
        SourceError: something of that version would be lost.
    """
    folder, manifest = base.path.parent, read_manifest(base)
    anew = f"'fashion label import' adds pictures to it, --replace starts the catalogue anew from {name}"
    if any(one.startswith("relabelled/") for part in manifest.parts for one in part.inputs):
        raise SourceError(f"{name}: people corrected labels of the version in use, which would be lost; {anew}")
    held = {digest[:ID_DIGITS]: digest for digest in digests.values() if digest}
    own = [part for part in manifest.parts if not _is_of_people(part)]
    ids = {part.split: read_part(folder, part, manifest.contract)["id"].to_pylist() for part in own}
    splits = {row_id.rpartition("-")[2]: split for split, row_ids in ids.items() for row_id in row_ids}
    if gone := splits.keys() - held.keys():
        missing = f"{len(gone):,} of the {len(splits):,} pictures of the version in use ({manifest.source})"
        raise SourceError(f"{name}: {missing} are not in it; {anew}")
    return {held[digits]: split for digits, split in splits.items()}


def _divide(
    source: SourceRows, decoded: Decoded, before: dict[str, Split], contract: DataContract
) -> tuple[NDArray[np.bool_], dict[int, Rejected]]:
    """The rows of the test split, bool (n,); and which are in neither, with the reason."""
    left_out = dict[int, Rejected]()

    def leave_out(row: int, reason: str) -> None:
        left_out[row] = Rejected(decoded.rows[row].name, reason, decoded.rows[row].label)

    groups = [row.group or None for row in decoded.rows]
    if source.divides:
        test = np.array([row.split == "test" for row in decoded.rows])
        equal = find_equal(decoded.images, decoded.labels, decoded.digests, groups, test.tolist())
        _leave_out_duplicates(*equal, decoded, leave_out)
        kept = ~np.isin(np.arange(len(test)), list(left_out))
        _require_every_class(
            source.name, contract, {"train": decoded.labels[kept & ~test], "test": decoded.labels[kept & test]}
        )
        return test & kept, left_out
    drawn = draw_test_split(
        decoded.images,
        decoded.labels,
        decoded.digests,
        groups if any(groups) else None,
        before or None,
        NO_MORE if before else SHARE,
        contract.classes,
    )
    _leave_out_duplicates(drawn.duplicates, drawn.conflicts, decoded, leave_out)
    test = drawn.test.copy()
    if before:
        for row in np.flatnonzero(test).tolist():
            if before.get(decoded.digests[row]) != "test":
                test[row] = False
                leave_out(row, "shows what an image of the test split shows")
    return test, left_out


def _require_every_class(name: str, contract: DataContract, labels: dict[Split, Labels]) -> None:
    for split, found in labels.items():
        if missing := sorted({*range(len(contract.classes))} - set(found.tolist())):
            what = f"nothing that can be used of the class {contract.classes[missing[0]]!r} in its {split} split"
            raise SourceError(f"{name}: {what}; every class has to be in both. Without a test split, one is drawn")


def _leave_out_duplicates(
    duplicates: dict[int, int],
    conflicts: tuple[tuple[int, ...], ...],
    decoded: Decoded,
    leave_out: Callable[[int, str], None],
) -> None:
    for row, other in duplicates.items():
        leave_out(row, f"the same picture as {decoded.rows[other].name}")
    for rows in conflicts:
        labels = " and ".join(sorted({decoded.rows[row].label for row in rows}))
        for row in rows:
            leave_out(row, f"the same picture under {labels}")


def _describe(
    contract: DataContract,
    decoded: Decoded,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    rejected: Sequence[Rejected],
) -> Iterator[str]:
    """What a person sees before anything is written: the contract, pictures by class and split, what is not taken."""
    what = f"{len(contract.classes)} classes, images of {contract.image}, photos prepared by {contract.preparation}"
    yield f"catalogue {contract.name}: {what}"
    counts = [np.bincount(decoded.labels[rows], minlength=len(contract.classes)) for rows in (train, test)]
    for label, name in enumerate(contract.classes[:SHOWN]):
        yield f"  {name}: {counts[0][label]:,} for training, {counts[1][label]:,} for testing"
    if len(contract.classes) > SHOWN:
        yield f"  and {len(contract.classes) - SHOWN} more classes"
    yield f"  {int(train.sum()):,} for training, {int(test.sum()):,} for testing in all"
    if rejected:
        yield f"not taken: {len(rejected):,}, such as {rejected[0].name}: {rejected[0].reason}"


def _write_part(
    split: Split,
    rows: NDArray[np.intp],
    decoded: Decoded,
    source: SourceRows,
    inputs: dict[str, str],
    contract: DataContract,
    folder: Path,
) -> DatasetPart:
    if not len(rows):
        raise SourceError(f"{source.name}: the {split} split is empty")
    ids = [f"{split}-{decoded.digests[row][:ID_DIGITS]}" for row in rows]
    images, labels = decoded.images[rows], decoded.labels[rows]
    table = to_table(ids, split, labels, images, contract, source.name, "as its owner says")
    return store_part(table, split, folder, inputs, contract)


def rejected_path(dataset: Dataset) -> Path:
    """Where the rows are listed that a version did not take: an object a line, with name, label and reason."""
    return dataset.path.with_name("rejected") / f"{dataset.version}.jsonl"


def _keep_rejected(dataset: Dataset, rejected: Sequence[Rejected]) -> None:
    if rejected:
        write_whole(rejected_path(dataset), b"".join(orjson.dumps(one) + b"\n" for one in rejected))
