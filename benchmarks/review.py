"""Measure what the review queue is worth: labels chosen by it, and its estimate of the accuracy on live traffic.

    .venv/bin/python -m benchmarks.review [--seeds 5] [--budget 1000] [--simulations 1000]

1. A model is trained on 2,000 labelled images. For five days, other images of the training split are sent as traffic
   through the code that keeps images for review. Each day, a person who is always right labels a fifth of the budget
   in the order of the queue, and the model is trained again. It is compared with one whose labels are drawn at random.
2. In simulated weeks of traffic, the estimate and its 95 % interval are compared with the true share of right answers.

FASHION_SOURCE names the archives.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from benchmarks.train import describe_machine
from components.contract import Images, Predictions
from components.dataset.ingest import ingest
from components.dataset.manifest import Examples, read_split
from components.evaluation.calibrate import calibrate, calibrate_known
from components.model.tensors import to_input
from components.monitoring.prediction_log import LoggedAnswer
from components.review.bounds import ReviewBounds
from components.review.decisions import Decision
from components.review.estimate import estimate
from components.review.keeping import AdaptiveShare, Keeper, per_hour
from components.review.queue import ReviewQueue
from components.settings import CHECKOUT
from components.training.presets import configure
from components.training.train import Run, Trained

DAY, HOUR = 86_400, 3_600  # seconds
LABELLED, HELD_OUT = 2_000, 10_000  # rows of the training split: labelled at the start; to choose by
NIGHTS = 5  # after each of which the model is trained again
REPEATS = 3  # of the choice of labels: one alone varies by a point
MOST, KEPT_DAYS = 975, 14  # of `ReviewBounds`: random images kept, and days
TRAININGS = 4  # on each set of labels
METHODS = ("before", "random", "queue")


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--preset", default="dense-128")
    parser.add_argument("--simulations", type=int, default=1_000)
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "review.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["# `python -m benchmarks.review`", "", *describe_machine(timed=False)]
    if options.simulations:
        lines += ["", *describe_coverage(options.simulations)]
    if options.seeds:
        lines += ["", *describe_labelling(options.preset, options.seeds, options.budget)]
    text = "\n".join([*lines, ""])
    options.to.write_text(text)
    print(text)


# --- labels chosen by the queue, or at random ---


@dataclass(frozen=True)
class Result:
    """Accuracies of models trained on as many labels, means of all repetitions."""

    validation: dict[str, float]
    test: dict[str, float]


def describe_labelling(preset: str, seeds: int, budget: int) -> list[str]:
    """Run the comparison for each seed, as a table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASHION_DATA_DIR"] = folder
        dataset = ingest().dataset
        train, test = read_split(dataset, "train"), read_split(dataset, "test")
    return tabulate([compare(train, test, preset, seed, budget) for seed in range(seeds)], preset, budget)


def tabulate(results: list[Result], preset: str, budget: int) -> list[str]:
    """The table of all seeds."""
    seeds, rows = len(results), list[str]()
    for split in ("validation", "test"):
        for method in METHODS:
            found = [getattr(result, split)[method] for result in results]
            cells = " | ".join(f"{one:.4f}" for one in found)
            rows.append(f"| {split} | {method} | {cells} | {statistics.mean(found):.4f} |")
    wins = sum(result.test["queue"] > result.test["random"] for result in results)
    gains = [result.test["queue"] - result.test["random"] for result in results]
    return [
        f"## {budget:,} labels, chosen by the queue or at random",
        "",
        f"`{preset}`, trained on {LABELLED:,} labelled images. On each of {NIGHTS} days, {budget // NIGHTS:,} more of "
        f"some 9,600 images of traffic are labelled, and the model is trained again. Each number is the mean of "
        f"{REPEATS} repetitions, and of {TRAININGS} trainings at the end of each. "
        f"Test accuracy with the labels of the queue is higher in {wins} of {seeds} seeds, by "
        f"{statistics.mean(gains):.4f} on average ({min(gains):.4f} to {max(gains):.4f}).",
        "",
        "| split | labels | " + " | ".join(f"seed {seed}" for seed in range(seeds)) + " | mean |",
        "| --- | --- |" + " ---: |" * (seeds + 1),
        *rows,
    ]


def compare(train: Examples, test: Examples, preset: str, seed: int, budget: int) -> Result:
    """Train on the labels at the start, and on those of each way to choose more."""
    places = np.random.default_rng(seed).permutation(len(train.labels))
    start, held_out, live = np.split(places, [LABELLED, LABELLED + HELD_OUT])
    held = Examples([], train.images[held_out], train.labels[held_out], train.contract)
    validation, tests = dict[str, float](), dict[str, float]()
    for method in METHODS:
        found = []
        for repeat in range(REPEATS):
            rows = start if method == "before" else choose(train, start, live, preset, method, [seed, repeat], budget)
            trained = [fit(train, rows, preset, 100 * repeat + number) for number in range(TRAININGS)]
            found += [(accuracy(one, held), accuracy(one, test)) for one in trained]
        validation[method], tests[method] = (statistics.mean(some) for some in zip(*found, strict=True))
    print(seed, validation, tests, flush=True)
    return Result(validation, tests)


