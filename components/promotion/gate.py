"""What was measured of a challenger and of the live model -> verdict. It fails closed: what was not measured fails.

Nothing is measured here; `components.promotion.trial` does that, on the same untouched images for both.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from components.catalogues import catalogue_of
from components.contract import DataContract, GateCheck, Metrics, ModelCard, Verdict
from components.promotion.bounds import GateBounds
from components.promotion.floors import fit_floors, imply_floors, large_enough, min_images, min_macro_f1
from components.promotion.margins import ENOUGH, ENOUGH_OF_A_CLASS, Margins, fit_margins
from components.promotion.noise import Noise

CLASSES = "classes"  # the check that says what became of them
SAME = 1e-5  # probabilities that differ by less are the same: batches of other sizes are added up in other orders


@dataclass(frozen=True)
class Performance:
    """What a model does on the images that it is judged on."""

    tag: str
    card: ModelCard
    metrics: Metrics
    robustness: dict[str, tuple[float, float]]  # disturbance -> accuracy under it, and without it
    bytes: int  # of weights


@dataclass(frozen=True)
class ChangedClasses:
    """What a challenger is compared on with a live model of other classes: the images of those that both know."""

    challenger: Performance  # by group of classes and on these images, as the champion's is
    summary: str  # what changed
    other_images: str  # why these are not the images that the live model was judged on; "" they are


@dataclass(frozen=True)
class Trial:
    """Challenger and live model, measured side by side."""

    challenger: Performance
    champion: Performance | None
    noise: Noise | None  # of the differences between the two; None where nothing is live
    seconds: float  # of the challenger for one image, median
    batch_seconds: float  # for 1,024 images
    mended: int  # images that only the challenger gets right
    broken: int  # images that only the champion gets right
    chance: float  # that they part so unevenly although both are equally good: McNemar's exact test
    leaked: int  # test images among those that the challenger was trained on
    receipt: str  # what is wrong with the validation of its dataset; "" nothing
    probe_error: float  # the largest difference between a probability now and right after the training
    best: float  # the highest accuracy of any model that was live before, on the same split; 0 where there was none
    changed: ChangedClasses | None = None  # None: both models know the same classes


def judge(trial: Trial, bounds: GateBounds) -> Verdict:
    """Whether the challenger may go live in the champion's place.

    Raises:
        SettingsError: a bound for a class that the challenger does not know.
    """
    challenger, champion = trial.challenger, trial.champion
    bounds.check_classes(challenger.card.contract)
    compared = replace(trial, challenger=trial.changed.challenger) if trial.changed else trial
    metrics = compared.challenger.metrics
    margins = fit_margins(bounds, challenger.card.contract, metrics, trial.noise)
    checks = [*_check_soundness(trial), *_check_floors(trial, bounds)]
    if trial.best:
        least = trial.best - margins.accuracy
        checks.append(_at_least("accuracy beside the best that was live", challenger.metrics.accuracy, least))
    if champion:
        checks.append(_check_source(challenger.card, champion.card))
        if challenger.card.is_sample == champion.card.is_sample:
            checks += [*_check_images(trial, champion), *_compare(compared, champion, bounds, margins)]
    return verdict_of(
        challenger.tag, champion.tag if champion else None, checks, bounds, metrics.split_version, metrics.rows
    )


def verdict_of(
    challenger: str,
    champion: str | None,
    checks: list[GateCheck],
    bounds: GateBounds,
    split_version: str = "",
    rows: int = 0,
) -> Verdict:
    """Put checks together."""
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Verdict(challenger, champion, when, split_version, rows, tuple(checks), bounds.model_dump())


def _check_soundness(trial: Trial) -> Iterator[GateCheck]:
    """Whether what is known of the challenger can be believed."""
    passed = not trial.receipt
    told = trial.receipt or "its dataset passed validation and is unchanged since"
    yield GateCheck("dataset receipt", passed, "valid" if passed else "not valid", "valid", told)
    yield _at_most("test images in the training data", trial.leaked, 0, ",")
    yield _at_most("change of its answers since its training", trial.probe_error, SAME, ".1e")


def _check_floors(trial: Trial, bounds: GateBounds) -> Iterator[GateCheck]:
    """What any model must reach, whatever is live; figures on the drawn sample say too little to be asked for."""
    model = trial.challenger
    if not model.card.is_sample:
        yield from _check_quality(model, bounds)
    yield _at_most("bytes of weights", model.bytes, bounds.max_bytes, ",")
    yield _at_most("milliseconds for an image", 1000 * trial.seconds, 1000 * bounds.max_seconds, ".3f")
    yield _at_most("milliseconds for 1,024 images", 1000 * trial.batch_seconds, 1000 * bounds.max_batch_seconds, ".1f")


def _check_quality(model: Performance, bounds: GateBounds) -> Iterator[GateCheck]:
    """What the catalogue or the test images ask for."""
    metrics, served = model.metrics, model.metrics.calibrated
    floors, reasons = fit_floors(bounds, model.card.contract, metrics)
    yield _at_least("least accuracy", metrics.accuracy, floors.min_accuracy, why=reasons.get("min_accuracy"))
    yield from _check_min_f1(metrics, floors.min_f1, reasons.get("min_f1"), _find_new(model, bounds))
    if metrics.is_skewed:
        always = "that of always saying the most frequent class"
        yield _at_least("least macro F1", metrics.macro_f1, min_macro_f1(metrics), why=always)
    yield _at_most("most log loss", served.loss, floors.max_loss, why=reasons.get("max_loss"))
    most, why = floors.max_calibration_error, reasons.get("max_calibration_error")
    yield _at_most("most calibration error", served.calibration_error, most, why=why)


def _find_new(model: Performance, bounds: GateBounds) -> frozenset[str]:
    """The classes that the floor of F1 in a catalogue's code is not meant for: they were added, merged or renamed."""
    catalogue = catalogue_of(model.card.contract)
    if not catalogue.floors or bounds.min_f1 is not None:
        return frozenset()
    return frozenset(model.card.classes) - frozenset(catalogue.contract.classes)


