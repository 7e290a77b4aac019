"""Simulate what the gate passes on small test splits.

    .venv/bin/python -m benchmarks.gate_sizes [--draws 200]

Samples logits instead of training models: the logit of the true class is higher by `strength`, and all logits have
Gaussian noise. Two retrainings of one preset share part of the noise, because an image that is hard for one is hard for
the other. The strength determines the accuracy, the shared part the number of images that only one model gets right.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from components.contract import Calibration, DataContract, ImageSpec, Labels, Metrics, ModelCard
from components.evaluation.compare import find_chance
from components.evaluation.metrics import measure
from components.promotion.bounds import GateBounds
from components.promotion.gate import Performance, Trial, judge, tango_score
from components.promotion.margins import ENOUGH, ERRORS_OF_ACCURACY, MAX_MARGIN, widen
from components.promotion.noise import Answers, Right, measure_noise, to_answers
from components.settings import CHECKOUT

CONFIDENCE, MARGIN = GateBounds().confidence, GateBounds().margin
HARDER = 0.35  # class strengths range from 0.65 to 1.35 of their mean, so that F1 scores vary realistically
BETWEEN = 0.04  # standard deviation of a class's strength between retrainings: 0.004 of accuracy, as on Fashion-MNIST
DISTURBED = {"moved by 2 pixels": 1.0, "0.7 as bright": 0.2, "1.3 as bright": 0.2, "with noise": 0.4}  # added noise
WORSE = 0.05  # drop in accuracy
FIXED = GateBounds(  # the margins before they depended on the number of images
    margin=0.005, f1_margin=0.02, f1_margins={}, loss_margin=0.02, calibration_margin=0.01, robustness_margin=0.03
)

# --- accuracy alone ---


def passes(rows: int, uneven: float, lost: float, draws: int = 4_000, seed: int = 0) -> float:
    """The share of challengers that pass the accuracy check.

    Args:
        rows: number of test images.
        uneven: share of images that only one of two equally good models gets right.
        lost: true drop in the challenger's accuracy.
        draws: number of challengers.
        seed: random seed.
    """
    shares = [uneven / 2, uneven / 2 + lost, 1 - uneven - lost]
    limit = norm.ppf((1 + CONFIDENCE) / 2)
    counts = np.random.default_rng(seed).multinomial(rows, shares, draws)
    passed = 0
    for fixed, regressed, _ in counts.tolist():
        margin = margin_of(rows, fixed, regressed)
        passed += fixed + regressed == 0 or tango_score(fixed, regressed, rows, -margin) >= limit
    return passed / draws


def margin_of(rows: int, fixed: int, regressed: int) -> float:
    """The accuracy margin, given the images that only the challenger or only the champion gets right."""
    share, difference = (fixed + regressed) / rows, (fixed - regressed) / rows
    error = math.sqrt((share - difference**2) / rows)
    return min(MAX_MARGIN, widen(MARGIN, ERRORS_OF_ACCURACY * error, rows, ENOUGH))


# --- the whole gate ---


@dataclass(frozen=True)
class Setup:
    """A test split, and the accuracy and agreement of two retrainings."""

    name: str
    supports: tuple[int, ...]  # images per class
    accuracy: float
    uneven: float  # share of images that only one of the two gets right


@dataclass(frozen=True)
class Population:
    """The distribution that retrainings are sampled from."""

    labels: Labels  # (n,)
    strengths: NDArray[np.float64]  # (classes,)
    weaker: float  # factor on the strengths that lowers the accuracy by WORSE
    shared: float  # share of the noise variance common to two retrainings
    contract: DataContract


Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # of logits, (n, classes)


def populate(setup: Setup) -> Population:
    """Find the strengths and the shared noise that produce a setup."""
    classes = len(setup.supports)
    spread = np.linspace(1 - HARDER, 1 + HARDER, classes)[np.random.default_rng(1).permutation(classes)]
    shares = np.array(setup.supports) / sum(setup.supports)
    random = np.random.default_rng(2)
    labels = random.choice(classes, 4_000 if classes > 50 else 20_000, p=shares).astype(np.uint16)
    first, own, other = (random.normal(size=(len(labels), classes)) for _ in range(3))

    def accuracy(strength: float) -> float:
        return float(_right(_draw(labels, spread * strength, first), labels).mean())

    def uneven(shared: float) -> float:
        noises = (math.sqrt(shared) * first + math.sqrt(1 - shared) * one for one in (own, other))
        ours, theirs = (_right(_draw(labels, spread * strength, noise), labels) for noise in noises)
        return float((ours != theirs).mean())

    strength = _search(accuracy, setup.accuracy, 0, 20)
    shared = _search(lambda share: -uneven(share), -setup.uneven, 0, 1)
    weaker = _search(accuracy, setup.accuracy - WORSE, 0, 20) / strength
    contract = DataContract("simulated", tuple(f"class {label}" for label in range(classes)), ImageSpec(8, 8), "none")
    truth = np.repeat(np.arange(classes), setup.supports).astype(np.uint16)
    return Population(truth, spread * strength, weaker, shared, contract)


def draw_trial(
    population: Population, random: np.random.Generator, weaker: float = 1.0, change: Change | None = None
) -> Trial:
    """Sample two retrainings of one preset on the test images; the challenger may be weaker or broken."""
    size = (len(population.labels), len(population.strengths))
    shared, disturbance = random.normal(size=(2, *size))

    def retrain(factor: float, change: Change | None) -> tuple[Answers, Performance]:
        strengths = factor * (population.strengths + random.normal(0, BETWEEN, size[1]))
        own, own_disturbance = random.normal(size=(2, *size))
        noise = math.sqrt(population.shared) * shared + math.sqrt(1 - population.shared) * own
        numbers = _draw(population.labels, strengths, noise)
        moved = math.sqrt(0.8) * disturbance + math.sqrt(0.2) * own_disturbance
        change = change or (lambda logits: logits)
        disturbed = {name: _right(change(numbers + by * moved), population.labels) for name, by in DISTURBED.items()}
        logits = change(numbers * strengths.mean())  # makes their softmax calibrated
        return _perform(logits, population, disturbed)

    theirs, champion = retrain(1.0, None)
    ours, challenger = retrain(weaker, change)
    right, other = (one.labels == population.labels for one in (ours, theirs))
    fixed, regressed = int((right & ~other).sum()), int((other & ~right).sum())
    noise = measure_noise(population.labels, ours, theirs, size[1])
    best = champion.metrics.accuracy
    return Trial(challenger, champion, noise, 0, 0, fixed, regressed, find_chance(fixed, regressed), 0, "", 0, best)


def _draw(labels: Labels, strengths: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    numbers = noise.copy()
    numbers[np.arange(len(labels)), labels] += strengths[labels]
    return numbers


def _right(numbers: NDArray[np.float64], labels: Labels) -> Right:
    right: Right = numbers.argmax(axis=1) == labels
    return right


def _search(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Bisect an increasing function; the result is approximate, because the function is a step function of samples."""
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < wanted else (low, middle)
    return (low + high) / 2


