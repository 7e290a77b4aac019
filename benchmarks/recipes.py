"""Train every recipe with several seeds and write the README's table of results.

    .venv/bin/python -m benchmarks.recipes [--seeds 0 1 2] [--presets dense-128 ...]

Every training is a process of its own, on the archives that FASHION_SOURCE names. A recipe that takes less than a
minute runs once more with the first seed: its weights must be the same. The test split is read after each training.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import save

from benchmarks.train import describe_machine
from components.contract import ModelCard, Validated
from components.dataset.ingest import ingest
from components.evaluation.card import write_card
from components.settings import CHECKOUT
from components.training.presets import PRESETS, configure, count_parameters
from components.training.train import train

KERAS = {  # the same recipe in Keras 3, one seed
    "ann-128x2": "0.874",
    "dense-128": "0.873",
    "dense-dropout": "0.889 (256-128, 20 epochs)",
    "mlp-512x256": "0.874",
    "dense-128-logits": "0.882",
}
TWICE_BELOW = 60  # seconds
HEAD = """
| recipe | layers | parameters | epochs | seconds | last epoch | train split | test | seeds | Keras | twice the same |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"""
NOTES = """
- seconds: the median of all epochs together, validation included
- last epoch: mean accuracy and loss over its steps, in training mode on augmented images, as Keras tells them
- train split: accuracy and loss of the finished model on all 60,000 images, validation rows included
- test: mean accuracy, and the standard deviation over the seeds; then that of each seed
- Keras: test accuracy of the same recipe in Keras 3, one seed
- twice the same: whether the first seed gave the same SHA-256 of the weights again, and its first 16 digits
"""


def main() -> None:
    """Train everything, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS), metavar="PRESET")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "recipes.md")
    options = parser.parse_args()
    lines = ["# `python -m benchmarks.recipes`", "", *describe_machine(), f"threads: {torch.get_num_threads()}", HEAD]
    print(*lines, sep="\n", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASHION_DATA_DIR"] = folder
        ingest()
        for preset in options.presets:
            lines.append(tell(preset, options.seeds))
            print(lines[-1], file=sys.stderr)
    text = "\n".join([*lines, NOTES])
    options.to.write_text(text)
    print(text)


def tell(preset: str, seeds: list[int]) -> str:
    """A line of the table."""
    cards, hashes = zip(*(in_a_process(preset, seed) for seed in seeds), strict=True)
    again = "not tried"
    if cards[0].train_seconds < TWICE_BELOW:
        again = f"{'yes' if in_a_process(preset, seeds[0])[1] == hashes[0] else '**no**'}, {hashes[0][:16]}"
    tests = [card.test.accuracy for card in cards]
    spread = f" ± {statistics.stdev(tests):.4f}" if len(tests) > 1 else ""
    cells = [
        f"`{preset}`",
        PRESETS[preset].layers(cards[0].contract),
        f"{count_parameters(PRESETS[preset].config, cards[0].contract):,}",
        str(len(cards[0].history)),
        f"{statistics.median(card.train_seconds for card in cards):.1f}",
        pair((card.history[-1].accuracy, card.history[-1].loss) for card in cards),
        pair((card.train.accuracy, card.train.loss) for card in cards),
        f"**{statistics.mean(tests):.4f}**{spread}",
        ", ".join(f"{accuracy:.4f}" for accuracy in tests),
        KERAS.get(preset, ""),
        again,
    ]
    return f"| {' | '.join(cells)} |"


def pair(found: Iterable[tuple[float, float]]) -> str:
    """Mean accuracy and mean loss over the seeds."""
    accuracies, losses = zip(*found, strict=True)
    return f"{statistics.mean(accuracies):.4f}, {statistics.mean(losses):.4f}"


def in_a_process(preset: str, seed: int) -> tuple[ModelCard, str]:
    """`train_once` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(train_once, preset, seed).result()


def train_once(preset: str, seed: int) -> tuple[ModelCard, str]:
    """What is known of the model, and the SHA-256 of its weights."""
    receipt = Validated(ingest().dataset, expectations=0, docs=Path(), checked_at="")
    trained = train(receipt, configure(preset, {"seed": seed}))
    return write_card(preset, receipt, trained), sha256(save(trained.network.state_dict())).hexdigest()


if __name__ == "__main__":
    main()
