"""Train every preset with several seeds and write the table of docs/performance.md.

    .venv/bin/python -m benchmarks.recipes [--seeds 0 1 2] [--presets dense-128 ...]

Each training runs in a separate process, on the archives that FASHION_SOURCE names. A preset that trains in less than a
minute is trained again with the first seed and must produce the same weights. The test split is only read after
training.
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

KERAS = {  # the same preset in Keras 3, one seed
    "ann-128x2": "0.874",
    "dense-128": "0.873",
    "dense-dropout": "0.889 (256-128, 20 epochs)",
    "mlp-512x256": "0.874",
    "dense-128-logits": "0.882",
}
MAX_SECONDS_TO_REPEAT = 60
HEAD = """
| preset | layers | parameters | epochs | seconds | last epoch | train split | test | seeds | Keras | reproducible |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"""
NOTES = """
- seconds: median training time over the seeds, including validation
- last epoch: mean accuracy and loss over the steps, in training mode on augmented images, as Keras reports them
- train split: accuracy and loss of the trained model on all 60,000 images, including the validation rows
- test: mean accuracy ± standard deviation over the seeds; then the accuracy of each seed
- Keras: test accuracy of the same preset in Keras 3, one seed
- reproducible: whether a second training with the first seed gave the same weights, and the first 16 hex digits of
  their SHA-256
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
            lines.append(describe_preset(preset, options.seeds))
            print(lines[-1], file=sys.stderr)
    text = "\n".join([*lines, NOTES])
    options.to.write_text(text)
    print(text)


def describe_preset(preset: str, seeds: list[int]) -> str:
    """A row of the table."""
    cards, hashes = zip(*(in_a_process(preset, seed) for seed in seeds), strict=True)
    reproducible = "not tested"
    if cards[0].train_seconds < MAX_SECONDS_TO_REPEAT:
        reproducible = f"{'yes' if in_a_process(preset, seeds[0])[1] == hashes[0] else '**no**'}, {hashes[0][:16]}"
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
        reproducible,
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
    """The model card, and the SHA-256 of the weights."""
    receipt = Validated(ingest().dataset, expectations=0, docs=Path(), checked_at="")
    trained = train(receipt, configure(preset, {"seed": seed}))
    return write_card(preset, receipt, trained), sha256(save(trained.network.state_dict())).hexdigest()


if __name__ == "__main__":
    main()
