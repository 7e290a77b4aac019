"""Evaluation gate: measurements of challenger and champion -> verdict. It fails closed: a missing measurement fails.

`components.promotion.trial` takes the measurements, on the same held-out test images for both models.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from components.catalogues import catalogue_of
from components.contract import DataContract, Flips, GateCheck, Metrics, ModelCard, Verdict
from components.promotion.bounds import GateBounds
from components.promotion.floors import fit_floors, imply_floors, large_enough, min_images, min_macro_f1
from components.promotion.margins import ENOUGH, ENOUGH_OF_A_CLASS, Margins, fit_margins, max_unknown
from components.promotion.noise import Noise

CLASSES = "classes"  # name of the check that describes changed classes
SAME = 1e-5  # tolerance of equal probabilities: other batch sizes sum in another order


@dataclass(frozen=True)
class Performance:
    """A model's results on the test images."""

    tag: str
    card: ModelCard
    metrics: Metrics
    robustness: dict[str, tuple[float, float]]  # disturbance -> (accuracy under it, accuracy without it)
    bytes: int  # size of the weights
    unknown: float | None = None  # share of the test images that count as unknown; None: not detected


@dataclass(frozen=True)
class ChangedClasses:
    """Comparison with a champion that has other classes, on the images of the common classes."""

    challenger: Performance  # by class group on these images, like the champion's
    summary: str  # what changed, in words
    other_images: str  # how the test images differ from the champion's; "" if they are the same


@dataclass(frozen=True)
class Trial:
    """Measurements of challenger and champion on the same test images."""

    challenger: Performance
    champion: Performance | None  # None: no model is live
    noise: Noise | None  # standard errors of the differences; None: no model is live
    seconds: float  # challenger, one image, median
    batch_seconds: float  # challenger, 1,024 images, median
    fixed: int  # images that only the challenger gets right
    regressed: int  # images that only the champion gets right
    chance: float  # p-value of McNemar's exact test of these two counts
    leaked: int  # test images in the challenger's training data
    receipt: str  # problem with the validation of its dataset; "" if none
    probe_error: float  # largest difference between a probability now and right after training
    best: float  # highest accuracy of any champion so far on the same split; 0 if none
    changed: ChangedClasses | None = None  # None: both models have the same classes
    flips: Flips | None = None  # None: they have not, or no model is live


def judge(trial: Trial, bounds: GateBounds) -> Verdict:
    """Decide whether the challenger may replace the champion.

    Raises:
        SettingsError: a margin names a class that the challenger does not know.
    """
    challenger, champion = trial.challenger, trial.champion
    bounds.check_classes(challenger.card.contract)
    compared = replace(trial, challenger=trial.changed.challenger) if trial.changed else trial
    metrics = compared.challenger.metrics
    margins = fit_margins(bounds, challenger.card.contract, metrics, trial.noise)
    checks = [*_check_soundness(trial), *_check_floors(trial, bounds)]
    if trial.best:
        floor = trial.best - margins.accuracy
        checks.append(_at_least("accuracy vs. best champion so far", challenger.metrics.accuracy, floor))
    if champion:
        checks.append(_check_source(challenger.card, champion.card))
        if challenger.card.is_sample == champion.card.is_sample:
            checks += _check_detection(challenger.card, champion.card)
            checks += [*_check_images(trial, champion), *_compare(compared, champion, bounds, margins)]
    tag = champion.tag if champion else None
    verdict = verdict_of(challenger.tag, tag, checks, bounds, metrics.split_version, metrics.rows)
    return replace(verdict, flips=trial.flips)


def verdict_of(
    challenger: str,
    champion: str | None,
    checks: list[GateCheck],
    bounds: GateBounds,
    split_version: str = "",
    rows: int = 0,
) -> Verdict:
    """Combine checks into a verdict with the current time."""
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Verdict(challenger, champion, when, split_version, rows, tuple(checks), bounds.model_dump())


