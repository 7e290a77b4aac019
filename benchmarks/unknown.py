"""Measure how well models of Fashion-MNIST detect images of other things.

    .venv/bin/python -m benchmarks.unknown [--presets dense-128 flagship] [--seeds 0 1 2] [--to FILE]

Each preset is trained on the official archives (FASHION_SOURCE), with the threshold fitted on its own validation rows,
and asked about digits, drawn shapes and changed test images. AUROC: the chance that an image of another thing is
farther from the training images than a test image. The same is measured for the confidence of the softmax, the largest
logit and the energy (arXiv:2010.03759).
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor

from benchmarks.traffic import draw_shapes
from benchmarks.train import describe_machine
from components.contract import Images
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.dataset.validate import validate
from components.evaluation.calibrate import calibrate_known
from components.model.mlp import MLP
from components.model.tensors import to_input
from components.settings import Settings
from components.training.presets import PRESETS, configure
from components.training.train import train

OTHERS: dict[str, Callable[[Images, np.random.Generator], Images]] = {
    "digits of scikit-learn, 8 x 8 enlarged": lambda test, random: enlarge_digits(),
    "drawn shapes": lambda test, random: draw_shapes(3000, random),
    "test images turned by 90 degrees": lambda test, random: np.rot90(test, 1, (1, 2)),
    "test images upside down": lambda test, random: test[:, ::-1],
    "test images inverted": lambda test, random: 255 - test,
    "noise": lambda test, random: random.integers(0, 256, (2000, 28, 28)).astype(np.uint8),
}
SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: -torch.softmax(logits, 1).amax(1),
    "largest logit": lambda logits: -logits.amax(1),
    "energy": lambda logits: -torch.logsumexp(logits, 1),
}


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["dense-128"], metavar="PRESET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--to", type=Path, help="output file for the tables")
    options = parser.parse_args()
    lines = ["# `python -m benchmarks.unknown`", "", *describe_machine()]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        validated = validate(ingest(settings.source, settings=settings).dataset, settings=settings)
        test = read_split(validated.dataset, "test").images
        others = {name: make(test, np.random.default_rng(0)) for name, make in OTHERS.items()}
        for preset in options.presets:
            tables = []
            for seed in options.seeds:
                trained = train(validated, configure(preset, {"seed": seed}))
                tables.append(measure(trained.network, trained.validation_distances, test, others))
            lines += ["", *describe(preset, tables, len(test))]
    text = "\n".join([*lines, ""])
    if options.to:
        options.to.write_text(text)
    print(text)


def enlarge_digits() -> Images:
    """The 1,797 digits, drawn as MNIST's are: 20 pixels high on 28 x 28 black, uint8 (n, 28, 28)."""
    found = np.zeros((len(load_digits().images), 28, 28), np.uint8)
    for image, digit in zip(found, load_digits().images, strict=True):
        levels = Image.fromarray((digit / 16 * 255).astype(np.uint8))
        image[4:24, 4:24] = np.asarray(levels.resize((20, 20), Image.Resampling.BICUBIC))
    return found


def measure(
    network: MLP, validation: NDArray[np.float32] | None, test: Images, others: dict[str, Images]
) -> tuple[float, dict[str, dict[str, float]]]:
    """The share of test images refused; then for each kind of other image, the AUROC of each score and the share
    accepted."""
    if network.known is None or validation is None:
        raise SystemExit("the model does not detect unknown inputs")
    known, measured = calibrate_known(validation, network.known), network.known.measure(network.contract)

    def judge(images: Images) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        distances, logits = [], []
        with torch.inference_mode():
            for part in to_input(images).split(8192):
                hidden = network.hidden(part)
                distances.append(measured(part.numpy(), hidden.numpy()))
                logits.append(network[-1](hidden))
            scores = {name: score(torch.cat(logits)).numpy() for name, score in SCORES.items()}
        return np.concatenate(distances), scores

    own, own_scores = judge(test)
    rows = {}
    for name, images in others.items():
        far, scores = judge(images)
        rows[name] = {
            "distance": area(own, far),
            **{score: area(own_scores[score], values) for score, values in scores.items()},
            "accepted": float(known.is_known(far).mean()),
        }
    return float((~known.is_known(own)).mean()), rows


def area(known: NDArray[np.float32], unknown: NDArray[np.float32]) -> float:
    """Area under the ROC curve of a score that is higher for unknown images."""
    return float(roc_auc_score(np.repeat([0, 1], [len(known), len(unknown)]), np.concatenate([known, unknown])))


def describe(preset: str, tables: list[tuple[float, dict[str, dict[str, float]]]], images: int) -> list[str]:
    """A table of the means over the seeds."""
    refused = [share for share, _ in tables]
    intervals = [binomtest(round(share * images), images).proportion_ci(0.95, "wilson") for share in refused]
    shown = ", ".join(
        f"{share:.3f} ({one.low:.3f} to {one.high:.3f})" for share, one in zip(refused, intervals, strict=True)
    )
    columns = ["distance", *SCORES, "accepted"]
    rows = [
        f"| {name} | " + " | ".join(f"{np.mean([rows[name][c] for _, rows in tables]):.3f}" for c in columns) + " |"
        for name in tables[0][1]
    ]
    return [
        f"`{preset}`, means over {len(tables)} seeds. Of the {images:,} test images, each model refuses: {shown}.",
        "",
        "| other images | AUROC of the distance | softmax | largest logit | energy | accepted as known |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *rows,
    ]


if __name__ == "__main__":
    main()
