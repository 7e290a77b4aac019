"""How well the live model names a garment on a plain ground of each level.

    .venv/bin/python -m benchmarks.grounds [--first 400] [--images 1000] [--step 15] [--split test] [--to FILE]

Images of the dataset the live model was trained on are enlarged five times and laid on a ground, as negatives ("dark":
what the camera saw) and as they are ("light"). The mask is each image's ink: what is brighter than 5 %, as in the
dataset's paper, its edge as soft as the image's own. The method was chosen on images of the training split. The first
400 of the test split were looked at before the last changes, so they are left out.
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

TIMES = 5  # as large as the image
MARGIN = 20  # pixels on each side
OWN = 0.1  # share of a garment's pixels; with more of the ground's colour it is of the ground's own colour
HEAD = """
| ground | garments | right | apart from the ground | of these right | on white | difference | drawn both ways |
| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=400, help="the first image's index in the split")
    parser.add_argument("--images", type=int, default=1000, help="how many")
    parser.add_argument("--step", type=int, default=15, help="levels from one ground to the next")
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
        f"{len(images)} images of the {options.split} split, from number {options.first} on; dark on plain white, "
        f"{on_white.mean():.3f} are right.",
        HEAD,
    ]
    for light in (False, True):
        for ground in range(0, 256, options.step):
            lines.append(describe_ground(model, images, labels, ground, light, on_white))
            print(lines[-1], flush=True)
    options.to.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[:-1]))


def describe_ground(
    model: Classifier, images: Images, labels: Labels, ground: int, light: bool, on_white: NDArray[np.bool_]
) -> str:
    """A row of the table.

    Args:
        model: the live one.
        images: uint8 (n, 28, 28).
        labels: (n,).
        ground: its level.
        light: whether the garments are the images themselves, or their negatives.
        on_white: (n,), which are right as dark garments on plain white.
    """
    right, views = classify(model, images, labels, ground, light)
    apart = np.array([is_apart(image, ground, light) for image in images])
    same, white = right[apart].mean(), on_white[apart].mean()
    return (
        f"| {ground} | {'light' if light else 'dark'} | {right.mean():.3f} | {apart.sum()} | {same:.3f} | {white:.3f} "
        f"| {same - white:+.3f} | {(views > 1).mean():.0%} |"
    )


def classify(
    model: Classifier, images: Images, labels: Labels, ground: int, light: bool
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which are right, and how many views each has, (n,) both."""
    photos = [read_views(encode(lay(image, ground, light)), CONTRACT) for image in images]
    return predict_photos(model, photos).labels == labels, np.array([len(views) for views in photos])


def lay(image: NDArray[np.uint8], ground: int, light: bool) -> NDArray[np.uint8]:
    """An image of the dataset, enlarged, on a ground.

    Args:
        image: uint8 (28, 28).
        ground: its level, 0 to 255.
        light: the image itself, or its negative.
    """
    sides = (TIMES * image.shape[1], TIMES * image.shape[0])
    ink = Image.fromarray(((image > PLAIN) * 255).astype(np.uint8)).resize(sides, Image.Resampling.BILINEAR)
    large = Image.fromarray(image if light else 255 - image).resize(sides, Image.Resampling.BICUBIC)
    share = np.pad(np.asarray(ink, np.float32) / 255, MARGIN)
    garment = np.pad(np.asarray(large, np.float32), MARGIN)
    return np.asarray((share * garment + (1 - share) * ground).round(), np.uint8)


def is_apart(image: NDArray[np.uint8], ground: int, light: bool) -> bool:
    """Whether the garment is of another colour than the ground, in nearly all of its pixels."""
    garment = (image if light else 255 - image)[image > PLAIN].astype(int)
    return bool((abs(garment - ground) <= PLAIN).mean() < OWN)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