def _perform(
    logits: NDArray[np.float64], population: Population, disturbed: dict[str, Right]
) -> tuple[Answers, Performance]:
    tensor, labels = torch.tensor(logits, dtype=torch.float32), population.labels
    clean = _right(logits, labels)
    metrics = measure(tensor, labels, population.contract.classes, "test", "0" * 16, Calibration())
    robustness = {name: (float(right.mean()), float(clean.mean())) for name, right in disturbed.items()}
    performance = Performance("simulated", _write_card(population.contract, metrics), metrics, robustness, 1)
    return to_answers(tensor, labels, 1.0, clean, disturbed), performance


def _write_card(contract: DataContract, metrics: Metrics) -> ModelCard:
    return ModelCard(
        preset="",
        contract=contract,
        model={},
        training={},
        hardware={},
        source="simulated",
        dataset_version="",
        expectations=1,
        calibration=Calibration(),
        train=metrics,
        test=metrics,
        history=(),
        best_epoch=0,
        train_seconds=0,
        created_at="",
        git_commit="",
        packages={},
    )


def collapse(label: int, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Never predict one class."""
    changed = logits.copy()
    changed[:, label] = -99
    return changed


def exchange(label: int, other: int, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Swap two classes."""
    changed = logits.copy()
    changed[:, [label, other]] = logits[:, [other, label]]
    return changed


@dataclass(frozen=True)
class Passed:
    """Shares of challengers that pass."""

    accuracy: float  # the accuracy check
    others: float  # all other checks
    gate: float  # all checks
    fixed: float  # all checks, with margins independent of the number of images


def try_gate(
    population: Population, draws: int, weaker: float = 1.0, change: Change | None = None, seed: int = 0
) -> Passed:
    """Judge challengers, each against another retraining."""
    random = np.random.default_rng(seed)
    counts = np.zeros(4)
    for _ in range(draws):
        trial = draw_trial(population, random, weaker, change)
        checks = judge(trial, GateBounds()).checks
        accuracy = all(check.passed for check in checks if check.name == "change of accuracy")
        others = all(check.passed for check in checks if check.name != "change of accuracy")
        counts += accuracy, others, accuracy and others, judge(trial, FIXED).passed
    return Passed(*(counts / draws).tolist())


# --- the tables ---

EVEN = [(200, 10), (400, 10), (1_000, 10), (10_000, 10)]  # test images, classes
LIKENESS = [(0.90, 0.02), (0.90, 0.06), (0.78, 0.06), (0.78, 0.12)]  # accuracy, uneven
SKEWED = (80, 70, 55, 45, 35, 28, 22, 20, 17)  # photos per class, 372 in total


def list_setups() -> list[Setup]:
    """Balanced classes by number of images, skewed classes, and many classes."""
    even = [
        Setup(f"{rows:,}", (rows // classes,) * classes, accuracy, uneven)
        for rows, classes in EVEN
        for accuracy, uneven in LIKENESS
    ]
    skewed = [Setup("372, skewed", SKEWED, accuracy, uneven) for accuracy, uneven in LIKENESS[1::2]]
    many = [Setup(f"{100 * each:,}, 100 classes", (each,) * 100, 0.78, 0.12) for each in (20, 10)]
    return [*even, *skewed, *many]


def main() -> None:
    """Simulate, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="challengers per row of the second table")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "gate_sizes.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["# `python -m benchmarks.gate_sizes`", "", *_describe_accuracy(), ""]
    lines += _describe_gate(options.draws)
    options.to.write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")


def _describe_accuracy() -> list[str]:
    shares = (0.02, 0.06, 0.12)
    rows = [
        f"| {rows:,} | {share:.0%} | {margin_of(rows, round(rows * share / 2), round(rows * share / 2)):.4f} "
        f"| {passes(rows, share, 0):.0%} | {passes(rows, share, 0.02):.1%} | {passes(rows, share, WORSE):.1%} |"
        for rows, _ in EVEN
        for share in shares
    ]
    return [
        "The accuracy check alone, 4,000 challengers per row. `uneven`: share of images that only one of two equally",
        "good models gets right; a worse challenger loses additional images.",
        "",
        "| test images | uneven | margin | equal passes | worse by 0.02 passes | worse by 0.05 passes |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        *rows,
    ]


def _describe_gate(draws: int) -> list[str]:
    lines = [
        f"The whole gate: {draws} equal challengers and {draws // 2} of each other kind; a quarter of that on 10,000",
        "images. The true accuracies of retrainings of one preset have a standard deviation of 0.004. `others`: all",
        "checks except accuracy. `fixed`: the whole gate with the margins for 10,000 images. The last three columns:",
        "how often the gate passes such a challenger. Class collapsed: the smallest class, or the first of several, is",
        "never predicted.",
        "",
        "| test images | accuracy | uneven | equal: accuracy | equal: others | equal: gate | equal: fixed "
        "| worse by 0.05 | class collapsed | two classes swapped |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for setup in list_setups():
        lines.append(_describe_setup(setup, draws // 4 if sum(setup.supports) >= ENOUGH else draws))
        print(lines[-1], flush=True)
    return lines


def _describe_setup(setup: Setup, draws: int) -> str:
    population, label = populate(setup), int(np.argmin(setup.supports))
    equal = try_gate(population, draws)
    bad = [
        try_gate(population, draws // 2, weaker=population.weaker),
        try_gate(population, draws // 2, change=partial(collapse, label)),
        try_gate(population, draws // 2, change=partial(exchange, label, label - 1)),
    ]
    shown = [equal.accuracy, equal.others, equal.gate, equal.fixed, *(one.gate for one in bad)]
    cells = " | ".join(f"{share:.0%}" for share in shown)
    return f"| {setup.name} | {setup.accuracy:.2f} | {setup.uneven:.0%} | {cells} |"


if __name__ == "__main__":
    main()
