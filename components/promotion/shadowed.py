"""Checks of the gate on what a candidate answered in shadow. They fail closed: without counts, a required shadow fails.

The share of all answers that change must be below its bound with the whole interval, since the required number of
images makes that narrow. A class may be rare, and its interval wide however long one waits; so a class fails if its
whole interval is above the bound. Its confidence level is corrected for the number of classes (Bonferroni), so that of
candidates at the bound in every class at most one in forty fails by chance.
"""

from collections.abc import Iterator
from dataclasses import replace

from scipy.stats import norm

from components.contract import GateCheck, Verdict
from components.errors import ModelError
from components.promotion.bounds import GateBounds
from components.registry.champion import Move
from components.registry.shadowed import Shadow
from components.registry.store import card_sha256
from components.shadow.counts import read_counts
from components.shadow.verdict import ShadowVerdict

IMAGES, COUNTS = "images in shadow", "counts of the shadow"  # names of checks
IMAGES_FOR_FLIPS = 1_000  # that a bound on flips needs to tell anything
TAIL = 0.025  # chance that a class at its bound fails, for all classes together


def is_shadow_required(bounds: GateBounds) -> bool:
    """Whether any setting asks for a shadow."""
    flips = bounds.max_shadow_flips, bounds.max_shadow_flips_per_class
    return bool(bounds.shadow_requests) or any(one is not None for one in flips)


def needed_images(bounds: GateBounds) -> int:
    """How many images a candidate must classify in shadow, if one is required."""
    return bounds.shadow_requests or IMAGES_FOR_FLIPS


def lacks_only_shadow(verdict: Verdict) -> bool:
    """Whether a model would be live if it had classified enough images in shadow, for all that is known."""
    return verdict.outcome == "rejected" and [one.name for one in verdict.checks if not one.passed] == [IMAGES]


def check_shadow(tag: str, live: Move | None, bounds: GateBounds) -> tuple[GateCheck, ...]:
    """Check a candidate's shadow beside the live model; no checks if none is required, or if no model is live.

    Args:
        tag: exact tag of the candidate.
        live: the move that made the champion live.
        bounds: the gate's settings.
    """
    if live is None or not is_shadow_required(bounds):
        return ()
    needed = needed_images(bounds)
    try:
        counts = read_counts(tag, live.tag)
        other = counts is not None and _is_of_another(counts.shadow)
    except ModelError as error:
        return (GateCheck(COUNTS, False, "unreadable", "readable", str(error)),)
    if counts is None or other:
        message = f"{IMAGES}: {tag} classified no image beside {live.tag}; start it with 'fashion shadow {tag}'"
        return (GateCheck(IMAGES, False, "0", f"at least {needed:,}", message),)
    return tuple(_check_counts(ShadowVerdict(counts), needed, bounds))


def _is_of_another(shadow: Shadow) -> bool:
    """Whether the model was replaced since."""
    return card_sha256(shadow.tag) != shadow.card_sha256


def _check_counts(verdict: ShadowVerdict, needed: int, bounds: GateBounds) -> Iterator[GateCheck]:
    counts = verdict.counts
    yield _check(IMAGES, counts.mirrored >= needed, f"{counts.mirrored:,}", f"at least {needed:,}")
    yield _check("images that fail in shadow", not counts.failed, f"{counts.failed:,}", "0", counts.error)
    if counts.unreadable:
        yield _check(COUNTS, False, f"{counts.unreadable} damaged files", "none")
    if (most := bounds.max_shadow_flips) is not None and (changed := verdict.changed):
        bound = f"interval below {100 * most:.1f} %"
        yield _check("answers changed in shadow", changed.high <= most, str(changed), bound)
    if (most := bounds.max_shadow_flips_per_class) is not None and verdict.classes:
        yield _check_classes(verdict, most)


def _check_classes(verdict: ShadowVerdict, most: float) -> GateCheck:
    """Check the class that most certainly changes too much."""
    z = float(norm.isf(TAIL / len(verdict.classes)))
    name, worst = max(((one.name, replace(one.changed, z=z)) for one in verdict.classes), key=lambda one: one[1].low)
    return _check(
        f"answers changed in shadow, {name}", worst.low <= most, str(worst), f"interval not above {100 * most:.1f} %"
    )


def _check(name: str, passed: bool, measured: str, bound: str, why: str = "") -> GateCheck:
    message = f"{name}: {measured}, {'' if passed else 'not '}{bound}" + (f" ({why})" if why else "")
    return GateCheck(name, passed, measured, bound, message)
