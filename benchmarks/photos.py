"""Evaluate the live model on real photos of garments.

    .venv/bin/python -m benchmarks.photos FOLDER [--to FILE]

FOLDER has a folder of JPEG files for each category of the "clothing dataset (small)". No model is trained on them.
RIGHT lists which of the ten classes count as correct. Hats, shorts and skirts are out of distribution: the model should
abstain.

Photo preparation was chosen on the half of the files with an even SHA-256; the other half is held out, except from the
choice of the garment finder (decision 25).
"""

import argparse
import hashlib
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Predictions
from components.readers.images.photos import read_views
from components.registry.champion import load_model
from components.scoring.predict import predict_photos
from components.settings import CHECKOUT

RIGHT = {
    "t-shirt": {"T-shirt/top"},
    "pants": {"Trouser"},
    "longsleeve": {"Pullover", "Shirt"},
    "dress": {"Dress"},
    "outwear": {"Coat", "Pullover"},
    "shirt": {"Shirt", "T-shirt/top"},
    "shoes": {"Sandal", "Sneaker", "Ankle boot"},
}
OUTSIDE = ("hat", "shorts", "skirt")
COVERED = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "photos.md")
    options = parser.parse_args()
    model = load_model()
    files = [(kind, path) for kind in (*RIGHT, *OUTSIDE) for path in sorted((options.folder / kind).glob("*.jp*g"))]
    contents = [path.read_bytes() for _, path in files]
    began = time.process_time()
    photos = [read_views(content, CONTRACT) for content in contents]
    read = time.process_time()
    predictions = predict_photos(model, photos)
    ended = time.process_time()
    kinds = np.array([kind for kind, _ in files])
    chosen_on = np.array([hashlib.sha256(content).digest()[-1] % 2 == 0 for content in contents])
    text = "\n".join(
        [
            "# `python -m benchmarks.photos`",
            "",
            f"{len(files)} photos, {model.card.preset} is live (test accuracy {model.card.test.accuracy:.4f}). "
            f"Per photo, {(read - began) / len(files) * 1000:.0f} ms of CPU time to read it and find the garment, "
            f"{(ended - read) / len(files) * 1000:.1f} ms to classify its views.",
            "",
            *describe_halves(kinds, predictions, chosen_on),
            "",
            *describe_categories(kinds, predictions),
            "",
        ]
    )
    options.to.write_text(text)
    print(text)


def describe_halves(kinds: NDArray[np.str_], predictions: Predictions, chosen_on: NDArray[np.bool_]) -> list[str]:
    """Accuracy, abstention and accuracy by coverage, for each half and for all photos.

    Args:
        kinds: (n,), the category of each photo.
        predictions: for n photos.
        chosen_on: bool (n,), True for the half that the method was chosen on.
    """
    right, known = judge(kinds, predictions)
    shares = " | ".join(f"{covered:.0%}" for covered in COVERED)
    lines = [
        "Photos of the seven categories that match one of the ten classes: accuracy on the most confident share.",
        "",
        f"| | photos | abstains | accuracy otherwise | {shares} | hat, shorts, skirt | abstains |",
        "|" + " --- |" + " ---: |" * (len(COVERED) + 5),
    ]
    everything = np.ones(len(kinds), bool)
    for name, half in (("development half", chosen_on), ("**held-out half**", ~chosen_on), ("all", everything)):
        inside, outside = half & known, half & ~known
        order = np.argsort(-predictions.confidences[inside], kind="stable")
        ranked = right[inside][order]
        cells = [
            str(len(ranked)),
            _share(~predictions.sure[inside]),
            _share(right[inside & predictions.sure]),
            *(_share(ranked[: round(covered * len(ranked))]) for covered in COVERED),
            str(outside.sum()),
            _share(~predictions.sure[outside]),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def describe_categories(kinds: NDArray[np.str_], predictions: Predictions) -> list[str]:
    """A row per category, over all photos.

    Args:
        kinds: (n,), the category of each photo.
        predictions: for n photos.
    """
    right, known = judge(kinds, predictions)
    lines = ["| category | photos | accuracy | abstains | most frequent prediction |"]
    lines.append("| --- | ---: | ---: | ---: | --- |")
    for kind in (*RIGHT, *OUTSIDE):
        chosen = kinds == kind
        called = CLASSES[np.bincount(predictions.labels[chosen], minlength=len(CLASSES)).argmax()]
        share = _share(right[chosen & known])
        lines.append(f"| {kind} | {chosen.sum()} | {share} | {_share(~predictions.sure[chosen])} | {called} |")
    return lines


def judge(kinds: NDArray[np.str_], predictions: Predictions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which photos are classified correctly, and which are in distribution; bool (n,) each."""
    right = [name in RIGHT.get(kind, ()) for kind, name in zip(kinds, predictions.names, strict=True)]
    return np.array(right), np.isin(kinds, list(RIGHT))


def _share(true: NDArray[np.bool_]) -> str:
    """Format the share of True values in bool (n,); "" if n is 0."""
    return f"{true.mean():.2f}" if len(true) else ""


if __name__ == "__main__":
    main()