def _check_min_f1(metrics: Metrics, least: float, why: str | None, new: frozenset[str]) -> Iterator[GateCheck]:
    asked = tuple(one for one in metrics.classes if one.name not in new)
    if why:
        asked = tuple(large_enough(metrics))
        if few := len(metrics.classes) - len(asked):
            why += f"; not asked of {few} with fewer than {min_images(len(metrics.classes))} test images"
    if asked:
        worst = min(asked, key=lambda one: one.f1)
        yield _at_least(f"least F1, of {worst.name}", worst.f1, least, why=why)
    else:
        yield GateCheck("least F1", True, "", "", f"least F1: {why}")
    if found := [one for one in large_enough(metrics) if one.name in new]:
        worst = min(found, key=lambda one: one.f1)
        reason = "of classes that the catalogue did not ship with, each is found at all"
        yield _at_least(f"least F1, of {worst.name}", worst.f1, imply_floors(metrics).min_f1, why=reason)


def refuse_contract(challenger: str, contract: DataContract, champion: str, live: DataContract) -> GateCheck | None:
    """The failed check of a challenger that is about other data than the live model; None where it is not."""
    difference = live.difference(contract)
    told = f"{challenger} is about other data than {champion}, which is live: {difference}"
    return GateCheck("data contract", False, contract.name, live.name, told) if difference else None


def _check_source(challenger: ModelCard, champion: ModelCard) -> GateCheck:
    passed = not challenger.is_sample or champion.is_sample
    told = f"trained on {challenger.source}, the live model on {champion.source}"
    if not passed:
        told = "trained on the drawn sample, which never takes the place of a model from real data"
    return GateCheck("source", passed, challenger.source, "not the sample" if not champion.is_sample else "any", told)


def _check_images(trial: Trial, champion: Performance) -> Iterator[GateCheck]:
    """Whether the live model was judged on the same images; where classes changed, on those of the common ones."""
    if trial.changed is None:
        split, live_split = trial.challenger.card.test.split_version, champion.card.test.split_version
        told = f"the challenger's is {split}, the live model's {live_split}"
        yield GateCheck("same test split", split == live_split, split, live_split, told)
        return
    what, metrics, other = trial.changed.summary, champion.metrics, trial.changed.other_images
    where = f"compared on {metrics.rows:,} test images of {len(metrics.classes)} classes that both know"
    yield GateCheck(CLASSES, True, what, where, f"{CLASSES}: {what}; {where}")
    measured, bound = "others" if other else f"the same {metrics.rows:,}", "the same"
    told = other or "the live model was judged on the same test images of the classes that both know"
    yield GateCheck("same test images", not other, measured, bound, told)


def describe_classes(verdict: Verdict | None) -> str:
    """What a verdict says of classes that changed: "classes: hat is new"; "" where none did."""
    found = [check for check in verdict.checks if check.name == CLASSES] if verdict else []
    return f"{CLASSES}: {found[0].measured}" if found else ""


def _compare(trial: Trial, champion: Performance, bounds: GateBounds, margins: Margins) -> Iterator[GateCheck]:
    """What the live model does, and how much less the challenger may."""
    ours, theirs = trial.challenger.metrics, champion.metrics
    yield _check_accuracy(trial, margins.accuracy, bounds.confidence)
    if bounds.min_gain:
        yield _at_least("gain of accuracy", ours.accuracy - theirs.accuracy, bounds.min_gain)
    for one, other, margin in zip(ours.classes, theirs.classes, margins.f1, strict=True):
        why = f"{one.support:,} test images of it" if one.support < ENOUGH_OF_A_CLASS else None
        yield _at_least(f"F1 of {one.name}", one.f1, max(0.0, other.f1 - margin), why=why)
    if ours.is_skewed:
        yield _at_least("macro F1", ours.macro_f1, max(0.0, theirs.macro_f1 - margins.macro_f1))
    yield _at_most("log loss", ours.calibrated.loss, theirs.calibrated.loss + margins.loss)
    most = theirs.calibrated.calibration_error + margins.calibration_error
    yield _at_most("calibration error", ours.calibrated.calibration_error, most)
    for disturbance in trial.challenger.robustness:
        yield _check_robustness(disturbance, trial.challenger, champion, margins.robustness)