def _check_soundness(trial: Trial) -> Iterator[GateCheck]:
    """Check that the evaluation itself is sound."""
    passed = not trial.receipt
    message = trial.receipt or "its dataset passed validation and has not changed since"
    yield GateCheck("dataset receipt", passed, "valid" if passed else "not valid", "valid", message)
    yield _at_most("test images in the training data", trial.leaked, 0, ",")
    yield _at_most("change of predictions since training", trial.probe_error, SAME, ".1e")


def _check_floors(trial: Trial, bounds: GateBounds) -> Iterator[GateCheck]:
    """Check the bounds that hold whatever is live. A model of the synthetic sample has no quality floors."""
    model = trial.challenger
    if not model.card.is_sample:
        yield from _check_quality(model, bounds)
    yield _at_most("bytes of weights", model.bytes, bounds.max_bytes, ",")
    yield _at_most("milliseconds for an image", 1000 * trial.seconds, 1000 * bounds.max_seconds, ".3f")
    yield _at_most("milliseconds for 1,024 images", 1000 * trial.batch_seconds, 1000 * bounds.max_batch_seconds, ".1f")


def _check_quality(model: Performance, bounds: GateBounds) -> Iterator[GateCheck]:
    """Check the quality floors."""
    metrics, served = model.metrics, model.metrics.calibrated
    floors, reasons = fit_floors(bounds, model.card.contract, metrics)
    yield _at_least("minimum accuracy", metrics.accuracy, floors.min_accuracy, why=reasons.get("min_accuracy"))
    yield from _check_min_f1(metrics, floors.min_f1, reasons.get("min_f1"), _find_new(model, bounds))
    if metrics.is_skewed:
        baseline = "the majority-class baseline"
        yield _at_least("minimum macro F1", metrics.macro_f1, min_macro_f1(metrics), why=baseline)
    yield _at_most("maximum log loss", served.loss, floors.max_loss, why=reasons.get("max_loss"))
    limit, why = floors.max_calibration_error, reasons.get("max_calibration_error")
    yield _at_most("maximum calibration error", served.calibration_error, limit, why=why)
    if known := model.card.known:
        unknown = math.inf if model.unknown is None else model.unknown
        why = f"the model states {known.refused:.0%} of known images"
        yield _at_most("known test images refused", unknown, max_unknown(known, metrics, bounds), why=why)


def _find_new(model: Performance, bounds: GateBounds) -> frozenset[str]:
    """Find the classes that were added, merged or renamed; the catalogue's F1 floor does not apply to them."""
    catalogue = catalogue_of(model.card.contract)
    if not catalogue.floors or bounds.min_f1 is not None:
        return frozenset()
    return frozenset(model.card.classes) - frozenset(catalogue.contract.classes)


def _check_min_f1(metrics: Metrics, floor: float, why: str | None, new: frozenset[str]) -> Iterator[GateCheck]:
    checked = tuple(one for one in metrics.classes if one.name not in new)
    if why:
        checked = tuple(large_enough(metrics))
        if small := len(metrics.classes) - len(checked):
            why += f"; exempt: {small} with fewer than {min_images(len(metrics.classes))} test images"
    if checked:
        worst = min(checked, key=lambda one: one.f1)
        yield _at_least(f"minimum F1 of {worst.name}", worst.f1, floor, why=why)
    else:
        yield GateCheck("minimum F1", True, "", "", f"minimum F1: {why}")
    if found := [one for one in large_enough(metrics) if one.name in new]:
        worst = min(found, key=lambda one: one.f1)
        reason = "new class: predicted correctly at least once"
        yield _at_least(f"minimum F1 of {worst.name}", worst.f1, imply_floors(metrics).min_f1, why=reason)


def refuse_contract(challenger: str, contract: DataContract, champion: str, live: DataContract) -> GateCheck | None:
    """Return the failed check for a challenger with another data contract; None if the contracts match."""
    difference = live.difference(contract)
    message = f"{challenger} has another data contract than the live model {champion}: {difference}"
    return GateCheck("data contract", False, contract.name, live.name, message) if difference else None


