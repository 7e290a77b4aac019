"""Measure the live model's accuracy on garments on plain backgrounds of every grey level.

    .venv/bin/python -m benchmarks.grounds [--first 400] [--images 1000] [--step 15] [--split test] [--to FILE]

Enlarges images of the live model's dataset five times and composites them onto a background, both as negatives ("dark",
as the camera saw them) and unchanged ("light"). The mask is every pixel brighter than 5 %, as in the dataset's paper,
with a soft edge. The method was chosen on the training split. The first 400 test images were inspected before the last
changes, so they are excluded.
"""

import argparse
import io
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.catalogues.fashion_mnist import CONTRACT
from components.catalogues.preparation.ground import PLAIN
from components.contract import Images, Labels
from components.dataset import manifest
from components.model.classifier import Classifier
from components.readers.images.photos import read_views
from components.registry.champion import load_model
from components.scoring.predict import predict_photos
from components.settings import CHECKOUT, load_settings

SCALE = 5  # enlargement of the image
MARGIN = 20  # pixels on each side
MAX_SIMILAR = 0.1  # share of a garment's pixels; with more of the background's colour the garment is not distinct
HEAD = """
| background | garments | accuracy | distinct from it | their accuracy | on white | difference | read both ways |
| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=400, help="index of the first image in the split")
    parser.add_argument("--images", type=int, default=1000, help="number of images")
    parser.add_argument("--step", type=int, default=15, help="grey levels between backgrounds")
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "grounds.md")
    options = parser.parse_args()
    model = load_model()
    dataset = manifest.dataset_of(load_settings().datasets_dir, model.card.dataset_version)
    examples = manifest.read_split(dataset, options.split)
    measured = slice(options.first, options.first + options.images)
    images, labels = examples.images[measured], examples.labels[measured]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pillow", "opencv-python-headless"))
    on_white, _ = classify(model, images, labels, 255, light=False)
    lines = [
        "# `python -m benchmarks.grounds`",
        "",
        f"{packages}. {model.card.preset} is live (test accuracy {model.card.test.accuracy:.4f}).",
        f"{len(images)} images of the {options.split} split, starting at index {options.first}; accuracy of dark "
        f"garments on plain white: {on_white.mean():.3f}.",
        HEAD,
    ]
    for light in (False, True):
        for background in range(0, 256, options.step):
            lines.append(describe_background(model, images, labels, background, light, on_white))
            print(lines[-1], flush=True)
    options.to.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[:-1]))


def describe_background(
    model: Classifier, images: Images, labels: Labels, background: int, light: bool, on_white: NDArray[np.bool_]
) -> str:
    """A row of the table.

    Args:
        model: the live one.
        images: uint8 (n, 28, 28).
        labels: (n,).
        background: grey level of the background, 0 to 255.
        light: whether the garments are the images or their negatives.
        on_white: bool (n,), which are correct as dark garments on plain white.
    """
    right, views = classify(model, images, labels, background, light)
    distinct = np.array([is_distinct(image, background, light) for image in images])
    same, white = right[distinct].mean(), on_white[distinct].mean()
    return (
        f"| {background} | {'light' if light else 'dark'} | {right.mean():.3f} | {distinct.sum()} | {same:.3f} "
        f"| {white:.3f} | {same - white:+.3f} | {(views > 1).mean():.0%} |"
    )


def classify(
    model: Classifier, images: Images, labels: Labels, background: int, light: bool
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Whether each prediction is correct, bool (n,), and the number of views of each photo, (n,)."""
    photos = [read_views(encode(composite(image, background, light)), CONTRACT) for image in images]
    return predict_photos(model, photos).labels == labels, np.array([len(views) for views in photos])


def composite(image: NDArray[np.uint8], background: int, light: bool) -> NDArray[np.uint8]:
    """Composite an enlarged image of the dataset onto a background.

    Args:
        image: uint8 (28, 28).
        background: grey level of the background, 0 to 255.
        light: use the image itself instead of its negative.
    """
    sides = (SCALE * image.shape[1], SCALE * image.shape[0])
    ink = Image.fromarray(((image > PLAIN) * 255).astype(np.uint8)).resize(sides, Image.Resampling.BILINEAR)
    large = Image.fromarray(image if light else 255 - image).resize(sides, Image.Resampling.BICUBIC)
    share = np.pad(np.asarray(ink, np.float32) / 255, MARGIN)
    garment = np.pad(np.asarray(large, np.float32), MARGIN)
    return np.asarray((share * garment + (1 - share) * background).round(), np.uint8)


def is_distinct(image: NDArray[np.uint8], background: int, light: bool) -> bool:
    """Whether nearly all pixels of the garment differ from the background."""
    garment = (image if light else 255 - image)[image > PLAIN].astype(int)
    return bool((abs(garment - background) <= PLAIN).mean() < MAX_SIMILAR)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
