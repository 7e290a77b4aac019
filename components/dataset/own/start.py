"""Start a custom catalogue from a source, or ingest what the source has gained since.

The test split is drawn once. Later additions go to the training split, so that all models are evaluated on the same
images.
"""

import logging
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from components.contract import DataContract, Dataset, Embedding, ImageSpec, Labels, Split
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
from components.networks.sources import Network, is_kept, is_named, keep_network, read_network
from components.settings import Settings

log = logging.getLogger(__name__)

ID_DIGITS = 16  # digits of a row's digest in its id
NEW_TEST_SHARE = 1e-9  # share of added rows that goes to the test split: none
LABEL_INPUTS = ("labels/", "relabelled/")  # prefixes of inputs from label imports
SHOWN = 30  # classes listed
CHOICE = (
    f"photos are prepared by {DEFAULT_PREPARATION}, which keeps the whole photo; "
    "use --replace --preparation garment to cut out the product instead"
)


@dataclass(frozen=True)
class StartOptions:
    """How to start a custom catalogue."""

    image: ImageSpec | None = None  # None: as in the source, else as in Fashion-MNIST
    preparation: str = ""  # of photos; "": `letterbox`
    root: Path | None = None  # base of a table's paths; None: the table's folder
    group: str = ""  # column of a table whose groups stay in one split
    allow_small: bool = False  # allow classes with fewer than 10 pictures
    replace: bool = False  # start over if the catalogue exists
    network: str = ""  # frozen network before the models, see `components.networks.sources`; "": none


def ingest_own(
    path: Path, settings: Settings, options: StartOptions, echo: Callable[[str], None] = log.info
) -> Ingested:
    """Start the catalogue from a source, or ingest what the source has gained.

    Args:
        path: see `read_source`.
        settings: data paths and the catalogue's name.
        options: how to start the catalogue. An existing catalogue keeps its contract.
        echo: called with lines of text: progress, and a summary before anything is written.

    Raises:
        SettingsError: no such path, or an unsupported image or preparation.
        SourceError: the source is damaged, unsuitable, or lacks rows that the catalogue has.
        DatasetError: the current dataset changed in the meantime.
    """
    folder = settings.datasets_dir
    base = None if options.replace else _in_use(folder)
    source = read_source(
        path, TableOptions(base.contract.image if base else options.image, options.root, options.group)
    )
    changed = bool(base and read_manifest(base).revisions)
    network = _network_of(base, options, folder)
    embedding = network.embedding if network else None
    if base is None:
        contract = derive_contract(
            settings.catalogue, source, options.image, options.preparation, options.allow_small, embedding
        )
    else:
        contract = base.contract
        if not changed and (difference := _differs(contract, source, options, embedding)):
            raise SourceError(f"{source.name}: {difference}. {_advise(base, source, digest_rows(source), path)}")
    if network and network.embedding == contract.embedding:
        keep_network(network, folder)
    digests = digest_rows(source)
    inputs = source.files | (digests if source.has_files else {})
    if base and inputs == _inputs_of(read_manifest(base)):
        for part in read_manifest(base).parts:
            check_part(folder, part)
        return Ingested(base, written=False)
    if base and changed:
        difference = f"differs from the source of {contract.name!r}, whose classes have changed since"
        raise SourceError(f"{source.name}: {difference}. {_advise(base, source, digests, path)}")
    if base and (loss := _find_loss(base, digests)):
        raise SourceError(f"{source.name}: {loss}. {_advise(base, source, digests, path)}")
    before = _previous_splits(base, digests) if base else {}
    decoded = decode_rows(source, contract, echo)
    test, left_out = _divide(source, decoded, before, contract)
    rejected = (*source.rejected, *decoded.rejected, *left_out.values())
    train = ~test & ~np.isin(np.arange(len(test)), list(left_out))
    for line in _describe(contract, decoded, train, test, rejected):
        echo(line)
    if base is None and not (options.preparation or network) and source.image is None:
        echo(CHOICE)
    with dataset_lock(folder):
        remove_leftovers(folder)
        remove_leftovers(folder / "parts")
        if not options.replace and current_dataset(folder) != base:
            raise DatasetError(f"{source.name}: the current dataset changed in the meantime. Ingest again")
        if options.replace:
            bounds_path(folder, contract).unlink(missing_ok=True)  # profiled again from the first version that passes
        others = [part for part in read_manifest(base).parts if _has_imported_labels(part)] if base else []
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
        raise DatasetError(f"{damage}. Restore that file, or use --replace to start the catalogue over") from error