def choose(
    train: Examples,
    start: NDArray[np.intp],
    live: NDArray[np.intp],
    preset: str,
    method: str,
    seeds: list[int],
    budget: int,
) -> NDArray[np.intp]:
    """Label some of each day's traffic, and train again every night. Returns all labelled rows."""
    random, labelled = np.random.default_rng(seeds), start
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        bounds = ReviewBounds(Path(name) / "review")
        keeper = Keeper(bounds, "live", lambda: None, seed=seeds[-1])
        queue = ReviewQueue(bounds, train.contract, Path(name) / "inbox")
        for day, part in enumerate(np.array_split(random.permutation(live), NIGHTS)):
            number = budget // NIGHTS
            if method == "random":
                chosen = random.choice(part, number, replace=False)
            else:
                for answer in send(train.images[part], fit(train, labelled, preset, day), NIGHTS - day):
                    keeper.add(answer)
                chosen = label_next(queue, number, train, live)
            labelled = np.union1d(labelled, chosen)
    return labelled


def label_next(queue: ReviewQueue, number: int, train: Examples, live: NDArray[np.intp]) -> NDArray[np.intp]:
    """Label what the queue shows. Returns the rows."""
    rows, chosen = {train.images[row].tobytes(): row for row in live}, list[int]()
    while len(chosen) < number and (shown := queue.take("benchmark")):
        row = rows[shown.pixels.tobytes()]
        queue.label(shown.name, "benchmark", int(train.labels[row]))
        chosen.append(int(row))
    return np.array(chosen, np.intp)


def fit(train: Examples, rows: NDArray[np.intp], preset: str, seed: int) -> Trained:
    """Train on some rows of the training split."""
    rows = np.sort(rows)
    some = Examples([train.ids[row] for row in rows], train.images[rows], train.labels[rows], train.contract)
    run = Run(some, configure(preset, {"seed": seed}))
    while not run.is_finished:
        run.advance()
    return run.finish()


def accuracy(trained: Trained, examples: Examples) -> float:
    """Share of right answers."""
    with torch.inference_mode():
        found = torch.cat([trained.network(part) for part in to_input(examples.images).split(8192)]).argmax(1).numpy()
    return float((found == examples.labels).mean())


def send(images: Images, trained: Trained, days: int) -> Iterator[LoggedAnswer]:
    """Answers to one image each, evenly over a day that began some days ago."""
    calibration = calibrate(trained.validation_logits, trained.validation_labels)
    bars, network = calibration.bars(len(trained.network.contract.classes)), trained.network
    if network.known is None or trained.validation_distances is None:
        raise SystemExit("the model does not detect unknown inputs")
    known = calibrate_known(trained.validation_distances, network.known)
    measure, now = network.known.measure(network.contract), time.time() // DAY * DAY  # the same at any time of day
    with torch.inference_mode():
        x = to_input(images)
        hidden = network.hidden(x)
        probabilities = torch.softmax(network[-1](hidden) / calibration.temperature, 1).numpy()
        is_known = known.is_known(measure(x.numpy(), hidden.numpy()))
    labels = probabilities.argmax(1).astype(np.uint16)
    sure = probabilities.max(1) > bars[labels]
    for row in range(len(images)):
        one = slice(row, row + 1)
        predictions = Predictions(
            "m", network.contract.classes, labels[one], probabilities[one], sure[one], is_known[one]
        )
        yield LoggedAnswer(now - DAY * (days - row / len(images)), predictions, images[one])


# --- the estimate of the accuracy ---


@dataclass(frozen=True)
class Setup:
    """Traffic of a service, and the people who label."""

    days: int
    an_hour: float  # mean number of images
    accuracy: float
    swing: float  # how much lower the accuracy is at night, and on the last day than on the first
    sessions: int  # times at which people label
    images: int  # random images that they see in each
    skipped: float  # share of these that they skip


def draw_setup(source: np.random.Generator) -> Setup:
    """Draw one of many kinds of service."""
    return Setup(
        days=int(source.integers(1, 11)),
        an_hour=float(np.exp(source.uniform(np.log(20), np.log(3000)))),
        accuracy=float(source.uniform(0.65, 0.995)),
        swing=float(max(0, source.uniform(-0.2, 0.25))),
        sessions=int(source.integers(1, 8)),
        images=int(source.integers(15, 80)),
        skipped=float(source.uniform(0, 0.1)),
    )


