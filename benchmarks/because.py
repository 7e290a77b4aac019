"""Remove the training images that answers cite, train again, and count how many of these answers change.

    .venv/bin/python -m benchmarks.because [--preset quick] [--epochs 2] [--images 50] [--seeds 1 2 3] [--to FILE]

For each class, the answers of a network are its predictions of that class of which it is least confident, for 10,000
rows of the training split that are held out, others for each seed; their labels are not used. All training images of
that class among the k nearest of any of them are removed, and the same preset is trained again from the same seed. The
control removes as many random ones of the class. A removed image is replaced by a copy of a random one of the class
that stays, so that all trainings have the same first weights and the same batches but for these rows. Training again
changes some answers anyway; what the control changes is that share. The same is done to a vote of the five nearest
training images in the last hidden layer, where nothing is trained again and each answer loses its own five, or five
random ones.
"""

import argparse
import tempfile
from collections.abc import Iterator
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

CITED, VOTED = (5, 50), 5  # nearest training images of each image
HELD_OUT = 10_000  # rows
Rows = NDArray[np.intp]
Counts = tuple[int, int, int]  # removed images, changed answers without the cited, without random ones


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--to", type=Path, help="output file for the tables")
    options = parser.parse_args()
    lines = ["# `python -m benchmarks.because`", "", *describe_machine(timed=False), ""]
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        dataset = ingest(settings.source, settings=settings).dataset
        examples = read_split(dataset, "train")
        found: dict[str, list[Counts]] = {}
        for seed in options.seeds:
            config = configure(options.preset, {"epochs": options.epochs, "seed": seed})
            for how, counts in Simulation(*hold_out(examples, seed), config, options.images).run():
                found.setdefault(how, []).append(counts)
                print(seed, how, counts, flush=True)
    asked = f"the {options.images} least confident predictions of each class on held-out rows"
    lines += [f"`{options.preset}`, {options.epochs} epochs, seeds {options.seeds}: {asked}.", ""]
    lines += describe(found, options.images, len(options.seeds))
    text = "\n".join([*lines, ""])
    if options.to:
        options.to.write_text(text)
    print(text)


class Simulation:
    """The answers of one network, and what they are without some training images."""

    def __init__(self, examples: Examples, asked: Images, config: TrainConfig, images: int) -> None:
        self.examples, self.config, self.images = examples, config, images
        self.labels, self.random = examples.labels, np.random.default_rng(config.seed)
        self.network = fit(examples, np.arange(len(self.labels)), config)
        self.index = NearestRows(hide(self.network, examples.images))
        with torch.inference_mode():
            probabilities = torch.softmax(self.network(to_input(asked)), 1).numpy()
        self.asked, self.predicted, self.confidences = asked, probabilities.argmax(1), probabilities.max(1)

    def run(self) -> Iterator[tuple[str, Counts]]:
        """Yield what was done, and the counts, for each class."""
        for label in range(len(self.examples.contract.classes)):
            own = np.flatnonzero(self.predicted == label)
            asked = self.asked[own[self.confidences[own].argsort(kind="stable")[: self.images]]]
            queries = hide(self.network, asked)
            for k in CITED:
                cited = np.unique(np.concatenate([self.index.nearest(query, k)[0] for query in queries]))
                cited = cited[self.labels[cited] == label]
                yield f"trained again without the {k} nearest", self._train_without(cited, asked)
            yield f"a vote of the {VOTED} nearest without them", self._vote_without(queries)

    def _train_without(self, cited: Rows, asked: Images) -> Counts:
        changed = []
        for removed in (cited, draw_like(cited, self.labels, self.random)):
            again = fit(self.examples, replace(removed, self.labels, self.random), self.config)
            changed.append(count_changed(self.network, again, asked))
        return len(cited), changed[0], changed[1]

    def _vote_without(self, queries: NDArray[np.float32]) -> Counts:
        changed = [0, 0]
        for query in queries:
            nearest = self.index.nearest(query, 3 * VOTED)[0]
            own = nearest[:VOTED]
            for place, removed in enumerate((own, draw_like(own, self.labels, self.random))):
                left = nearest[~np.isin(nearest, removed)][:VOTED]
                changed[place] += vote(self.labels[left]) != vote(self.labels[own])
        return VOTED, changed[0], changed[1]


def hold_out(examples: Examples, seed: int) -> tuple[Examples, Images]:
    """Split into rows to train on, and images to ask about."""
    order = np.random.default_rng(seed).permutation(len(examples.labels))
    return take(examples, np.sort(order[HELD_OUT:])), examples.images[order[:HELD_OUT]]


def take(examples: Examples, rows: Rows) -> Examples:
    """Some rows."""
    ids = [examples.ids[row] for row in rows]
    return Examples(ids, examples.images[rows], examples.labels[rows], examples.contract)


def fit(examples: Examples, rows: Rows, config: TrainConfig) -> MLP:
    """Train on some rows."""
    run = Run(take(examples, rows), config)
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


def vote(labels: Labels) -> int:
    """The most frequent label; the smallest of several."""
    return int(np.bincount(labels).argmax())


def describe(found: dict[str, list[Counts]], images: int, seeds: int) -> list[str]:
    """A table: shares of changed answers, with the 95 % interval over classes of the difference, a mean of seeds."""
    lines = [
        "| | removed, mean | changed without the cited | without random ones | difference (95 %) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for how, counts in found.items():
        removed, cited, others = np.array(counts, float).T
        apart = ((cited - others) / images).reshape(seeds, -1).mean(axis=0)
        spread = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
        lines.append(
            f"| {how} | {removed.mean():,.0f} | {cited.mean() / images:.1%} | {others.mean() / images:.1%} | "
            f"{apart.mean():+.1%} ({apart.mean() - spread:+.1%} to {apart.mean() + spread:+.1%}) |"
        )
    return lines


if __name__ == "__main__":
    main()
