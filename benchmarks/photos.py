"""How well the live model names the garment in real photos.

    .venv/bin/python -m benchmarks.photos FOLDER [--to FILE]

FOLDER has a folder of JPEG files for each category of the "clothing dataset (small)". Nothing is trained on them. Which
of the ten classes count as right is below; for a hat, shorts or a skirt none does, and "not sure" is the right answer.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from components.contract import CLASSES, Predictions
from components.formats.photos import read_photo
from components.inference.predict import predict
from components.registry.champion import load_model
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
    began = time.perf_counter()
    images = np.concatenate([read_photo(path.read_bytes(), path.name) for _, path in files])
    each = (time.perf_counter() - began) / len(files)
    text = "\n".join(
        [
            "# `python -m benchmarks.photos`",
            "",
            f"{len(files)} photos, {model.card.preset} is live (test accuracy {model.card.test.accuracy:.4f}); "
            f"{each * 1000:.0f} ms a photo to read it and find the garment.",
            "",
            *tell(np.array([kind for kind, _ in files]), predict(model, images)),
            "",
        ]
    )
    options.to.write_text(text)
    print(text)


def tell(kinds: np.ndarray, predictions: Predictions) -> list[str]:
    """The table by category, and accuracy against coverage."""
    right = np.array([name in RIGHT.get(kind, ()) for kind, name in zip(kinds, predictions.names, strict=True)])
    known = np.isin(kinds, list(RIGHT))
    lines = ["| photos of | number | right | not sure | most often called |", "| --- | ---: | ---: | ---: | --- |"]
    groups = [(kind, kinds == kind) for kind in (*RIGHT, *OUTSIDE)]
    for name, chosen in [*groups, ("**the seven above**", known), ("**hat, shorts, skirt**", ~known)]:
        called = CLASSES[np.bincount(predictions.labels[chosen], minlength=len(CLASSES)).argmax()]
        share = f"{right[chosen].mean():.2f}" if known[chosen].any() else ""
        lines.append(f"| {name} | {chosen.sum()} | {share} | {(~predictions.sure[chosen]).mean():.2f} | {called} |")
    order = np.argsort(-predictions.confidences[known], kind="stable")
    shares = [f"{right[known][order[: round(covered * len(order))]].mean():.2f}" for covered in COVERED]
    return [
        *lines,
        "",
        "Of the seven, the most confident share, and how many of them are right:",
        "",
        f"| {' | '.join(f'{covered:.0%}' for covered in COVERED)} |",
        "|" + " ---: |" * len(COVERED),
        f"| {' | '.join(shares)} |",
    ]


if __name__ == "__main__":
    main()
