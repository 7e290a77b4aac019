"""Measure the probation: false rollbacks in calm months, and how long bad models stay live, by simulation.

    .venv/bin/python -m benchmarks.probation [--nights 900] [--trials 20] [--seed 2] [--preset quick] [--models 4]

Trains models that differ in their seed, and draws traffic from half of the test images; the seed determines the half
and the traffic. The method was chosen with seeds 0 and 1. What is simulated is the traffic and the clock; answers come
from the models, and the judge is the real one. No computing time is measured, so other load does not matter.
"""

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.probation_traffic import (
    DAY,
    HOUR,
    Answers,
    Shop,
    Stream,
    find_failed,
    make_stream,
    to_bins,
    to_records,
)
from benchmarks.train import describe_machine
from components.contract import Images, Labels, Predictions
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.dataset.validate import validate
from components.evaluation.card import write_card
from components.model.classifier import Classifier
from components.probation.agreement import Agreement, choose_share
from components.probation.evidence import AFTER_BLOCKS, MINUTE, cut
from components.probation.expected import ExpectedChanges, expect, expect_changes
from components.probation.judge import judge
from components.probation.settings import ProbationSettings
from components.promotion.trial import count_flips
from components.scoring.predict import predict
from components.settings import CHECKOUT, Settings
from components.training.presets import configure
from components.training.train import train

CHECK = 300.0  # seconds between runs of the deployment
NIGHT = 3.5  # o'clock, when the nightly training promotes
SHOPS = (Shop("small", 400), Shop("medium", 2_000), Shop("large", 10_000))
TAGS = "fashion-mlp:aaaaaaaaaaaaaaaa", "fashion-mlp:bbbbbbbbbbbbbbbb"


@dataclass(frozen=True)
class Pool:
    """The images that traffic is drawn from, with what the models answer."""

    images: Images
    labels: Labels
    order: list[NDArray[np.intp]]  # per class, rows by brightness
    models: list[Classifier]
    answers: list[Answers]
    gate: list[Predictions]  # of the other half of the test images, which the gate compares the models by


@dataclass(frozen=True)
class Outcome:
    """One simulated probation."""

    seconds: float | None  # from the promotion to the rollback; None: not rolled back
    measures: tuple[str, ...] = ()  # that were breached
    wrong: int = 0  # wrong or failed answers until then
    wrong_before: int = 0  # of the champion, had it answered the same images
    images: int = 0  # until then