def _splits(train: NDArray[np.bool_], test: NDArray[np.bool_]) -> Iterator[tuple[Split, NDArray[np.intp]]]:
    yield "train", np.flatnonzero(train)
    yield "test", np.flatnonzero(test)


def _network_of(base: Dataset | None, options: StartOptions, folder: Path) -> Network | None:
    """The network that the options name; None if they name none, or the one that the catalogue has."""
    embedding = base.contract.embedding if base else None
    if not options.network or (embedding and is_named(options.network, embedding) and is_kept(embedding, folder)):
        return None
    return read_network(options.network)


def _differs(contract: DataContract, source: SourceRows, options: StartOptions, embedding: Embedding | None) -> str:
    """How the source or the options contradict the catalogue's contract; "" if they do not."""
    name = contract.name
    for field, expected, requested in (
        ("images", contract.image, options.image or source.image),
        ("preparation", contract.preparation, options.preparation),
        ("network", contract.embedding, embedding),
    ):
        if requested and requested != expected:
            return f"{field}: found {requested}, but {name!r} has {expected or 'none'}"
    if unknown := [one for one in source.classes if contract.label_of(one) is None]:
        return f"{unknown[0]!r} is not a class of {name!r} ({', '.join(contract.classes[:SHOWN])})"
    present = {contract.label_of(one) for one in source.classes}
    if missing := [one for label, one in enumerate(contract.classes) if label not in present]:
        return f"has no class {missing[0]!r}, but {name!r} does"
    return ""


def _advise(base: Dataset, source: SourceRows, digests: dict[str, str], path: Path) -> str:
    """What to do with a source that cannot continue the current version: it may be another source altogether."""
    name, before = base.contract.name, read_manifest(base).source
    replace = f"fashion ingest --source {shlex.quote(str(path))} --replace"
    if _splits_of(base).keys().isdisjoint(_short(digests)):
        return (
            f"It is a different source: it shares no picture with {before}, from which {name!r} was built. To keep "
            f"{name!r}, set FASHION_CATALOGUE to another name; to make {source.name} the current dataset of {name!r} "
            f"instead, run: {replace}"
        )
    return (
        f"To add pictures, use 'fashion label import'; to start {name!r} over from what {source.name} holds now, "
        f"with a new test split, run: {replace}"
    )


def _inputs_of(manifest: Manifest) -> dict[str, str]:
    """The inputs of a version, without later label imports."""
    inputs = {name: sha256 for part in manifest.parts for name, sha256 in part.inputs.items()}
    return {name: sha256 for name, sha256 in inputs.items() if not name.startswith(LABEL_INPUTS)}


def _has_imported_labels(part: DatasetPart) -> bool:
    return any(name.startswith("labels/") for name in part.inputs)


def _splits_of(base: Dataset) -> dict[str, Split]:
    """Map the shortened digest of each row of a version to its split, without later label imports."""
    folder, manifest = base.path.parent, read_manifest(base)
    own = [part for part in manifest.parts if not _has_imported_labels(part)]
    ids = {part.split: read_part(folder, part, manifest.contract)["id"].to_pylist() for part in own}
    return {row_id.rpartition("-")[2]: split for split, row_ids in ids.items() for row_id in row_ids}


def _short(digests: dict[str, str]) -> dict[str, str]:
    """Map the digest of each readable row, as shortened in row ids, to the full digest."""
    return {digest[:ID_DIGITS]: digest for digest in digests.values() if digest}


