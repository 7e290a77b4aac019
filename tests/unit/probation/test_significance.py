"""Significance tests for shares of clustered traffic, measured over many draws."""

import numpy as np
import pytest

from components.probation.significance import (
    _upper_limits,
    chance_of_distance,
    chance_of_excess,
    chance_of_less,
    chance_of_more,
    compare_samples,
    lower_limit,
)


def test_the_limits_of_a_share_are_those_of_clopper_and_pearson() -> None:
    from scipy.stats import binomtest

    exact = binomtest(7, 100).proportion_ci(0.9)
    assert _upper_limits(0.07, 100, np.array([0.05]))[0] == pytest.approx(exact.high)
    assert lower_limit(0.07, 100, 0.05) == pytest.approx(exact.low)
    assert lower_limit(0.0, 100, 0.05) == 0.0
    assert _upper_limits(1.0, 100, np.array([0.05]))[0] == pytest.approx(1.0)


def test_the_chance_is_that_of_the_binomial_distribution() -> None:
    from scipy.stats import binom

    assert chance_of_more(0.07, 100, 0.03) == pytest.approx(binom.sf(6, 100, 0.03))
    assert chance_of_less(0.07, 100, 0.2) == pytest.approx(binom.cdf(7, 100, 0.2))
    assert (chance_of_more(0.0, 100, 0.1), chance_of_more(1.0, 100, 1.0), chance_of_more(0.5, 10, 0.0)) == (1, 1, 0)


def test_a_distance_within_what_is_allowed_is_never_significant() -> None:
    assert chance_of_distance(0.1, 0.15, 1e9, 1e9) == 1.0
    assert chance_of_distance(0.3, 0.15, 1e4, 1e4) < 1e-9


@pytest.mark.parametrize("together", [1, 10])
def test_the_effective_size_accounts_for_images_that_come_together(together: int) -> None:
    random = np.random.default_rng(0)
    sizes = np.full(200, 50 * together)
    counts = together * random.binomial(50, 0.2, (200, 1))
    samples = compare_samples((counts, sizes), (counts[:20], sizes[:20]))
    assert samples
    before, _ = samples
    assert before.shares[0] == pytest.approx(0.2, abs=0.02)
    assert before.size <= 200 * 50  # of the images, at most the uploads count
    assert before.size > 200 * 50 / 2


def test_a_block_that_wanders_as_a_whole_counts_once_however_many_images_it_has() -> None:
    random = np.random.default_rng(1)
    levels = random.uniform(0.1, 0.3, 100)
    sizes = np.full(100, 10_000)
    counts = random.binomial(10_000, levels)[:, None]
    many = compare_samples((counts, sizes), (np.full((10, 1), 20_000), np.full(10, 100_000)))
    assert many
    assert many[1].size < 100


def test_too_few_blocks_say_nothing_about_the_spread() -> None:
    few = np.ones(5, int)
    assert compare_samples((few[:, None], few), (few[:, None], few)) is None
    assert compare_samples((np.ones((20, 1), int), np.ones(20, int)), (few[:, None], 0 * few)) is None


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_equal_shares_are_significant_no_more_often_than_stated(spread: float) -> None:
    """With a margin of nothing: 4,000 pairs of samples with a design effect, at a level of 2 %."""
    random, false = np.random.default_rng(2), 0
    for _ in range(4_000):
        levels = np.clip(0.1 * np.exp(random.normal(0, spread, 34)), 0, 1)
        sizes = random.poisson(150, 34) + 1
        counts = random.binomial(sizes, levels)[:, None]
        samples = compare_samples((counts[:24], sizes[:24]), (counts[24:], sizes[24:]))
        assert samples
        false += chance_of_excess(*samples, margin=0.0) < 0.02
    assert false <= 0.02 * 4_000


@pytest.mark.parametrize(("found", "is_chance"), [(0.012, True), (0.05, False)])
def test_incidents_before_do_not_hide_that_a_model_fails_all_the_time(found: float, is_chance: bool) -> None:
    """In a day of the champion, half a minute in which half of the requests failed."""
    random = np.random.default_rng(3)
    sizes = np.full(24, 2_000)
    counts = random.binomial(sizes, 0.0002)
    counts[7] += 8
    totals = np.full(10, 400)
    samples = compare_samples((counts[:, None], sizes), (random.binomial(totals, found)[:, None], totals))
    assert samples
    assert (chance_of_excess(*samples, margin=0.01, rare=True) > 1e-6) is is_chance
