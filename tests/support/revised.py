"""A catalogue whose classes change: each image shows one thing, and a class consists of one or more things.

The images of a thing are the same in every dataset. A thing is a bright row of pixels; in some images another row is
brighter, so that a network that compares the rows is right on most but not all images.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from components.contract import (
    SPLITS,
    Calibration,
    DataContract,
    Dataset,
    Epoch,
    Images,
    ImageSpec,
    ModelCard,
    Revision,
    Split,
    Validated,
)
from components.dataset.manifest import (
    DatasetPart,
    Manifest,
    accept,
    content_hash,
    part_file,
    to_table,
    write_manifest,
)
from components.evaluation.card import probe
from components.evaluation.metrics import evaluate
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.training.config import TrainConfig

IMAGE = ImageSpec(8, 8)
THINGS = ("boot", "coat", "shirt", "bag", "hat", "cap")  # by their row of pixels
ROWS: Mapping[Split, int] = {"train": 20, "test": 60}  # per thing
SHARP = 1.2  # logit of a fully bright row
Shown = Mapping[str, Sequence[str]]  # class -> its things

FIRST: Shown = {name: [name] for name in ("boot", "coat", "shirt", "bag")}
ADDED: Shown = {**FIRST, "hat": ["hat"]}


def contract_of(shown: Shown) -> DataContract:
    return DataContract("shop", tuple(shown), IMAGE, "letterbox")


def became(before: Shown, after: Shown) -> Revision:
    """The change between two states: a class's images go to the classes of its things."""
    went = (tuple(name for name in after if set(after[name]) & set(before[old])) for old in before)
    return Revision(tuple(before), tuple(went))


def draw(thing: str, split: Split) -> Images:
    """uint8 (n, 8, 8)."""
    random = np.random.default_rng([THINGS.index(thing), SPLITS.index(split)])
    rows = ROWS[split]
    images = random.integers(0, 30, (rows, *IMAGE.shape)).astype(np.uint8)
    other = (THINGS.index(thing) + random.integers(1, 4, rows)) % 4
    images[np.arange(rows), other] += random.integers(0, 200, (rows, 1)).astype(np.uint8)
    images[:, THINGS.index(thing)] = random.integers(150, 250, (rows, 1))
    return images


def write_dataset(folder: Path, shown: Shown, *changes: Revision, left_out: int = 0) -> Dataset:
    """Write a dataset with a receipt, without the last `left_out` test images of each thing."""
    contract = contract_of(shown)
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    parts = tuple(_write_part(folder, split, shown, left_out if split == "test" else 0) for split in SPLITS)
    dataset = write_manifest(folder, Manifest("a shop", "", parts, contract, changes))
    accept(Validated(dataset, 1, folder, "2026-01-01T00:00:00+00:00"))
    return dataset


def _write_part(folder: Path, split: Split, shown: Shown, left_out: int) -> DatasetPart:
    contract = contract_of(shown)
    found = [(label, thing) for label, things in enumerate(shown.values()) for thing in things]
    rows = ROWS[split] - left_out
    images = np.concatenate([draw(thing, split)[:rows] for _, thing in found])
    labels = np.repeat([label for label, _ in found], rows).astype(np.uint16)
    ids = [f"{split}-{thing}-{row}" for _, thing in found for row in range(rows)]
    table = to_table(ids, split, labels, images, contract, "a shop")
    pq.write_table(table, folder / "new.parquet", write_page_checksum=True)
    sha256 = hashlib.sha256((folder / "new.parquet").read_bytes()).hexdigest()
    (folder / "new.parquet").rename(folder / part_file(split, sha256))
    return DatasetPart(part_file(split, sha256), split, len(ids), sha256, content_hash(table, contract), {})


def network_of(shown: Shown, dull: Mapping[str, float] | None = None, sharp: float = SHARP) -> MLP:
    """A network whose logits are the brightness of the rows of each class's things.

    Args:
        shown: the classes.
        dull: class -> value subtracted from its logit.
        sharp: contribution of a fully bright row to a logit.
    """
    network = MLP(ModelConfig(hidden=()), contract_of(shown))
    weights = torch.zeros(len(shown), *IMAGE.shape)
    for label, things in enumerate(shown.values()):
        weights[label, [THINGS.index(thing) for thing in things]] = sharp
    bias = [-(dull or {}).get(name, 0.0) for name in shown]
    network.load_state_dict({"logits.weight": weights.flatten(1), "logits.bias": torch.tensor(bias)})
    return network.eval()


def card_of(network: MLP, dataset: Dataset, *changes: Revision) -> ModelCard:
    calibration = Calibration(thresholds=(0.0,) * len(dataset.contract.classes))
    return ModelCard(
        preset="rows",
        contract=dataset.contract,
        model=asdict(network.config),
        training=asdict(TrainConfig(model=network.config)),
        hardware={},
        source=dataset.source,
        dataset_version=dataset.version,
        expectations=1,
        calibration=calibration,
        train=evaluate(network, dataset, "train", calibration),
        test=evaluate(network, dataset, "test", calibration),
        history=(Epoch(1, 0.5, 0.8, 0.5, 0.8, 1.0),),
        best_epoch=1,
        train_seconds=1.0,
        created_at="2026-01-01T00:00:00+00:00",
        git_commit="unknown",
        packages={},
        probes=probe(network, dataset, calibration),
        revisions=changes,
    )


def model_of(
    folder: Path,
    shown: Shown,
    *changes: Revision,
    tag: str = "shop-mlp:challenge",
    dull: Mapping[str, float] | None = None,
    sharp: float = SHARP,
    left_out: int = 0,
) -> Classifier:
    """A model with its dataset."""
    network = network_of(shown, dull, sharp)
    dataset = write_dataset(folder, shown, *changes, left_out=left_out)
    return Classifier(tag, card_of(network, dataset, *changes), network.to_numpy())