def _check_source(challenger: ModelCard, champion: ModelCard) -> GateCheck:
    passed = not challenger.is_sample or champion.is_sample
    message = f"trained on {challenger.source}; the live model was trained on {champion.source}"
    if not passed:
        message = "a model trained on the synthetic sample never replaces one trained on real data"
    bound = "any" if champion.is_sample else "not the sample"
    return GateCheck("source", passed, challenger.source, bound, message)


def _check_detection(challenger: ModelCard, champion: ModelCard) -> Iterator[GateCheck]:
    """Check that a challenger detects unknown inputs if the champion does: clients may rely on it."""
    if champion.known:
        passed = challenger.known is not None
        message = "detects unknown inputs, as the live model does"
        if not passed:
            message = (
                "does not detect unknown inputs, but the live model does: train with at least 20 validation images"
            )
        yield GateCheck("unknown inputs", passed, "detected" if passed else "not detected", "detected", message)


def _check_images(trial: Trial, champion: Performance) -> Iterator[GateCheck]:
    """Check that both models have the same test images; if classes changed, those of the common classes."""
    if trial.changed is None:
        split, live_split = trial.challenger.card.test.split_version, champion.card.test.split_version
        message = f"challenger: {split}, live model: {live_split}"
        yield GateCheck("same test split", split == live_split, split, live_split, message)
        return
    summary, metrics, other = trial.changed.summary, champion.metrics, trial.changed.other_images
    basis = f"compared on {metrics.rows:,} test images of {len(metrics.classes)} common classes"
    yield GateCheck(CLASSES, True, summary, basis, f"{CLASSES}: {summary}; {basis}")
    measured, bound = "others" if other else f"the same {metrics.rows:,}", "the same"
    message = other or "the live model was evaluated on the same test images of the common classes"
    yield GateCheck("same test images", not other, measured, bound, message)


def describe_classes(verdict: Verdict | None) -> str:
    """Describe the changed classes of a verdict, such as "classes: hat is new"; "" if none changed."""
    found = [check for check in verdict.checks if check.name == CLASSES] if verdict else []
    return f"{CLASSES}: {found[0].measured}" if found else ""


def _compare(trial: Trial, champion: Performance, bounds: GateBounds, margins: Margins) -> Iterator[GateCheck]:
    """Compare the challenger with the champion, within the margins."""
    ours, theirs = trial.challenger.metrics, champion.metrics
    yield _check_accuracy(trial, margins.accuracy, bounds.confidence)
    if bounds.min_gain:
        yield _at_least("accuracy gain", ours.accuracy - theirs.accuracy, bounds.min_gain)
    for one, other, margin in zip(ours.classes, theirs.classes, margins.f1, strict=True):
        why = f"{one.support:,} test images" if one.support < ENOUGH_OF_A_CLASS else None
        yield _at_least(f"F1 of {one.name}", one.f1, max(0.0, other.f1 - margin), why=why)
    if ours.is_skewed:
        yield _at_least("macro F1", ours.macro_f1, max(0.0, theirs.macro_f1 - margins.macro_f1))
    yield _at_most("log loss", ours.calibrated.loss, theirs.calibrated.loss + margins.loss)
    limit = theirs.calibrated.calibration_error + margins.calibration_error
    yield _at_most("calibration error", ours.calibrated.calibration_error, limit)
    for disturbance in trial.challenger.robustness:
        yield _check_robustness(disturbance, trial.challenger, champion, margins.robustness)


def _check_accuracy(trial: Trial, margin: float, confidence: float) -> GateCheck:
    """Check that the whole confidence interval of the paired accuracy difference lies above the negative margin.

    If no image distinguishes the two models, the interval is 0.
    """
    fixed, regressed, rows = trial.fixed, trial.regressed, trial.challenger.metrics.rows
    gain = (fixed - regressed) / rows
    low, high = bound_difference(fixed, regressed, rows, confidence) if fixed + regressed else (0.0, 0.0)
    measured = f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"
    bound = f"interval above {-margin:+.4f}"
    message = f"change of accuracy: {measured}, {fixed:,} fixed, {regressed:,} regressed, "
    message += f"McNemar p {trial.chance:.2g}"
    if low < -margin:
        message += f"; it may be worse by more than {margin:.4f}"
    if fixed + regressed and rows < ENOUGH:
        message += _describe_power(margin, fixed + regressed, rows, confidence)
    return GateCheck("change of accuracy", low >= -margin, measured, bound, message)


