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
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from benchmarks.train import describe_machine
from components.audit.folds import predict_unseen
from components.audit.labels import find_suspects
from components.contract import ModelCard, Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.evaluation.card import write_card
from components.model.tensors import to_input
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
Result = TypeVar("Result")
AUDITED_WITH = "dense-128"  # the preset of `fashion audit`
HEAD = """
| preset | layers | weights | epochs | seconds | last epoch | train split | test | seeds | undoubted | Keras | again |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"""
NOTES = """
- seconds: median training time over the seeds, including validation
- last epoch: mean accuracy and loss over the steps, in training mode on augmented images, as Keras reports them
- train split: accuracy and loss of the trained model on all 60,000 images, including the validation rows
- test: mean accuracy ± standard deviation over the seeds; then the accuracy of each seed
- undoubted: mean test accuracy without the {doubted} of {images:,} test images whose labels `fashion audit` doubts:
  the mean of five dense-128 networks, trained on the training split only, is confident of another class. Such an image
  is mislabelled or hard: the column bounds what wrong labels cost, and is no estimate of the accuracy without them
- Keras: test accuracy of the same preset in Keras 3, one seed
- again: whether a second training with the first seed gave the same weights, and the first 16 hex digits of
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
        undoubted = in_a_process(find_undoubted)
        for preset in options.presets:
            lines.append(describe_preset(preset, options.seeds, undoubted))
            print(lines[-1], file=sys.stderr)
    text = "\n".join([*lines, NOTES.format(doubted=(~undoubted).sum(), images=len(undoubted))])
    options.to.write_text(text)
    print(text)


def find_undoubted() -> NDArray[np.bool_]:
    """Whether `fashion audit` does not doubt the label, of each test image."""
    dataset = ingest().dataset
    train_split, test_split = read_split(dataset, "train"), read_split(dataset, "test")
    found = np.ones(len(test_split.ids), bool)
    probabilities = predict_unseen(train_split, test_split, configure(AUDITED_WITH))[1]
    found[[suspect.row for suspect in find_suspects(test_split, probabilities)]] = False
    return found


def describe_preset(preset: str, seeds: list[int], undoubted: NDArray[np.bool_]) -> str:
    """A row of the table."""
    cards, hashes, right = zip(*(in_a_process(train_once, preset, seed) for seed in seeds), strict=True)
    reproducible = "not tested"
    if cards[0].train_seconds < MAX_SECONDS_TO_REPEAT:
        again = in_a_process(train_once, preset, seeds[0])[1]
        reproducible = f"{'yes' if again == hashes[0] else '**no**'}, {hashes[0][:16]}"
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
        f"{np.mean([one[undoubted] for one in right]):.4f}",
        KERAS.get(preset, ""),
        reproducible,
    ]
    return f"| {' | '.join(cells)} |"


def pair(found: Iterable[tuple[float, float]]) -> str:
    """Mean accuracy and mean loss over the seeds."""
    accuracies, losses = zip(*found, strict=True)
    return f"{statistics.mean(accuracies):.4f}, {statistics.mean(losses):.4f}"


def in_a_process(run: Callable[..., Result], *given: object) -> Result:
    """The result of a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, *given).result()


def train_once(preset: str, seed: int) -> tuple[ModelCard, str, NDArray[np.bool_]]:
    """The model card, the SHA-256 of the weights, and whether each test image is classified right."""
    receipt = Validated(ingest().dataset, expectations=0, docs=Path(), checked_at="")
    trained = train(receipt, configure(preset, {"seed": seed}))
    card, weights = write_card(preset, receipt, trained), sha256(save(trained.network.state_dict())).hexdigest()
    test = read_split(receipt.dataset, "test")
    with torch.inference_mode():
        right = trained.network(to_input(test.images)).argmax(1).numpy() == test.labels
    return card, weights, right


if __name__ == "__main__":
    main()
