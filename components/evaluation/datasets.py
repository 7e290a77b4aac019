"""Compares two versions of a dataset."""

from collections import Counter
from dataclasses import dataclass

from components.contract import Dataset, require_equal
from components.dataset.manifest import dataset_of, read_manifest, read_part, read_split
from components.errors import DatasetError


@dataclass(frozen=True)
class DataChange:
    """Differences between two versions of a dataset."""

    before: str  # version
    after: str
    added: dict[str, dict[str, int]]  # origin -> class -> number of new training images
    removed: int  # training images that only the older version has
    relabelled: dict[tuple[str, str], int]  # (class before, class now) -> number of training images
    same_test: bool  # whether both have the same test images and labels

    @property
    def rows_added(self) -> int:
        """Number of new training images of all origins."""
        return sum(sum(classes.values()) for classes in self.added.values())


def compare_versions(before: str, after: Dataset) -> DataChange:
    """Compare a dataset with an older version.

    Args:
        before: The older version.
        after: The newer dataset.

    Raises:
        DatasetError: One of them is missing or changed, or their data contracts differ.
    """
    folder = after.path.parent
    old, new, classes = dataset_of(folder, before), after, after.contract.classes
    require_equal(new.contract, old.contract, f"dataset {before}", DatasetError)
    train = read_split(old, "train")
    known = dict(zip(train.ids, train.labels.tolist(), strict=True))
    seen, relabelled, added = 0, Counter[tuple[str, str]](), dict[str, Counter[str]]()
    for part in read_manifest(new).of("train"):
        table = read_part(folder, part, new.contract)
        origin = (table.schema.metadata or {}).get(b"source", b"unknown").decode()
        for row_id, label in zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True):
            if row_id not in known:
                added.setdefault(origin, Counter())[classes[label]] += 1
                continue
            seen += 1
            if known[row_id] != label:
                relabelled[classes[known[row_id]], classes[label]] += 1
    same_test = read_manifest(old).split_version("test") == read_manifest(new).split_version("test")
    counts = {origin: dict(classes) for origin, classes in added.items()}
    return DataChange(old.version, new.version, counts, len(known) - seen, dict(relabelled), same_test)