def simulate(setup: Setup, seed: int) -> tuple[list[Decision], float]:
    """Traffic with a daily cycle and busy hours, and the labels of its random images.

    Returns:
        The decisions, and the true share of right answers.
    """
    source = np.random.default_rng(seed)
    waiting = list[tuple[float, float, float, bool]]()  # time, rate, rank, whether the answer is right
    share = AdaptiveShare(lambda: per_hour(MOST - len(waiting), MOST, KEPT_DAYS), np.random.default_rng(seed))
    last = setup.days * 24 - 1
    sessions = Counter([last, *source.integers(0, last + 1, setup.sessions - 1).tolist()])
    decisions, right, images = list[Decision](), 0, 0
    for hour in range(setup.days * 24):
        night = 0.5 * (1 + np.cos(2 * np.pi * (hour - 3) / 24))
        number = int(source.poisson(setup.an_hour * (1.9 - 1.8 * night) * source.lognormal(0, 0.5)))
        chance = setup.accuracy - setup.swing * (0.5 * night + 0.5 * hour / last)
        answers = source.random(number) < chance
        right, images = right + int(answers.sum()), images + number
        for place, answer in enumerate(np.array_split(answers, 4)):
            when = (hour + place / 4) * HOUR
            for row, rate, rank in share.draw(len(answer), when):
                waiting.append((when, rate, rank, bool(answer[row])))
        del waiting[: max(0, len(waiting) - MOST)]  # the oldest
        if hour in sessions:
            now, is_full = (hour + 1) * HOUR, len(waiting) >= MOST - 1
            oldest = waiting[0][0] if is_full and waiting else max(0.0, now - KEPT_DAYS * DAY)
            shown = sorted(waiting, key=itemgetter(2))[: sessions[hour] * setup.images]
            taken = set(shown)
            waiting[:] = [one for one in waiting if one not in taken]
            decisions += [label(one, now, oldest, setup, source) for one in shown]
    return decisions, right / max(images, 1)


def label(
    image: tuple[float, float, float, bool], now: float, oldest: float, setup: Setup, source: np.random.Generator
) -> Decision:
    """Label an image, or skip it."""
    when, rate, rank, is_right = image
    name = None if source.random() < setup.skipped else "bag" if is_right else "hat"
    return Decision("random", "live", when, now, "m", "bag", name, rate, rank, oldest, shown=True)


def describe_coverage(simulations: int) -> list[str]:
    """The share of simulations whose interval covers the truth, as a table."""
    setups = [draw_setup(np.random.default_rng(seed)) for seed in range(simulations)]
    found = [(setup, *simulate(setup, seed)) for seed, setup in enumerate(setups)]
    estimates = [(setup, estimate(decisions), truth) for setup, decisions, truth in found if decisions]
    rows = {
        "all": estimates,
        "fewer than 100 labels": [one for one in estimates if one[1].labelled < 100],
        "100 labels or more": [one for one in estimates if one[1].labelled >= 100],
        "accuracy above 0.9": [one for one in estimates if one[2] > 0.9],
        "accuracy below 0.7": [one for one in estimates if one[2] < 0.7],
        "fewer than 10,000 images": [one for one in estimates if one[0].days * 24 * one[0].an_hour < 10_000],
        "100,000 images or more": [one for one in estimates if one[0].days * 24 * one[0].an_hour >= 100_000],
        "one session": [one for one in estimates if one[0].sessions == 1],
        "accuracy that changes by 0.15 or more": [one for one in estimates if one[0].swing >= 0.15],
    }
    lines = [
        "## The estimate of the accuracy on live traffic",
        "",
        f"{len(estimates):,} simulated services: 1 to 10 days, 20 to 3,000 images an hour with a daily cycle and busy "
        "hours, accuracies of 0.65 to 0.995, of which more than half fall by up to 0.25 at night and over the days, 1 "
        "to 7 sessions of 15 to 80 random images, of which up to 10 % are skipped.",
        "",
        "| simulations | number | interval covers the truth | mean error | of the plain share | mean width |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    plain = {id(one): share_of(decisions) for one, (_, decisions, _) in zip(estimates, found, strict=True)}
    for name, some in rows.items():
        covered = sum(one.low <= truth <= one.high for _, one, truth in some)
        ends = binomtest(covered, len(some)).proportion_ci(0.95, "wilson")
        error = statistics.mean((one.accuracy or 0) - truth for _, one, truth in some)
        unweighted = statistics.mean(plain[id(one)] - one[2] for one in some)
        width = statistics.mean(one.high - one.low for _, one, _ in some)
        share = f"{covered / len(some):.1%} ({ends.low:.1%} to {ends.high:.1%})"
        lines.append(f"| {name} | {len(some):,} | {share} | {error:+.4f} | {unweighted:+.4f} | {width:.3f} |")
    return lines


def share_of(decisions: list[Decision]) -> float:
    """The unweighted share of right answers."""
    labelled = [one.is_right for one in decisions if one.label is not None]
    return statistics.mean(labelled) if labelled else 0.0


if __name__ == "__main__":
    main()
