"""Compare what the gate passes with what a plain comparison of accuracies would pass.

    .venv/bin/python -m benchmarks.gate [--seeds 8] [--preset dense-128]

Trains and evaluates each model once, then judges each challenger against each champion, as a promotion does.
FASHION_SOURCE names the archives.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.train import describe_machine
from components.catalogues.fashion_mnist import CLASSES
from components.contract import Dataset, Labels
from components.dataset.ingest import ingest
from components.dataset.manifest import Examples, read_split
from components.dataset.validate import validate
from components.evaluation.card import write_card
from components.model.classifier import Classifier
from components.model.mlp import to_mlp
from components.promotion.bounds import GateBounds
from components.promotion.gate import Performance, Trial, judge
from components.promotion.noise import Answers, measure_noise
from components.promotion.robustness import DISTURBANCES
from components.promotion.trial import perform
from components.settings import CHECKOUT
from components.training.presets import PRESETS, configure
from components.training.train import train

TSHIRT = CLASSES.index("T-shirt/top")
HEAD = """
| challenger | pairs | mean change of accuracy | gate passes | "not less accurate" passes | most frequent rejections |
| --- | ---: | ---: | ---: | ---: | --- |"""


@dataclass(frozen=True)
class Measured:
    """A model's results on the test images."""

    labels: Labels  # the true ones, (n,)
    answers: Answers
    performance: Performance

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each prediction is correct, bool (n,)."""
        right: NDArray[np.bool_] = self.answers.labels == self.labels
        return right


def main() -> None:
    """Train, measure, judge every pair, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--preset", choices=PRESETS, default="dense-128", metavar="PRESET")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "gate.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASHION_DATA_DIR"] = folder
        dataset = ingest().dataset
        test = read_split(dataset, "test")
        trained = [_train(dataset, options.preset, seed) for seed in range(options.seeds)]
        kinds = {
            name: [_measure(change(model), test, dataset) for model in trained] for name, change in CHANGES.items()
        }
    live = kinds["another seed"]
    lines = [
        "# `python -m benchmarks.gate`",
        "",
        *describe_machine(),
        "",
        f"{len(live)} seeds of `{options.preset}`. No time is measured, so other load does not matter.",
    ]
    lines += [
        HEAD,
        *(_describe_kind(name, live, challengers) for name, challengers in kinds.items()),
        "",
        *_describe_noise(live),
    ]
    options.to.write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")


def _train(dataset: Dataset, preset: str, seed: int) -> Classifier:
    validated = validate(dataset)
    done = train(validated, configure(preset, {"seed": seed}))
    card = write_card(preset, validated, done)
    print(f"seed {seed}: {card.test.accuracy:.4f}", file=sys.stderr)
    return Classifier(f"fashion-mlp:seed{seed:08d}", card, done.network.to_numpy())


def _measure(model: Classifier, test: Examples, dataset: Dataset) -> Measured:
    answers, performance = perform(model, test, dataset)
    return Measured(test.labels, answers, performance)


def _changed(model: Classifier, change: Callable[[dict[str, torch.Tensor]], object]) -> Classifier:
    network = to_mlp(model.network)
    state = network.state_dict()
    change(state)
    network.load_state_dict(state)
    return replace(model, network=network.to_numpy())


def _slightly_noisy(state: dict[str, torch.Tensor]) -> None:
    """Add noise that costs about one percentage point of accuracy, like early stopping or a careless quantization."""
    generator = torch.Generator().manual_seed(0)
    for weight in state.values():
        weight.add_(torch.randn(weight.shape, generator=generator) * weight.std() * 0.12)


CHANGES: dict[str, Callable[[Classifier], Classifier]] = {
    "another seed": lambda model: model,
    "another seed, slightly noisy weights": lambda model: _changed(model, _slightly_noisy),
    "another seed, shirts more often classified as T-shirts": lambda model: _changed(
        model, lambda state: state["logits.bias"][TSHIRT].add_(1)
    ),
    "another seed, overconfident: half the temperature": lambda model: replace(
        model,
        card=replace(
            model.card,
            calibration=replace(model.card.calibration, temperature=model.card.calibration.temperature / 2),
        ),
    ),
}


def _describe_kind(name: str, live: list[Measured], challengers: list[Measured]) -> str:
    differences, passed, not_less, reasons = [], 0, 0, Counter[str]()
    seeds = itertools.permutations(range(len(live)), 2)
    pairs = [(challengers[one], live[other]) for one, other in seeds]
    for challenger, champion in pairs:
        ours, theirs = challenger.performance.metrics.accuracy, champion.performance.metrics.accuracy
        verdict = judge(_trial(challenger, champion), GateBounds())
        differences.append(ours - theirs)
        passed += verdict.passed
        not_less += ours >= theirs
        reasons.update(check.name for check in verdict.checks if not check.passed)
    worst = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    shares = f"{passed / len(pairs):.0%} | {not_less / len(pairs):.0%}"
    return f"| {name} | {len(pairs)} | {statistics.mean(differences):+.4f} | {shares} | {worst} |"


def _trial(challenger: Measured, champion: Measured) -> Trial:
    return Trial(
        challenger=challenger.performance,
        champion=champion.performance,
        noise=measure_noise(challenger.labels, challenger.answers, champion.answers, len(CLASSES)),
        seconds=0.0,
        batch_seconds=0.0,
        fixed=int((challenger.right & ~champion.right).sum()),
        regressed=int((champion.right & ~challenger.right).sum()),
        leaked=0,
        receipt="",
        probe_error=0.0,
        chance=1.0,
        best=champion.performance.metrics.accuracy,
    )


def _describe_noise(models: list[Measured]) -> Iterable[str]:
    """The variation between seeds, which the margins allow for."""
    yield "| between seeds | mean | standard deviation |\n| --- | ---: | ---: |"
    for name, read in FIGURES.items():
        values = [read(model.performance) for model in models]
        yield f"| {name} | {statistics.mean(values):.4f} | {statistics.stdev(values):.4f} |"


def _lost(disturbance: str) -> Callable[[Performance], float]:
    return lambda one: one.robustness[disturbance][1] - one.robustness[disturbance][0]


FIGURES: dict[str, Callable[[Performance], float]] = {
    "accuracy": lambda one: one.metrics.accuracy,
    **{f"F1 of {name}": partial(lambda row, one: one.metrics.classes[row].f1, row) for row, name in enumerate(CLASSES)},
    "log loss, nats": lambda one: one.metrics.calibrated.loss,
    "calibration error": lambda one: one.metrics.calibrated.calibration_error,
    **{f"accuracy lost, {name}": _lost(name) for name in DISTURBANCES},
}


if __name__ == "__main__":
    main()
