"""Margins depend on the number of test images: pass rates, as in a part of `benchmarks.gate_sizes`."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from benchmarks.gate_sizes import (
    SKEWED,
    WORSE,
    Population,
    Setup,
    collapse,
    draw_trial,
    exchange,
    margin_of,
    passes,
    populate,
    try_gate,
)
from components.catalogues.fashion_mnist import CONTRACT, F1_MARGINS
from components.contract import DataContract, KnownRange
from components.promotion.bounds import GateBounds
from components.promotion.gate import Performance, Trial, judge
from components.promotion.margins import FALSE_REJECTIONS, MAX_MARGIN, OTHERS, fit_margins, max_unknown


@pytest.fixture(scope="module")
def people() -> Population:
    """400 photos in ten classes, with the accuracy and disagreement of models of small catalogues."""
    return populate(Setup("400", (40,) * 10, 0.78, 0.12))


@pytest.fixture(scope="module")
def trial(people: Population) -> Trial:
    return draw_trial(people, np.random.default_rng(0))


def of_images(trial: Trial, factor: int, contract: DataContract | None = None) -> Trial:
    """Return the same metrics as if measured on `factor` times as many images."""
    challenger = trial.challenger
    metrics = dataclasses.replace(
        challenger.metrics,
        rows=challenger.metrics.rows * factor,
        classes=tuple(
            dataclasses.replace(one, name=contract.classes[label] if contract else one.name, support=factor * 40)
            for label, one in enumerate(challenger.metrics.classes)
        ),
    )
    card = dataclasses.replace(challenger.card, contract=contract or challenger.card.contract)
    return dataclasses.replace(trial, challenger=dataclasses.replace(challenger, metrics=metrics, card=card))


@pytest.mark.parametrize("rows", [200, 400, 1_000])
@pytest.mark.parametrize("uneven", [0.02, 0.06, 0.12])
def test_equal_models_pass_as_often_on_few_images_and_much_worse_models_rarely(rows: int, uneven: float) -> None:
    on_fashion_mnist = passes(10_000, 0.06, 0, draws=1_000)
    assert abs(passes(rows, uneven, 0, draws=1_000) - on_fashion_mnist) < 0.2
    assert passes(rows, uneven, WORSE, draws=1_000) < 0.05


@pytest.mark.parametrize("rows", [30, 60, 100])
def test_the_margin_is_capped_however_few_images_there_are(rows: int) -> None:
    assert margin_of(rows, rows // 10, rows // 10) == MAX_MARGIN
    assert passes(rows, 0.06, WORSE, draws=1_000) < 0.05


def test_few_equal_models_are_rejected_and_bad_models_do_not_pass(people: Population) -> None:
    equal = try_gate(people, 40)
    assert equal.others >= 0.85
    assert 0.25 <= equal.gate <= 0.75
    assert equal.fixed <= 0.1, "pass rate with the margins for 10,000 images"
    for weaker, change in ((people.weaker, None), (1, partial(collapse, 3)), (1, partial(exchange, 3, 4))):
        assert try_gate(people, 20, weaker, change).gate <= 0.05


def test_on_ten_thousand_images_the_margins_equal_the_settings(trial: Trial) -> None:
    many = of_images(trial, 25, CONTRACT)
    margins = fit_margins(GateBounds(), CONTRACT, many.challenger.metrics, many.noise)
    assert margins.accuracy == 0.005
    assert margins.f1 == tuple(F1_MARGINS.get(name, 0.02) for name in CONTRACT.classes)
    assert (margins.loss, margins.calibration_error, margins.robustness) == (0.02, 0.01, 0.03)


def test_fewer_images_widen_every_margin(trial: Trial) -> None:
    few, more, many = (
        fit_margins(GateBounds(), CONTRACT, one.challenger.metrics, one.noise)
        for one in (of_images(trial, factor, CONTRACT) for factor in (1, 4, 25))
    )
    for field in ("accuracy", "macro_f1", "loss", "calibration_error", "robustness"):
        assert getattr(few, field) > getattr(more, field) > getattr(many, field)
    assert all(a > b > c for a, b, c in zip(few.f1, more.f1, many.f1, strict=True))


def test_an_explicit_margin_is_used_unchanged(trial: Trial) -> None:
    metrics, contract = trial.challenger.metrics, trial.challenger.card.contract
    bounds = GateBounds(margin=0.005, f1_margin=0.02, f1_margins={"class 3": 0.5}, loss_margin=0.1)
    margins = fit_margins(bounds, contract, metrics, trial.noise)
    assert (margins.accuracy, margins.macro_f1, margins.loss) == (0.005, 0.02, 0.1)
    assert margins.f1 == (0.02, 0.02, 0.02, 0.5, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02)
    assert margins.calibration_error > 0.01
    own = fit_margins(GateBounds(f1_margins={"class 3": 0.5}), contract, metrics, trial.noise)
    assert own.f1[3] == 0.5
    assert all(margin > 0.02 for margin in own.f1)


def test_without_a_champion_there_is_no_noise(trial: Trial) -> None:
    contract, metrics = trial.challenger.card.contract, trial.challenger.metrics
    assert fit_margins(GateBounds(), contract, metrics, None).accuracy == 0.005


def test_the_verdict_describes_the_power_of_a_small_test_split(trial: Trial) -> None:
    (message,) = (check.message for check in judge(trial, GateBounds()).checks if check.name == "change of accuracy")
    assert "on 400 test images, a model that is worse by 0.0" in message
    assert "passes with a probability of about 2.5%, an equal one of " in message
    (of_a_class,) = (check.message for check in judge(trial, GateBounds()).checks if check.name == "F1 of class 3")
    assert of_a_class.endswith("(40 test images)")
    (message,) = (c.message for c in judge(of_images(trial, 25), GateBounds()).checks if c.name == "change of accuracy")
    assert "test images" not in message


def test_macro_f1_is_checked_if_the_classes_are_imbalanced(trial: Trial) -> None:
    even = {check.name for check in judge(trial, GateBounds()).checks}
    assert not even & {"macro F1", "minimum macro F1"}
    trial = draw_trial(populate(Setup("372", SKEWED, 0.78, 0.12)), np.random.default_rng(0))
    skewed = {check.name: check.passed for check in judge(trial, GateBounds()).checks}
    assert skewed["macro F1"]
    assert skewed["minimum macro F1"]
    worse = dataclasses.replace(trial, challenger=sink_small(trial.challenger))
    assert not {check.name: check.passed for check in judge(worse, GateBounds()).checks}["macro F1"]


def sink_small(challenger: Performance) -> Performance:
    """Set F1 to 0.2 in every class but the two largest."""
    metrics = challenger.metrics
    classes = tuple(one if place < 2 else dataclasses.replace(one, f1=0.2) for place, one in enumerate(metrics.classes))
    return dataclasses.replace(challenger, metrics=dataclasses.replace(metrics, classes=classes))


@pytest.mark.parametrize("rows", [20, 59, 400, 6_000])
def test_known_test_images_rarely_exceed_the_largest_share_of_unknown_ones(trial: Trial, rows: int) -> None:
    """Simulated distances: the threshold is fitted to validation images, and test images are like them."""
    metrics, random = trial.challenger.metrics, np.random.default_rng(0)
    known = KnownRange(refused=0.05, threshold=0, quantiles=(0, 1), rows=rows, kept=1, rank=1)
    most = max_unknown(known, metrics, GateBounds(unknown_margin=0))
    error, exceeded = FALSE_REJECTIONS / (len(metrics.classes) + OTHERS), 0
    for _ in range(draws := 20_000):
        distances = np.sort(random.random(rows))
        threshold = distances[math.ceil((rows + 1) * 0.95 - 1e-9) - 1]  # as in `calibrate_known`
        exceeded += random.binomial(metrics.rows, 1 - threshold) / metrics.rows > most
    assert exceeded / draws < 1.5 * error
    assert max_unknown(known, metrics, GateBounds(unknown_margin=0.02)) == pytest.approx(most + 0.02)
    assert max_unknown(known, metrics, GateBounds(unknown_margin=1)) == 1


def test_the_largest_share_of_unknown_test_images_approaches_the_stated_one(trial: Trial) -> None:
    many = of_images(trial, 25).challenger.metrics  # 10,000
    known = KnownRange(refused=0.05, threshold=0, quantiles=(0, 1), rows=6_000, kept=1, rank=1)
    assert 0.055 < max_unknown(known, many, GateBounds(unknown_margin=0)) < 0.065
