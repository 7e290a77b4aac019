"""A network and a split -> Metrics."""

import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from components.contract import CLASSES, ClassMetrics, Dataset, Labels, Metrics, Split
from components.manifest import read_manifest, read_split
from components.model.mlp import MLP
from components.model.tensors import to_input


def evaluate(network: MLP, dataset: Dataset, split: Split) -> Metrics:
    """What a network does on one split, in evaluation mode.

    Raises:
        DatasetError: the data changed since it was written.
    """
    examples = read_split(dataset, split)
    network.eval()
    with torch.inference_mode():
        logits = network(to_input(examples.images))
    version = read_manifest(dataset).split_version(split)
    return measure(logits, examples.labels, split, version)


def measure(logits: torch.Tensor, labels: Labels, split: Split, split_version: str) -> Metrics:
    """Logits against labels.

    Args:
        logits: float32 (n, 10).
        labels: uint8 (n,), n at least 1.
        split: which split they are of.
        split_version: see `Metrics`.
    """
    predicted = logits.argmax(1).numpy()
    every = range(len(CLASSES))
    table = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0.0)
    target = torch.tensor(labels, dtype=torch.int64)
    return Metrics(
        split=split,
        split_version=split_version,
        rows=len(labels),
        accuracy=float((predicted == labels).mean()),
        loss=torch.nn.functional.cross_entropy(logits, target).item(),
        classes=tuple(
            ClassMetrics(name, float(precision), float(recall), float(f1), int(support))
            for name, precision, recall, f1, support in zip(CLASSES, *table, strict=True)
        ),
        confusion=tuple(map(tuple, confusion_matrix(labels, predicted, labels=every).tolist())),
    )