def _find_loss(base: Dataset, digests: dict[str, str]) -> str:
    """What of the current version would be lost with a source of these digests; "" for nothing."""
    manifest = read_manifest(base)
    if any(one.startswith("relabelled/") for part in manifest.parts for one in part.inputs):
        return "label corrections in the current version would be lost"
    splits = _splits_of(base)
    gone = splits.keys() - _short(digests).keys()
    if not gone:
        return ""
    return f"lacks {len(gone):,} of the {len(splits):,} pictures of the current version ({manifest.source})"


def _previous_splits(base: Dataset, digests: dict[str, str]) -> dict[str, Split]:
    """Map the digest of each row of the current version to its split."""
    held = _short(digests)
    return {held[digits]: split for digits, split in _splits_of(base).items()}


def _divide(
    source: SourceRows, decoded: Decoded, before: dict[str, Split], contract: DataContract
) -> tuple[NDArray[np.bool_], dict[int, Rejected]]:
    """The rows of the test split, bool (n,), and the rows left out of both splits, with the reasons."""
    left_out = dict[int, Rejected]()

    def leave_out(row: int, reason: str) -> None:
        left_out[row] = Rejected(decoded.rows[row].name, reason, decoded.rows[row].label)

    groups = [row.group or None for row in decoded.rows]
    if source.has_test_split:
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
        NEW_TEST_SHARE if before else SHARE,
        contract.classes,
    )
    _leave_out_duplicates(drawn.duplicates, drawn.conflicts, decoded, leave_out)
    test = drawn.test.copy()
    if before:
        for row in np.flatnonzero(test).tolist():
            if before.get(decoded.digests[row]) != "test":
                test[row] = False
                leave_out(row, "near-duplicate of a test image")
    return test, left_out


def _require_every_class(name: str, contract: DataContract, labels: dict[Split, Labels]) -> None:
    for split, found in labels.items():
        if missing := sorted({*range(len(contract.classes))} - set(found.tolist())):
            what = f"no usable pictures of the class {contract.classes[missing[0]]!r} in the {split} split"
            raise SourceError(
                f"{name}: {what}, expected every class in both splits. Remove the test split to have one drawn"
            )


def _leave_out_duplicates(
    duplicates: dict[int, int],
    conflicts: tuple[tuple[int, ...], ...],
    decoded: Decoded,
    leave_out: Callable[[int, str], None],
) -> None:
    for row, other in duplicates.items():
        leave_out(row, f"duplicate of {decoded.rows[other].name}")
    for rows in conflicts:
        labels = " and ".join(sorted({decoded.rows[row].label for row in rows}))
        for row in rows:
            leave_out(row, f"duplicates under {labels}")


def _describe(
    contract: DataContract,
    decoded: Decoded,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    rejected: Sequence[Rejected],
) -> Iterator[str]:
    """Summarize what will be written: the contract, pictures per class and split, and rejected rows."""
    how = (
        f"turned into vectors by {contract.embedding}" if contract.embedding else f"prepared by {contract.preparation}"
    )
    what = f"{len(contract.classes)} classes, images of {contract.image}, photos {how}"
    yield f"catalogue {contract.name}: {what}"
    counts = [np.bincount(decoded.labels[rows], minlength=len(contract.classes)) for rows in (train, test)]
    for label, name in enumerate(contract.classes[:SHOWN]):
        yield f"  {name}: {counts[0][label]:,} for training, {counts[1][label]:,} for testing"
    if len(contract.classes) > SHOWN:
        yield f"  and {len(contract.classes) - SHOWN} more classes"
    yield f"  total: {int(train.sum()):,} for training, {int(test.sum()):,} for testing"
    if rejected:
        yield f"rejected: {len(rejected):,}, e.g. {rejected[0].name}: {rejected[0].reason}"


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
    """The list of a version's rejected rows: JSON lines with name, label and reason."""
    return dataset.path.with_name("rejected") / f"{dataset.version}.jsonl"


def _keep_rejected(dataset: Dataset, rejected: Sequence[Rejected]) -> None:
    if rejected:
        write_whole(rejected_path(dataset), b"".join(orjson.dumps(one) + b"\n" for one in rejected))