def _check_accuracy(trial: Trial, margin: float, confidence: float) -> GateCheck:
    """The difference, from the images that only one of the two gets right, must surely be above the margin.

    Where no image tells the two apart there is nothing to be unsure of.
    """
    rows, uneven = trial.challenger.metrics.rows, trial.mended + trial.broken
    gain = (trial.mended - trial.broken) / rows
    low, high = bound_difference(trial.mended, trial.broken, rows, confidence) if uneven else (0.0, 0.0)
    measured = f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"
    bound = f"surely above {-margin:+.4f}"
    told = f"change of accuracy: {measured}, {trial.mended:,} mended, {trial.broken:,} broken, "
    told += f"McNemar p {trial.chance:.2g}"
    if low < -margin:
        told += f"; it may be worse by more than {margin:.4f}"
    if uneven and rows < ENOUGH:
        told += _describe_power(margin, uneven, rows, confidence)
    return GateCheck("change of accuracy", low >= -margin, measured, bound, told)


def _describe_power(margin: float, uneven: int, rows: int, confidence: float) -> str:
    """What so few images can and cannot show."""
    equal = norm.cdf(tango_score(uneven // 2, uneven // 2, rows, -margin) - norm.ppf((1 + confidence) / 2))
    return (
        f"; on {rows:,} test images a model that is worse by {margin:.4f} passes in about {(1 - confidence) / 2:.1%} of"
        f" cases, an equal one in {equal:.0%}, and a smaller loss cannot be told from none"
    )


def bound_difference(mended: int, broken: int, rows: int, confidence: float) -> tuple[float, float]:
    """Tango's score interval of a paired difference of proportions (Statistics in Medicine 17, 1998, 891-908).

    At a difference of 0 its score is McNemar's; it holds its confidence for few uneven images as for many.

    Args:
        mended: images that only the first is right on.
        broken: images that only the second is right on.
        rows: images in all.
        confidence: two-sided.
    """
    limit = float(norm.ppf((1 + confidence) / 2))

    def excess(difference: float, sign: int) -> float:
        return tango_score(mended, broken, rows, difference) - sign * limit

    end, seen = 1 - 1e-9, (mended - broken) / rows
    low = brentq(excess, -end, seen, args=(1,)) if seen > -end else -1.0
    high = brentq(excess, seen, end, args=(-1,)) if seen < end else 1.0
    return float(low), float(high)


def tango_score(mended: int, broken: int, rows: int, difference: float) -> float:
    """How many standard deviations the counts are above what a true difference would give."""
    b = -mended - broken + (2 * rows - mended + broken) * difference
    c = -broken * difference * (1 - difference)
    share = (np.sqrt(b * b - 8 * rows * c) - b) / (4 * rows)  # of broken ones, the likeliest under that difference
    variance = rows * (2 * share + difference * (1 - difference))
    return float((mended - broken - rows * difference) / np.sqrt(variance)) if variance > 0 else 0.0


def _check_robustness(disturbance: str, challenger: Performance, champion: Performance, margin: float) -> GateCheck:
    """It may cost no more than it costs the live model, unless the challenger is better under it all the same."""
    under, clean = challenger.robustness[disturbance]
    live_under, live_clean = champion.robustness[disturbance]
    cost, most = clean - under, live_clean - live_under + margin
    passed = cost <= most or under >= live_under
    told = f"{disturbance}: {cost:.4f} of accuracy lost, {under:.4f} left; the live model has {live_under:.4f} left"
    bound = f"at most {most:.4f}, or {live_under:.4f} left"
    return GateCheck(f"accuracy lost, {disturbance}", passed, f"{cost:.4f}, {under:.4f} left", bound, told)


def _at_least(name: str, value: float, bound: float, form: str = ".4f", why: str | None = None) -> GateCheck:
    return _make_check(name, value >= bound, f"{value:{form}}", f"at least {bound:{form}}", why)


def _at_most(name: str, value: float, bound: float, form: str = ".4f", why: str | None = None) -> GateCheck:
    return _make_check(name, value <= bound, f"{value:{form}}", f"at most {bound:{form}}", why)


def _make_check(name: str, passed: bool, measured: str, bound: str, why: str | None) -> GateCheck:
    told = f"{name}: {measured}, {'' if passed else 'not '}{bound}" + (f" ({why})" if why else "")
    return GateCheck(name, passed, measured, bound, told)
