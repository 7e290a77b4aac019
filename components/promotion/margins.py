"""Margins by which a challenger may be worse than the champion, adjusted to the number of test images.

The margins of `GateBounds` apply to 10,000 test images, 1,000 per class. On fewer, equal models differ more by chance.
So each margin grows by k times the increase of the standard error of the paired difference:

    margin on n images = margin on 10,000 + k x standard error on n x (1 - sqrt(n / 10,000))

For accuracy, k is 2.2: equal models then pass about as often as on the 10,000 images of Fashion-MNIST. For the other
checks, k follows from a Bonferroni correction: together they reject about one equal model in twenty by chance.
`python -m benchmarks.gate_sizes` measures both; docs/decisions/0021 has the rationale.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from scipy.stats import betabinom

from components.catalogues import catalogue_of
from components.contract import DataContract, KnownRange, Metrics
from components.promotion.bounds import GateBounds
from components.promotion.noise import Noise

ENOUGH, ENOUGH_OF_A_CLASS = 10_000, 1_000  # test images, in all and per class, to which the margins apply
ERRORS_OF_ACCURACY = 2.2  # standard errors: 1.96 for 95 % confidence, plus a correction because counts are integers
MAX_MARGIN = 0.05  # of accuracy, however few images; a model that is worse by as much passes once in forty
FALSE_REJECTIONS = 0.05  # of equal models, over all comparisons except accuracy
TINY = 1e-9  # tolerance: in floating point, 60 * 0.05 is not 3
OTHERS = 7  # comparisons besides accuracy and per-class F1: macro F1, loss, calibration, four disturbances


@dataclass(frozen=True)
class Margins:
    """How much a challenger may lose against the champion."""

    accuracy: float
    f1: tuple[float, ...]  # by label
    macro_f1: float
    loss: float  # nats
    calibration_error: float
    robustness: float  # additional accuracy lost under a disturbance


def fit_margins(bounds: GateBounds, contract: DataContract, metrics: Metrics, noise: Noise | None) -> Margins:
    """Compute the margins of one trial. A margin that is set explicitly is used unchanged.

    Args:
        bounds: the gate's settings.
        contract: the challenger's.
        metrics: the challenger's, on the test images of the comparison.
        noise: standard errors of the differences on these images; None: no model is live.
    """
    classes = len(metrics.classes)
    noise = noise or Noise(0.0, (0.0,) * classes, 0.0, 0.0, 0.0, 0.0)
    errors = NormalDist().inv_cdf(1 - FALSE_REJECTIONS / (classes + OTHERS))
    own = catalogue_of(contract).f1_margins if bounds.f1_margins is None else bounds.f1_margins

    def fit(field: str, error: float) -> float:
        margin: float = getattr(bounds, field)
        return margin if field in bounds.model_fields_set else widen(margin, error, metrics.rows, ENOUGH)

    def fit_f1(name: str, error: float, images: int) -> float:
        is_set = bounds.f1_margins is not None if name in own else "f1_margin" in bounds.model_fields_set
        margin = own.get(name, bounds.f1_margin)
        return margin if is_set else widen(margin, errors * error, images, ENOUGH_OF_A_CLASS)

    accuracy = fit("margin", ERRORS_OF_ACCURACY * noise.accuracy)
    return Margins(
        accuracy=accuracy if "margin" in bounds.model_fields_set else min(accuracy, MAX_MARGIN),
        f1=tuple(fit_f1(one.name, error, one.support) for one, error in zip(metrics.classes, noise.f1, strict=True)),
        macro_f1=fit_f1("", noise.macro_f1, min(one.support for one in metrics.classes)),
        loss=fit("loss_margin", errors * noise.loss),
        calibration_error=fit("calibration_margin", errors * noise.calibration_error),
        robustness=fit("robustness_margin", errors * noise.robustness),
    )


def max_unknown(known: KnownRange, metrics: Metrics, bounds: GateBounds) -> float:
    """Return the largest share of the test images that may count as unknown.

    If they are like the n validation images, of which the threshold is the k-th smallest distance, their number above
    it has a beta-binomial distribution with the parameters n + 1 - k and k. Its quantile leaves the same error as each
    of the comparisons above.
    """
    above = max(1, math.floor((known.rows + 1) * known.refused + TINY))
    error = FALSE_REJECTIONS / (len(metrics.classes) + OTHERS)
    most = betabinom(metrics.rows, above, known.rows + 1 - above).isf(error)
    return min(1.0, max(known.refused, float(most) / metrics.rows) + bounds.unknown_margin)


def widen(margin: float, error: float, rows: int, enough: int) -> float:
    """Widen a margin that applies to `enough` images for `rows` images, where the standard error is larger."""
    return margin + error * max(0.0, 1 - math.sqrt(rows / enough))