def _describe_power(margin: float, discordant: int, rows: int, confidence: float) -> str:
    """Describe the statistical power of a small test split."""
    half = discordant // 2
    equal = norm.cdf(tango_score(half, half, rows, -margin) - norm.ppf((1 + confidence) / 2))
    return (
        f"; on {rows:,} test images, a model that is worse by {margin:.4f} passes with a probability of about"
        f" {(1 - confidence) / 2:.1%}, an equal one of {equal:.0%}; a smaller loss cannot be detected"
    )


def bound_difference(fixed: int, regressed: int, rows: int, confidence: float) -> tuple[float, float]:
    """Return Tango's score interval of a paired difference of proportions (Statistics in Medicine 17, 1998, 891-908).

    At a difference of 0 its score is McNemar's. Its coverage holds for few discordant images, too.

    Args:
        fixed: images that only the challenger gets right.
        regressed: images that only the champion gets right.
        rows: number of images.
        confidence: two-sided confidence level, 0.5 to 1.
    """
    limit = float(norm.ppf((1 + confidence) / 2))

    def excess(difference: float, sign: int) -> float:
        return tango_score(fixed, regressed, rows, difference) - sign * limit

    end, seen = 1 - 1e-9, (fixed - regressed) / rows
    low = brentq(excess, -end, seen, args=(1,)) if seen > -end else -1.0
    high = brentq(excess, seen, end, args=(-1,)) if seen < end else 1.0
    return float(low), float(high)


def tango_score(fixed: int, regressed: int, rows: int, difference: float) -> float:
    """Return how many standard deviations the observed difference is above a hypothetical one."""
    b = -fixed - regressed + (2 * rows - fixed + regressed) * difference
    c = -regressed * difference * (1 - difference)
    share = (np.sqrt(b * b - 8 * rows * c) - b) / (4 * rows)  # regressed, maximum likelihood under `difference`
    variance = rows * (2 * share + difference * (1 - difference))
    return float((fixed - regressed - rows * difference) / np.sqrt(variance)) if variance > 0 else 0.0


def _check_robustness(disturbance: str, challenger: Performance, champion: Performance, margin: float) -> GateCheck:
    """Check the accuracy lost under a disturbance. Any loss passes if the accuracy left is at least the champion's."""
    under, clean = challenger.robustness[disturbance]
    live_under, live_clean = champion.robustness[disturbance]
    cost, limit = clean - under, live_clean - live_under + margin
    passed = cost <= limit or under >= live_under
    message = f"{disturbance}: {cost:.4f} of accuracy lost, {under:.4f} left; the live model has {live_under:.4f} left"
    bound = f"at most {limit:.4f}, or {live_under:.4f} left"
    return GateCheck(f"accuracy lost, {disturbance}", passed, f"{cost:.4f}, {under:.4f} left", bound, message)


def _at_least(name: str, value: float, bound: float, form: str = ".4f", why: str | None = None) -> GateCheck:
    return _make_check(name, value >= bound, f"{value:{form}}", f"at least {bound:{form}}", why)


def _at_most(name: str, value: float, bound: float, form: str = ".4f", why: str | None = None) -> GateCheck:
    return _make_check(name, value <= bound, f"{value:{form}}", f"at most {bound:{form}}", why)


def _make_check(name: str, passed: bool, measured: str, bound: str, why: str | None) -> GateCheck:
    message = f"{name}: {measured}, {'' if passed else 'not '}{bound}" + (f" ({why})" if why else "")
    return GateCheck(name, passed, measured, bound, message)
