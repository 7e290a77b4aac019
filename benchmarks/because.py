"""Remove the training images that answers cite, train again, and count how many of these answers change.

    .venv/bin/python -m benchmarks.because [--preset quick] [--images 300] [--seeds 0 1 2 3 4]
                                           [--to FILE]

For random images of the test split of the archives that FASHION_SOURCE names: all training images among the k nearest
of any of them are removed, and the same preset is trained again from the same seed. The control removes as many random
images of the same classes. A removed image is replaced by a copy of a random one of its class that stays, so that all
trainings have the same first weights and the same batches but for these rows. Training again changes some answers
anyway; what the control changes is that share. The same is done to a vote of the k nearest training images in the last
hidden layer of the first network, where nothing is trained again.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks.train import describe_machine
from components.contract import Images, Labels
from components.dataset.ingest import ingest
from components.dataset.manifest import Examples, read_split
from components.model.mlp import MLP
from components.model.tensors import to_input
from components.neighbours.search import NearestRows
from components.settings import Settings
from components.training.config import TrainConfig
from components.training.presets import PRESETS, configure
from components.training.train import Run

CITED = (5, 50, 200)  # nearest training images of each image
Rows = NDArray[np.intp]


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--to", type=Path, help="output file for the tables")
    options = parser.parse_args()
    lines = ["# `python -m benchmarks.because`", "", *describe_machine(), ""]
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        dataset = ingest(settings.source, settings=settings).dataset
        examples, test = read_split(dataset, "train"), read_split(dataset, "test").images
        found = [
            measure(examples, test, configure(options.preset, {"seed": seed}), options.images) for seed in options.seeds
        ]
    lines.append(f"`{options.preset}`, {options.images} test images, seeds {options.seeds}.")
    lines += describe("Trained again", [one for one, _ in found], options.images)
    lines += describe("A vote of the k nearest", [one for _, one in found], options.images)
    text = "\n".join([*lines, ""])
    if options.to:
        options.to.write_text(text)
    print(text)


Counts = dict[int, tuple[int, int, int]]  # k -> removed images, changed answers without the cited, without random ones


def measure(examples: Examples, test: Images, config: TrainConfig, images: int) -> tuple[Counts, Counts]:
    """Count the changed answers of one seed: of trained networks, and of a vote."""
    random = np.random.default_rng(config.seed)
    asked = test[np.sort(random.permutation(len(test))[:images])]
    network = fit(examples, np.arange(len(examples.labels)), config)
    index, queries = NearestRows(hide(network, examples.images)), hide(network, asked)
    trained, voted = Counts(), Counts()
    for k in CITED:
        each = [index.nearest(query, k)[0] for query in queries]
        cited = np.unique(np.concatenate(each))
        changed = [
            count_changed(network, fit(examples, replace(removed, examples.labels, random), config), asked)
            for removed in (cited, draw_like(cited, examples.labels, random))
        ]
        trained[k] = (len(cited), changed[0], changed[1])
        voted[k] = (k, *count_votes(index, queries, each, examples.labels, random))
        print(config.seed, k, trained[k], voted[k], flush=True)
    return trained, voted


def fit(examples: Examples, rows: Rows, config: TrainConfig) -> MLP:
    """Train on some rows."""
    kept = Examples(
        [examples.ids[row] for row in rows], examples.images[rows], examples.labels[rows], examples.contract
    )
    run = Run(kept, config)
    while not run.is_finished:
        run.advance()
    return run.finish().network


def count_changed(one: MLP, other: MLP, images: Images) -> int:
    """How many labels two networks predict differently."""
    with torch.inference_mode():
        labels = [network(to_input(images)).argmax(1) for network in (one, other)]
    return int((labels[0] != labels[1]).sum())


def hide(network: MLP, images: Images) -> NDArray[np.float32]:
    """The last hidden layers."""
    with torch.inference_mode():
        return np.concatenate([network.hidden(part).numpy() for part in to_input(images).split(4096)])


def replace(removed: Rows, labels: Labels, random: np.random.Generator) -> Rows:
    """All rows, with a random one of its class that stays in the place of each removed one."""
    rows = np.arange(len(labels))
    stays = np.setdiff1d(rows, removed)
    for label in np.unique(labels[removed]):
        places = removed[labels[removed] == label]
        rows[places] = random.choice(stays[labels[stays] == label], len(places))
    return rows


def draw_like(rows: Rows, labels: Labels, random: np.random.Generator) -> Rows:
    """As many random rows of each class."""
    counts = np.bincount(labels[rows])
    drawn = [random.choice(np.flatnonzero(labels == label), count, replace=False) for label, count in enumerate(counts)]
    return np.concatenate(drawn)


def count_votes(
    index: NearestRows,
    queries: NDArray[np.float32],
    cited: list[Rows],
    labels: Labels,
    random: np.random.Generator,
) -> tuple[int, int]:
    """How many votes change if each image's own k nearest are removed, and if as many random ones are."""
    changed = [0, 0]
    for query, own in zip(queries, cited, strict=True):
        k = len(own)
        nearest = index.nearest(query, 3 * k)[0]
        before = vote(labels[own])
        for place, removed in enumerate((own, draw_like(own, labels, random))):
            left = nearest[~np.isin(nearest, removed)][:k]
            changed[place] += vote(labels[left]) != before
    return changed[0], changed[1]


def vote(labels: Labels) -> int:
    """The most frequent label; the smallest of several."""
    return int(np.bincount(labels).argmax())


def describe(title: str, counts: list[Counts], images: int) -> list[str]:
    """A table: shares of changed answers, means over the seeds, with the 95 % interval of the paired difference."""
    lines = [
        "",
        f"## {title}",
        "",
        "| k | removed | changed without the cited | without random ones | difference (95 %) |",
    ]
    lines.append("| ---: | ---: | ---: | ---: | ---: |")
    for k in CITED:
        removed, cited, others = (np.array(column, float) for column in zip(*(one[k] for one in counts), strict=True))
        apart = (cited - others) / images
        spread = (
            stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.nan
        )
        lines.append(
            f"| {k} | {removed.mean():,.0f} | {cited.mean() / images:.1%} | {others.mean() / images:.1%} | "
            f"{apart.mean():+.1%} ({apart.mean() - spread:+.1%} to {apart.mean() + spread:+.1%}) |"
        )
    return lines


if __name__ == "__main__":
    main()
