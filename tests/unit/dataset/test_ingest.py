"""Ingest writes immutable parts and a manifest, atomically and only once per input."""

import dataclasses
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from awkward import AWKWARD, draw_awkward, write_awkward
from PIL import Image
from readings import PIXEL_COLUMNS

from components.catalogues.fashion_mnist import CLASSES, CONTRACT, FIRST_CONTRACT
from components.catalogues.sample import draw
from components.contract import SAMPLE, SPLITS, DataContract, Dataset, ImageSpec, schema_of
from components.dataset.archives import ARCHIVES, FILES, declare_source, open_archives, write_sample
from components.dataset.ingest import ingest
from components.dataset.manifest import (
    Manifest,
    current_dataset,
    part_file,
    read_manifest,
    read_part,
    read_split,
    write_manifest,
)
from components.dataset.parts import store_part
from components.errors import DatasetError, SettingsError, SourceError
from components.files import sha256_of, temporary_name
from components.readers.images.idx import encode_idx
from components.records import read_record
from components.settings import CHECKOUT, Settings

KILLS = 4

INGEST = """
import sys
from components.dataset.ingest import ingest
print("ready", flush=True)
sys.stdin.readline()
for source in sys.argv[2:] * int(sys.argv[1]):
    print(ingest(source).dataset.version, flush=True)
"""

# Limits the size of written files, to simulate a full disk.
LITTLE_SPACE = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""


def write_real(folder: Path, seed: int, name: str = "acme", rows: int = 120) -> Path:
    """Write sample archives declared as real data."""
    write_sample(folder, train_rows=rows, test_rows=60, seed=seed)
    declare_source(folder, name, "CC-BY-4.0")
    return folder


def write_csv(path: Path, seed: int, rows: int = 7) -> Path:
    images, labels = draw(rows, np.random.default_rng(seed))
    lines = [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels, strict=True)]
    path.write_text("\n".join([",".join(("label", *PIXEL_COLUMNS)), *lines]) + "\n")
    return path


@pytest.fixture(scope="session")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_real(tmp_path_factory.mktemp("acme"), seed=1)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "new.csv", seed=2)


@pytest.fixture
def folder(settings: Settings) -> Path:
    """The folder of manifests, parts and pointers."""
    return settings.datasets_dir


@pytest.fixture
def base(acme: Path, settings: Settings) -> Dataset:
    return ingest(str(acme)).dataset


def parts_of(dataset: Dataset) -> list[str]:
    return [part.file for part in read_manifest(dataset).parts]


def flip_a_bit(path: Path, place: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def everything_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file's modification time and bytes, except for locks."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def temporaries(folder: Path) -> list[Path]:
    return list(folder.rglob(".*.tmp"))


def holds_the_images_of(dataset: Dataset, archives: Path) -> bool:
    """Whether the dataset starts with the images of these archives."""
    source = open_archives(archives)
    for split in SPLITS:
        images, labels = source.read(split)
        examples = read_split(dataset, split)
        if not np.array_equal(examples.images[: len(images)], images):
            return False
        if not np.array_equal(examples.labels[: len(labels)], labels):
            return False
    return True


# --- what is written ---


def test_archives_become_two_parts_and_a_manifest(acme: Path, folder: Path, settings: Settings) -> None:
    ingested = ingest(str(acme))
    assert ingested.written
    dataset = ingested.dataset
    assert (dataset.source, dataset.rows) == ("acme", 180)
    manifest = read_manifest(dataset)
    assert (manifest.source, manifest.licence) == ("acme", "CC-BY-4.0")
    assert [(part.split, part.rows) for part in manifest.parts] == [("train", 120), ("test", 60)]
    assert [set(part.inputs) for part in manifest.parts] == [{p.images, p.labels} for p in ARCHIVES.values()]
    assert set(everything_in(folder)) == {f"{dataset.version}.json", "current", *parts_of(dataset)}
    assert current_dataset(folder) == dataset


def test_the_same_input_gives_the_same_version_anywhere(acme: Path, base: Dataset, tmp_path: Path) -> None:
    copy = shutil.copytree(acme, tmp_path / "elsewhere")
    elsewhere = ingest(str(copy), settings=Settings(data_dir=tmp_path / "other")).dataset
    assert elsewhere.version == base.version
    assert everything_in(elsewhere.path.parent).keys() == everything_in(base.path.parent).keys()


def test_a_part_has_its_contract_source_and_licence_as_metadata(base: Dataset, folder: Path) -> None:
    for part in parts_of(base):
        schema = pq.read_schema(folder / part)
        assert schema.equals(schema_of(CONTRACT), check_metadata=False)
        metadata = {key.decode(): value.decode() for key, value in schema.metadata.items()}
        assert read_record(DataContract, metadata.pop("contract"), part, DatasetError) == CONTRACT
        assert metadata == {"source": "acme", "licence": "CC-BY-4.0"}


def test_a_part_can_be_streamed_and_its_pages_have_checksums(acme: Path, folder: Path, tmp_path: Path) -> None:
    large = shutil.copytree(acme, tmp_path / "large")
    (large / FILES[0]).write_bytes(encode_idx(np.random.default_rng(3).integers(0, 256, (4100, 28, 28), np.uint8)))
    (large / FILES[1]).write_bytes(encode_idx(np.zeros(4100, np.uint8)))
    declare_source(large, "large", "MIT")
    path = folder / parts_of(ingest(str(large)).dataset)[0]
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4096, 4]
    pixels = metadata.row_group(0).column(3)
    assert pixels.compression == "ZSTD"
    flip_a_bit(path, pixels.data_page_offset + 100_000)  # behind the header of the first page
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        pq.read_table(path, page_checksum_verification=True)