def main() -> None:
    """Simulate, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=900)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--to", type=Path, default=CHECKOUT / "benchmarks" / "results" / "probation.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pool = _make_pool(options.preset, options.models, options.seed, Path(folder))
    accuracies = ", ".join(f"{one.card.test.accuracy:.4f}" for one in pool.models)
    lines = ["# `python -m benchmarks.probation`\n", *describe_machine(timed=False)]
    lines += [
        f"\n{options.models} models of the preset `{options.preset}` (test accuracy {accuracies}); traffic of half of "
        f"the test images, in uploads of three similar images, with a daily cycle and a class mix that wanders; seed "
        f"{options.seed}. A day of the champion's traffic comes before each promotion, and the check runs every five "
        "minutes. No computing time is measured, so load does not matter.\n"
    ]
    bad = _bad_table(pool, options.trials, options.seed) if options.trials else ()
    tables = (bad, _calm_table(pool, options.nights, options.seed) if options.nights else ())
    for line in itertools.chain(*tables):
        lines.append(line)
        print(line, flush=True)
    options.to.write_text("\n".join(lines) + "\n")


def _make_pool(preset: str, models: int, seed: int, folder: Path) -> Pool:
    settings = Settings(data_dir=folder)
    validated = validate(ingest(settings.source, settings=settings).dataset, settings=settings)
    test = read_split(validated.dataset, "test")
    half = np.random.default_rng(seed).permutation(len(test.labels)) < len(test.labels) // 2
    images, labels = test.images[half], test.labels[half]
    brightness = images.reshape(len(images), -1).mean(axis=1)
    order = [
        rows[np.argsort(brightness[rows], kind="stable")]
        for rows in (np.flatnonzero(labels == label) for label in range(len(test.contract.classes)))
    ]
    trained = [train(validated, configure(preset, {"seed": number})) for number in range(models)]
    found = [Classifier(TAGS[0], write_card(preset, validated, one), one.network.eval().to_numpy()) for one in trained]
    answers = [Answers.of(predict(one, images)) for one in found]
    return Pool(images, labels, order, found, answers, [predict(one, test.images[~half]) for one in found])


def _calm_table(pool: Pool, nights: int, seed: int) -> Iterator[str]:
    yield "| nightly promotions of models of the same quality | images per hour | promotions | false rollbacks |"
    yield "| --- | ---: | ---: | ---: |"
    for shop in SHOPS:
        random, false = np.random.default_rng(seed), list[str]()
        for _ in range(nights // len(SHOPS)):
            before, after = random.choice(len(pool.models), 2, replace=False)
            outcome = simulate(pool, shop, before, after, pool.answers[after], NIGHT, random)
            false += [", ".join(outcome.measures)] if outcome.seconds is not None else []
        names = f" ({'; '.join(false)})" if false else ""
        yield f"| {shop.name} | {shop.images:,.0f} | {nights // len(SHOPS)} | {len(false)}{names} |"


def _bad_table(pool: Pool, trials: int, seed: int) -> Iterator[str]:
    yield "Minutes until the rollback, median and longest; in brackets, wrong or failed answers until then, the median"
    yield "for the bad model and for the champion on the same images. Promoted at any time of day.\n"
    shops = " | ".join(f"{shop.name}, {shop.images:,.0f} images per hour" for shop in SHOPS)
    yield f"| bad model | {shops} | found by |"
    yield "| --- |" + " --- |" * (len(SHOPS) + 1)
    for kind, answers in make_bad(pool).items():
        cells, measures = [], dict[str, int]()
        for shop in SHOPS:
            random = np.random.default_rng(seed + 1)
            found = [simulate(pool, shop, 0, 1, answers, float(random.random() * 24), random) for _ in range(trials)]
            cells.append(_describe(found))
            for name in (name for one in found for name in one.measures):
                measures[name] = measures.get(name, 0) + 1
        by = ", ".join(sorted(measures, key=lambda name: -measures[name]))
        yield f"| {kind} | {' | '.join(cells)} | {by} |"
    yield ""


def _describe(found: list[Outcome]) -> str:
    minutes = sorted(one.seconds / 60 for one in found if one.seconds is not None)
    if not minutes:
        return "never"
    some = [one for one in found if one.seconds is not None]
    missed = f", {len(found) - len(some)} of {len(found)} never" if len(some) < len(found) else ""
    wrong, before = (np.median([getattr(one, name) for one in some]) for name in ("wrong", "wrong_before"))
    return f"{np.median(minutes):.0f}, {minutes[-1]:.0f}{missed} ({wrong:,.0f}, {before:,.0f})"


def simulate(
    pool: Pool, shop: Shop, champion: int, new: int, answers: Answers, clock: float, random: np.random.Generator
) -> Outcome:
    """Simulate one promotion and its probation.

    Args:
        pool: images and models.
        shop: the traffic.
        champion: number of the model that was live before.
        new: number of the new model, which the gate has seen.
        answers: of the new model in production.
        clock: time of day of the promotion, hours.
        random: source of chance.
    """
    before_card, card = pool.models[champion].card, pool.models[new].card
    settings, classes = ProbationSettings(), card.classes
    expected = expect_changes(before_card, card, count_flips(pool.gate[champion], pool.gate[new].labels))
    earlier = make_stream(shop, pool.order, -DAY, 0, clock, random)
    before = cut(
        to_records(earlier, pool.answers[champion], TAGS[0], classes), 9 * DAY, 10 * DAY, int(DAY / MINUTE), classes
    )
    end, looks = 0.0, settings.looks()
    stream = make_stream(shop, pool.order, 0, min(looks[-1], 12 * HOUR), clock, random)
    records = to_records(stream, answers, TAGS[1], classes)
    shadowed = random.random(len(stream.rows)) < choose_share(len(earlier.rows), DAY, settings.minutes)
    for look in looks:
        end = np.ceil(look / CHECK) * CHECK
        after = tuple(one for one in records if one.until <= 10 * DAY + end)
        if after:
            agreement = _agree(stream, answers, pool.answers[champion], shadowed, end, classes, expected)
            found = cut(after, 10 * DAY, 10 * DAY + end, AFTER_BLOCKS, classes)
            measures = judge(before, found, classes, settings.chance, expect(before_card, card), agreement)
            if breached := tuple(one.name for one in measures if one.outcome == "breach"):
                return _count_wrong(pool, stream, champion, answers, end, breached)
        if look >= settings.minutes * 60 and sum(one.requests for one in after) >= settings.requests:
            break
    return Outcome(None)


def _agree(
    stream: Stream,
    answers: Answers,
    before: Answers,
    shadowed: NDArray[np.bool_],
    end: float,
    names: tuple[str, ...],
    expected: ExpectedChanges,
) -> Agreement:
    answered = ~find_failed(stream, answers)[stream.request]
    rows = stream.rows[shadowed & answered & (stream.times[stream.request] < end)]
    changed = answers.labels[rows] != before.labels[rows]
    by_class = {
        names[label]: (int((before.labels[rows] == label).sum()), int(changed[before.labels[rows] == label].sum()))
        for label in np.unique(before.labels[rows])
    }
    was, now = (int((~one.sure[rows]).sum()) for one in (before, answers))
    return Agreement(len(rows), int(changed.sum()), was, now, by_class, expected)


def _count_wrong(
    pool: Pool, stream: Stream, champion: int, answers: Answers, end: float, breached: tuple[str, ...]
) -> Outcome:
    until = stream.times[stream.request] < end
    rows, truth = stream.rows[until], pool.labels[stream.rows[until]].astype(np.intp)
    failed = find_failed(stream, answers)[stream.request[until]]
    wrong = int((failed | (answers.labels[rows] != truth)).sum())
    before = int((pool.answers[champion].labels[rows] != truth).sum())
    return Outcome(end, breached, wrong, before, len(rows))


def make_bad(pool: Pool) -> dict[str, Answers]:
    """What bad models answer, by what is wrong with them. Each comes from a model that passes the gate."""
    model, good, images = pool.models[1], pool.answers[1], pool.images
    found = predict(model, images)
    classes, bars = len(found.classes), model.card.calibration.bars(len(found.classes))
    random = np.random.default_rng(0)
    dim = images.reshape(len(images), -1).mean(axis=1)

    def of(probabilities: NDArray[np.float32]) -> Answers:
        labels = probabilities.argmax(axis=1)
        confidence = probabilities.max(axis=1)
        return Answers(labels, confidence > bars[labels], good.known, to_bins(confidence))

    def heated(factor: float) -> NDArray[np.float32]:
        powers = np.maximum(found.probabilities, 1e-9) ** (1 / factor)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    without = found.probabilities.copy()
    without[:, 0] = 0
    shifted = dim > np.quantile(dim, 0.6)
    swapped = np.arange(classes)
    swapped[[7, 9]] = 9, 7
    blurred = np.asarray(images // 2 + np.roll(images, 3, axis=2) // 2, np.uint8)
    return {
        "classes permuted for the brightest 40 % of images": replace(
            good, labels=np.where(shifted, (good.labels + 1) % classes, good.labels)
        ),
        "classes permuted for all images": replace(good, labels=(good.labels + 1) % classes),
        "stale vocabulary: two classes exchanged": replace(good, labels=swapped[good.labels]),
        "broken preparation: images inverted": Answers.of(predict(model, 255 - images)),
        "broken preparation: images upside down": Answers.of(predict(model, np.ascontiguousarray(images[:, ::-1]))),
        "broken preparation: images blurred sideways": Answers.of(predict(model, blurred)),
        "slow: ten times the latency": replace(good, slower=10.0),
        "fails on 5 % of the images": replace(good, fails=dim > np.quantile(dim, 0.95)),
        "over-confident: temperature divided by 5": of(heated(0.2)),
        "under-confident: temperature times 5": of(heated(5.0)),
        "blind to a class: its second choice instead": of(without / without.sum(axis=1, keepdims=True)),
        "one class swallowed by another": replace(good, labels=np.where(good.labels == 1, 3, good.labels)),
        "never sure": replace(good, sure=np.zeros(len(good.sure), bool)),
        "always the same class": replace(good, labels=np.zeros(len(good.labels), np.intp)),
        "a tenth of the answers random": replace(
            good,
            labels=np.where(random.random(len(dim)) < 0.1, random.integers(0, classes, len(dim)), good.labels),
        ),
    }


if __name__ == "__main__":
    main()
