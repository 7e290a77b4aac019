"""Measure where models of Fashion-MNIST are weaker, and how often slices are called weaker rightly and wrongly.

    .venv/bin/python -m benchmarks.slices [--presets dense-128 flagship] [--draws 1000] [--to FILE]

Each preset is trained on the official archives (FASHION_SOURCE), and its answers to the test split are sliced. Then
answers are drawn at random, with attributes like those of the report: without a weaker slice, for the share of draws in
which any slice or pair is called weaker, by three rules; and with one, for the share of draws that find it.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import norm

from benchmarks.train import describe_machine
from components.contract import Validated
from components.dataset.ingest import ingest
from components.dataset.validate import validate
from components.evaluation.attributes import Attribute
from components.evaluation.card import write_card
from components.evaluation.model_slices import slice_model
from components.evaluation.slices import CHANCE, Slice, Slices, find_slices
from components.intervals import wilson
from components.model.classifier import Classifier
from components.settings import Settings
from components.training.presets import PRESETS, configure
from components.training.train import train

CLASSES = tuple(f"class {number}" for number in range(10))
SHOWN = 12  # slices in a table
CALM = [(10_000, 0.99), (10_000, 0.88), (1_000, 0.99), (1_000, 0.88), (1_000, 0.6)]  # images, accuracy
PLANTED = [(10_000, 500, drop) for drop in (0.02, 0.05, 0.1)] + [(1_000, 100, drop) for drop in (0.05, 0.1, 0.2)]
ACCURACY = 0.88  # of the other images, with a planted slice


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=["dense-128"], metavar="PRESET")
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--to", type=Path, help="output file for the tables")
    options = parser.parse_args()
    lines = ["# `python -m benchmarks.slices`", "", *describe_machine(timed=False)]
    lines += ["No times are measured here, so the load does not affect the figures."]
    if options.presets:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(data_dir=Path(folder))
            validated = validate(ingest(settings.source, settings=settings).dataset, settings=settings)
            for preset in options.presets:
                lines += describe_model(preset, validated)
    lines += [*describe_calm(options.draws), *describe_planted(options.draws)]
    text = "\n".join([*lines, ""])
    if options.to:
        options.to.write_text(text)
    print(text)


def describe_model(preset: str, validated: Validated) -> Iterator[str]:
    """The weaker slices of a model on the test split."""
    trained = train(validated, configure(preset, {}))
    model = Classifier(f"{preset}:benchmark", write_card(preset, validated, trained), trained.network.to_numpy())
    found = slice_model(model, validated.dataset).found[0]
    low, high = found.interval
    yield from ["", f"## `{preset}`, the {found.images:,} test images, one seed", ""]
    yield f"Accuracy {found.accuracy:.4f} ({low:.4f} to {high:.4f}), not sure of {found.abstained:.1%}."
    pairs = f"{len(found.pairs)} of {found.pairs_tested} pairs"
    yield f"{len(found.weaker)} of {len(found.slices)} slices are weaker, and {pairs}."
    yield from [f"The first {SHOWN} slices, then the pairs:", ""]
    yield "| slice | images | accuracy | 95 % interval | explained by class | not sure | verdict |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    yield from map(describe_slice, (*found.slices[:SHOWN], *found.pairs))


def describe_slice(one: Slice) -> str:
    """A row of the table."""
    low, high = one.interval
    shares = f"{one.accuracy:.3f} | {low:.3f} to {high:.3f} | {one.by_classes:.3f} | {one.abstained:.3f}"
    return f"| {one.name} | {one.images:,} | {shares} | {'weaker' if one.weaker else ''} |"


def draw(random: np.random.Generator, images: int, accuracy: float, weak: int = 0, drop: float = 0.0) -> Slices:
    """Slices of random answers by ten classes, three numbers and eight shops; the first `weak` images are of another
    shop, at which the accuracy is lower by `drop`."""
    labels = random.integers(0, len(CLASSES), images)
    shops = random.integers(0, 8, images)
    shops[:weak] = 8
    attributes = [
        Attribute("class", labels, CLASSES),
        *(Attribute(name, random.normal(size=images)) for name in ("brightness", "contrast", "size")),
        Attribute("shop", shops, tuple(f"shop {number}" for number in range(9))),
    ]
    right = random.random(images) < accuracy - drop * (shops == 8)
    return find_slices("images", right, right, labels, attributes)


def describe_calm(draws: int) -> Iterator[str]:
    """How often anything is called weaker where nothing is, by rule."""
    yield from ["", f"## No slice is weaker: share of {draws:,} draws in which one is called so", ""]
    yield "| images | accuracy | plain 95 % interval | interval corrected (Bonferroni) | this rule | of these, pairs |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for number, (images, accuracy) in enumerate(CALM):
        random = np.random.default_rng(number)
        drawn = [draw(random, images, accuracy) for _ in range(draws)]
        rules = [
            [is_below(one, 0.95) for one in drawn],
            [is_below(one, 1 - CHANCE / len(one.slices)) for one in drawn],
            [bool(one.weaker or one.pairs) for one in drawn],
            [bool(one.pairs) for one in drawn],
        ]
        yield f"| {images:,} | {accuracy} | " + " | ".join(f"{np.mean(rule):.3f}" for rule in rules) + " |"


def is_below(found: Slices, level: float) -> bool:
    """Whether the interval of any slice at this level is below the accuracy of all images."""
    images, right = (np.array([getattr(one, name) for one in found.slices]) for name in ("images", "right"))
    return bool((wilson(right, images, norm.ppf((1 + level) / 2))[1] < found.accuracy).any())


def describe_planted(draws: int) -> Iterator[str]:
    """How often a planted slice is found, and whether it comes first."""
    yield from ["", f"## One slice is weaker: share of {draws:,} draws in which it is found", ""]
    yield f"The accuracy of the other images is {ACCURACY}."
    yield from [
        "",
        "| images | of the slice | its accuracy | called weaker | first of all | another one called weaker |",
    ]
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for number, (images, weak, drop) in enumerate(PLANTED):
        random = np.random.default_rng(100 + number)
        drawn = [draw(random, images, ACCURACY, weak, drop) for _ in range(draws)]
        names = [[one.name for one in found.weaker] for found in drawn]
        called = np.mean(["shop shop 8" in one for one in names])
        first = np.mean([found.slices[0].name == "shop shop 8" for found in drawn])
        others = np.mean([any(name != "shop shop 8" for name in one) for one in names])
        yield f"| {images:,} | {weak} | {ACCURACY - drop:.2f} | {called:.3f} | {first:.3f} | {others:.3f} |"


if __name__ == "__main__":
    main()