def test_images_are_read_back_unchanged(acme: Path, base: Dataset) -> None:
    assert holds_the_images_of(base, acme)
    examples = read_split(base, "test")
    assert examples.ids == [f"test-{number:05d}" for number in range(60)]
    assert (examples.images.dtype.name, examples.labels.dtype.name) == ("uint8", "uint16")


@pytest.mark.parametrize("extended", [True, False])
def test_examples_are_read_only(base: Dataset, csv: Path, extended: bool) -> None:
    examples = read_split(ingest(str(csv)).dataset if extended else base, "train")
    for array in (examples.images, examples.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_an_empty_split_is_rejected(acme: Path, folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(acme, tmp_path / "broken")
    (broken / FILES[2]).write_bytes(encode_idx(np.empty((0, 28, 28), np.uint8)))
    (broken / FILES[3]).write_bytes(encode_idx(np.empty(0, np.uint8)))
    declare_source(broken, "broken", "MIT")
    with pytest.raises(SourceError, match="broken: the test split is empty"):
        ingest(str(broken))
    assert current_dataset(folder) is None


def test_a_damaged_source_keeps_the_current_dataset(acme: Path, base: Dataset, folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(acme, tmp_path / "broken")
    (broken / FILES[3]).write_bytes(encode_idx(np.zeros(59, np.uint8)))
    declare_source(broken, "broken", "MIT")
    with pytest.raises(SourceError, match="60 test images but 59 labels"):
        ingest(str(broken))
    assert current_dataset(folder) == base


# --- the same input again ---


@pytest.mark.parametrize("again", ["the archives", "auto", "a copy of them"])
def test_the_same_input_again_changes_nothing(
    acme: Path, base: Dataset, folder: Path, tmp_path: Path, again: str
) -> None:
    before = everything_in(folder)
    copy = shutil.copytree(acme, tmp_path / "copy")
    ingested = ingest({"the archives": str(acme), "auto": "auto", "a copy of them": str(copy)}[again])
    assert (ingested.dataset, ingested.written) == (base, False)
    assert everything_in(folder) == before


def test_the_sample_again_changes_nothing(archives: Path, folder: Path) -> None:
    first = ingest(str(archives))
    before = everything_in(folder)
    again = ingest(str(archives))
    assert (first.written, again.written) == (True, False)
    assert again.dataset == first.dataset
    assert everything_in(folder) == before


def test_other_archives_replace_the_first_which_can_be_restored(
    acme: Path, base: Dataset, folder: Path, tmp_path: Path
) -> None:
    other = ingest(str(write_real(tmp_path / "beta", seed=4, name="beta")))
    assert other.written
    assert current_dataset(folder) == other.dataset
    assert ingest(str(acme)).dataset == base
    assert current_dataset(folder) == base


# --- additions ---


def test_a_csv_adds_a_part(base: Dataset, csv: Path, folder: Path) -> None:
    ingested = ingest(str(csv))
    assert ingested.written
    added = ingested.dataset
    assert (added.source, added.rows) == ("acme", base.rows + 7)
    assert parts_of(added)[:-1] == parts_of(base)
    assert current_dataset(folder) == added
    assert read_manifest(base).rows("train") == 120, "the old version is still there"


def test_added_examples_come_last_with_unique_ids(base: Dataset, csv: Path, acme: Path, tmp_path: Path) -> None:
    ingest(str(csv))
    added = ingest(str(write_csv(tmp_path / "newer.csv", seed=5))).dataset
    examples = read_split(added, "train")
    assert len(set(examples.ids)) == len(examples.ids) == len(examples.images) == len(examples.labels) == 134
    assert examples.ids[:120] == read_split(base, "train").ids
    assert holds_the_images_of(added, acme)
    for start, seed in ((120, 2), (127, 5)):
        images, labels = draw(7, np.random.default_rng(seed))
        assert np.array_equal(examples.images[start : start + 7], images)
        assert np.array_equal(examples.labels[start : start + 7], labels)


def test_an_addition_keeps_the_test_split(base: Dataset, csv: Path) -> None:
    before, after = read_manifest(base), read_manifest(ingest(str(csv)).dataset)
    assert after.split_version("test") == before.split_version("test")
    assert after.split_version("train") != before.split_version("train")


@pytest.mark.parametrize("renamed", [True, False])
def test_the_same_csv_again_changes_nothing(base: Dataset, csv: Path, folder: Path, renamed: bool) -> None:
    added = ingest(str(csv)).dataset
    before = everything_in(folder)
    again = ingest(str(csv.rename(csv.with_name("renamed.csv")) if renamed else csv))
    assert (again.dataset, again.written) == (added, False)
    assert everything_in(folder) == before


def test_two_csvs_are_both_kept_in_either_order(base: Dataset, csv: Path, tmp_path: Path) -> None:
    newer = write_csv(tmp_path / "newer.csv", seed=5)
    ingest(str(csv))
    both = ingest(str(newer)).dataset
    assert len(parts_of(both)) == 4
    assert ingest(str(csv)).dataset == both
    assert ingest(str(newer)).dataset == both


@pytest.mark.parametrize("again", ["the archives", "auto"])
def test_the_archives_again_keep_the_addition(base: Dataset, csv: Path, acme: Path, again: str) -> None:
    added = ingest(str(csv)).dataset
    ingested = ingest(str(acme) if again == "the archives" else again)
    assert (ingested.dataset, ingested.written) == (added, False)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with one picture, a coat."""
    path = tmp_path / "pictures" / "coat" / "a.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(draw(1, np.random.default_rng(6))[0][0]).save(path)
    return tmp_path / "pictures"


def test_a_folder_of_pictures_is_added_once(base: Dataset, pictures: Path) -> None:
    examples = read_split(ingest(str(pictures)).dataset, "train")
    assert np.array_equal(examples.images[-1], draw(1, np.random.default_rng(6))[0][0])
    assert examples.labels[-1] == CLASSES.index("Coat")
    assert not ingest(str(pictures)).written


def test_a_picture_moved_to_another_class_is_a_new_example(base: Dataset, pictures: Path) -> None:
    """Validation then rejects the duplicates; treating it as already ingested would silently keep the old class."""
    ingest(str(pictures))
    (pictures / "coat").rename(pictures / "shirt")
    again = ingest(str(pictures))
    assert again.written
    assert read_split(again.dataset, "train").labels[-1] == CLASSES.index("Shirt")


def test_a_csv_with_a_bad_row_adds_nothing(base: Dataset, csv: Path, folder: Path) -> None:
    before = everything_in(folder)
    csv.write_text(csv.read_text() + "10,1,2\n")
    with pytest.raises(SourceError, match=r"1 bad row\(s\), nothing was ingested: line 9: "):
        ingest(str(csv))
    assert everything_in(folder) == before


def test_an_addition_without_a_dataset_raises(csv: Path, folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"csv:new\.csv: has no test split, and there is no dataset to add"):
        ingest(str(csv))
    assert everything_in(folder) == {}


# --- the sample and real data ---


def test_the_sample_never_replaces_real_data(
    base: Dataset, archives: Path, csv: Path, settings: Settings, folder: Path
) -> None:
    sample = ingest(str(archives)).dataset
    assert sample.source == SAMPLE
    assert current_dataset(folder) == base
    assert current_dataset(folder, sample=True) == sample
    assert ingest("auto").dataset == base
    assert ingest(str(csv)).dataset.source == "acme"


def test_real_data_replaces_the_sample(acme: Path, archives: Path, csv: Path, folder: Path) -> None:
    sample = ingest(str(archives)).dataset
    assert current_dataset(folder) == sample
    assert current_dataset(folder, sample=False) is None
    real = ingest(str(acme)).dataset
    assert current_dataset(folder) == real
    assert current_dataset(folder, sample=True) == sample


def test_an_addition_to_the_sample_is_marked_sample(archives: Path, csv: Path, folder: Path) -> None:
    ingest(str(archives))
    added = ingest(str(csv)).dataset
    assert (added.source, added.rows) == (SAMPLE, 807)
    assert current_dataset(folder, sample=False) is None


# --- other catalogues ---


@pytest.mark.usefixtures("awkward_settings")
def test_a_dataset_has_the_contract_of_its_archives(tmp_path: Path) -> None:
    archives = write_awkward(tmp_path / "shop")
    ours = ingest(str(archives)).dataset
    assert (ours.contract, read_manifest(ours).contract, read_split(ours, "test").contract) == (AWKWARD,) * 3
    for found, expected in zip(open_archives(archives).read("test"), draw_awkward(120, 120), strict=True):
        assert np.array_equal(found, expected)
    assert holds_the_images_of(ours, archives)
    assert not ingest(str(archives)).written
    other = dataclasses.replace(AWKWARD, classes=AWKWARD.classes[::-1])
    declare_source(archives, "an awkward shop", "its owner's", other)
    assert ingest(str(archives)).written, "the same bytes under another contract are new"


@pytest.mark.usefixtures("folder")
def test_archives_of_another_catalogue_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"declares the catalogue 'awkward'.*Set FASHION_CATALOGUE=awkward to ingest it"
    ):
        ingest(str(write_awkward(tmp_path / "shop")))


def test_a_dataset_whose_contract_differs_from_its_manifest_is_rejected(base: Dataset) -> None:
    other = dataclasses.replace(base, contract=dataclasses.replace(CONTRACT, preparation="other"))
    with pytest.raises(DatasetError, match="contract: preparation: found 'fashion-mnist-2', expected 'other'"):
        read_split(other, "test")


@pytest.mark.parametrize("says", [True, False])
def test_labels_are_mapped_by_class_name(base: Dataset, folder: Path, says: bool) -> None:
    """A part without contract metadata is older than contracts, and belongs to Fashion-MNIST."""
    manifest, contract = read_manifest(base), CONTRACT if says else FIRST_CONTRACT
    parts = []
    for part in manifest.parts:
        table = read_part(folder, part, CONTRACT)
        table = table if says else table.replace_schema_metadata(None)
        parts.append(store_part(table, part.split, folder, part.inputs, contract))
    turned = dataclasses.replace(contract, classes=CONTRACT.classes[::-1])
    read = read_split(write_manifest(folder, Manifest("acme", "MIT", tuple(parts), turned)), "test")
    before = read_split(base, "test")
    assert [turned.classes[label] for label in read.labels] == [CONTRACT.classes[label] for label in before.labels]
    assert (read.labels != before.labels).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"classes": (*CONTRACT.classes[:-1], "Wellington"), "aliases": ()},
            "found examples of 'Ankle boot', which is not a class",
        ),
        ({"preparation": "letterbox"}, "found images prepared by 'fashion-mnist-2', expected 'letterbox'"),
        ({"image": ImageSpec(14, 14)}, "images of 28 x 28 x 1, expected 14 x 14 x 1"),
    ],
)
def test_a_part_that_cannot_be_mapped_is_rejected(
    base: Dataset, folder: Path, fields: dict[str, Any], message: str
) -> None:
    other = dataclasses.replace(CONTRACT, **fields)
    dataset = write_manifest(folder, dataclasses.replace(read_manifest(base), contract=other))
    with pytest.raises(DatasetError, match=message):
        read_split(dataset, "train")


# --- damage ---


def test_without_an_ingest_there_is_no_dataset(folder: Path) -> None:
    assert current_dataset(folder) is None


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "exchange"])
def test_a_damaged_part_is_named_and_restored(base: Dataset, acme: Path, folder: Path, split: str, harm: str) -> None:
    part, other = parts_of(base) if split == "train" else reversed(parts_of(base))
    path, whole = folder / part, (folder / part).read_bytes()
    if harm == "flip":
        flip_a_bit(path)
    elif harm == "truncate":
        path.write_bytes(whole[:-1])
    elif harm == "remove":
        path.unlink()
    else:
        shutil.copy(folder / other, path)
    with pytest.raises(DatasetError, match=rf"{path.name}: .*ingest"):
        read_split(base, "train" if split == "train" else "test")
    ingested = ingest(str(acme))
    assert ingested.dataset == base
    assert path.read_bytes() == whole
    assert holds_the_images_of(ingested.dataset, acme)


def test_auto_does_not_use_a_damaged_dataset(base: Dataset, acme: Path, folder: Path) -> None:
    """It ingests the archives again or reports the damage; it must not count as already ingested."""
    shutil.copytree(acme, folder.parent / "raw")
    flip_a_bit(folder / parts_of(base)[0])
    try:
        dataset = ingest("auto").dataset
    except DatasetError:
        return
    assert holds_the_images_of(dataset, acme)


def test_restoring_a_damaged_part_keeps_the_additions(base: Dataset, acme: Path, csv: Path, folder: Path) -> None:
    added = ingest(str(csv)).dataset
    flip_a_bit(folder / parts_of(added)[0])
    ingested = ingest(str(acme))
    assert ingested.dataset == added
    assert len(read_split(ingested.dataset, "train").ids) == 127


def test_a_dataset_keeps_its_version_of_the_preparation(base: Dataset, acme: Path, csv: Path, folder: Path) -> None:
    """The archives' images need no preparation, but photos labelled later are prepared like the earlier ones."""
    tables = [
        (part, read_part(folder, part, CONTRACT).replace_schema_metadata(None)) for part in read_manifest(base).parts
    ]
    parts = [store_part(table, part.split, folder, part.inputs, FIRST_CONTRACT) for part, table in tables]
    old = write_manifest(folder, Manifest("acme", "MIT", tuple(parts)))
    assert (old.contract, base.contract) == (FIRST_CONTRACT, CONTRACT)
    assert ingest(str(acme)).dataset == old, "its archives are known"
    flip_a_bit(folder / parts_of(old)[0])
    restored = ingest(str(acme)).dataset
    assert holds_the_images_of(restored, acme)
    added = ingest(str(csv)).dataset
    assert (restored.contract, added.contract) == (FIRST_CONTRACT, FIRST_CONTRACT)
    assert len(read_split(added, "train").ids) == 127


def test_restoring_a_damaged_addition_does_not_add_it_twice(base: Dataset, csv: Path, folder: Path) -> None:
    added = ingest(str(csv)).dataset
    flip_a_bit(folder / parts_of(added)[2])
    ingested = ingest(str(csv))
    assert ingested.dataset == added
    assert len(read_split(ingested.dataset, "train").ids) == 127


def test_an_addition_is_not_added_twice_when_another_part_is_damaged(base: Dataset, csv: Path, folder: Path) -> None:
    added = ingest(str(csv)).dataset
    flip_a_bit(folder / parts_of(added)[0])
    try:
        assert parts_of(ingest(str(csv)).dataset) == parts_of(added)
    except DatasetError:
        assert current_dataset(folder) == added


@pytest.mark.parametrize("harm", ["edit", "remove", "empty"])
def test_a_changed_manifest_is_rejected_and_can_be_rebuilt(base: Dataset, acme: Path, folder: Path, harm: str) -> None:
    whole = base.path.read_bytes()
    if harm == "edit":
        base.path.write_bytes(whole.replace(b'"rows": 120', b'"rows": 119'))
    elif harm == "remove":
        base.path.unlink()
    else:
        base.path.write_bytes(b"")
    for read in (lambda: read_manifest(base), lambda: current_dataset(folder), lambda: read_split(base, "train")):
        with pytest.raises(DatasetError, match=rf"{base.path.name}: (no such dataset|changed since)"):
            read()
    ingested = ingest(str(acme))
    assert (ingested.dataset, ingested.written) == (base, True)
    assert base.path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"\n", b"0123456789abcdef\n", b"\xff\xfe", b"../../etc/passwd\n"])
def test_a_damaged_pointer_is_rejected_and_can_be_repaired(
    base: Dataset, acme: Path, folder: Path, content: bytes
) -> None:
    (folder / "current").write_bytes(content)
    with pytest.raises(DatasetError):
        current_dataset(folder)
    assert ingest(str(acme)).dataset == base
    assert current_dataset(folder) == base


def test_a_part_with_other_columns_is_rejected(base: Dataset, folder: Path) -> None:
    """The checksum matches the manifest, but the columns do not."""
    table = pq.read_table(folder / parts_of(base)[0]).drop_columns("label")
    with pytest.raises(DatasetError, match=r"found 120 rows of \['id', 'split', 'pixels'\], expected 120 rows"):
        read_split(with_part(base, table), "train")


def test_a_part_with_other_rows_is_rejected(base: Dataset, folder: Path) -> None:
    table = pq.read_table(folder / parts_of(base)[0]).slice(1)
    with pytest.raises(DatasetError, match=r"found 119 rows of .*, expected 120 rows"):
        read_split(with_part(base, table), "train")


def with_part(dataset: Dataset, table: pa.Table) -> Dataset:
    """A dataset whose manifest names `table` as its train part."""
    manifest = read_manifest(dataset)
    written = dataset.path.parent / "parts" / "forged.parquet"
    pq.write_table(table, written)
    sha256 = sha256_of(written)
    file = part_file("train", sha256)
    written.rename(dataset.path.parent / file)
    part = dataclasses.replace(manifest.parts[0], file=file, sha256=sha256)
    return write_manifest(dataset.path.parent, dataclasses.replace(manifest, parts=(part, manifest.parts[1])))


# --- kills, full disks and concurrent ingests ---


def start(code: str, turns: int, *sources: Path) -> "subprocess.Popen[str]":
    """Start a process that ingests sources in turn after `go`."""
    command = [sys.executable, "-c", code, str(turns), *map(str, sources)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def go(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


def test_temporary_files_of_a_killed_writer_are_removed(base: Dataset, csv: Path, folder: Path) -> None:
    (folder / temporary_name("current")).write_text("half")
    (folder / "parts" / temporary_name("train.parquet")).write_text("half")
    (folder / temporary_name("a folder")).mkdir()
    (folder / temporary_name("a folder") / "deep").mkdir(parents=True)
    assert len(temporaries(folder)) == 4
    ingest(str(csv))
    assert temporaries(folder) == []


def test_concurrent_ingests_give_one_version(acme: Path, folder: Path) -> None:
    processes = [start(INGEST, 5, acme) for _ in range(2)]
    go(*processes)
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    current = current_dataset(folder)
    assert current
    assert {version for out, _ in outputs for version in out.split()} == {current.version}
    assert holds_the_images_of(current, acme)


def test_concurrent_additions_are_all_kept(base: Dataset, folder: Path, tmp_path: Path) -> None:
    tables = [write_csv(tmp_path / f"{seed}.csv", seed) for seed in range(10, 26)]
    processes = [start(INGEST, 1, *tables[:8]), start(INGEST, 1, *tables[8:])]
    go(*processes)
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    current = current_dataset(folder)
    assert current
    assert current.rows == base.rows + 16 * 7
    assert len(set(read_split(current, "train").ids)) == 120 + 16 * 7


def test_a_kill_at_any_time_leaves_an_intact_dataset(acme: Path, csv: Path, folder: Path, tmp_path: Path) -> None:
    generator = random.Random(0)
    beta = write_real(tmp_path / "beta", seed=4, name="beta")
    ingest(str(acme))
    for _ in range(KILLS):
        process = start(INGEST, 10_000, acme, csv, beta)
        go(process)
        time.sleep(generator.uniform(0.02, 0.3))
        process.send_signal(signal.SIGKILL)
        _, error = process.communicate()
        assert process.returncode == -signal.SIGKILL, error
        current = current_dataset(folder)
        assert current
        assert all(len(read_split(current, split).ids) for split in SPLITS)
        assert holds_the_images_of(current, acme if current.source == "acme" else beta)
    for source in (beta, acme):
        assert holds_the_images_of(ingest(str(source)).dataset, source)
    assert temporaries(folder) == []


def test_a_full_disk_keeps_the_current_dataset(base: Dataset, acme: Path, folder: Path, tmp_path: Path) -> None:
    beta = write_real(tmp_path / "beta", seed=4, name="beta")
    before = everything_in(folder)
    process = start(LITTLE_SPACE + INGEST, 1, beta)
    go(process)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "File too large" in error
    assert everything_in(folder) == before
    assert ingest(str(beta)).written, "with free space again"
