"""Which images of the traffic are kept for review."""

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from reviewing import answer_of, draw_noise, predictions_of

from components.catalogues.sample import draw
from components.monitoring.prediction_log import LoggedAnswer
from components.review.bounds import ReviewBounds
from components.review.images import KINDS, list_names, read_review_image
from components.review.keeping import UNDO, AdaptiveShare, Keeper, find_uncertain, shrink

HOUR = 3600


def test_the_share_keeps_every_image_while_there_are_few() -> None:
    share = AdaptiveShare(lambda: 1000, np.random.default_rng(0))
    drawn = share.draw(3, 0.0)
    assert [place for place, _, _ in drawn] == [0, 1, 2]
    assert all(0 <= rank <= rate <= 1 for _, rate, rank in drawn)


def test_the_recorded_rate_is_the_probability_of_being_kept() -> None:
    """The inverse rates of the kept images add up to the number of images: over draws, without bias."""
    sizes, sums, kept = [1, 1, 7, 300, 1, 5000, 40, 900], [], []
    for seed in range(400):
        share = AdaptiveShare(lambda: 5, np.random.default_rng(seed))
        drawn = [one for hour, size in enumerate(sizes) for one in share.draw(size, hour * 1800)]
        sums.append(sum(1 / rate for _, rate, _ in drawn))
        kept.append(len(drawn))
    error = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - sum(sizes)) < 3 * error
    assert error < 0.05 * sum(sizes)
    assert max(kept) < 5 * 4 * np.log2(sum(sizes))


def test_ranks_are_uniform_over_all_images_kept_or_not() -> None:
    share = AdaptiveShare(lambda: 2000, np.random.default_rng(1))
    ranks = [rank for hour in range(20) for _, _, rank in share.draw(1000, hour * HOUR)]
    counts = np.histogram(ranks, bins=10, range=(0, min(1.0, max(ranks))))[0]
    assert counts[0] >= counts[-1] > 0
    low = [rank for rank in ranks if rank < 0.1]
    assert abs(len(low) - 20 * 1000 * 0.1) < 4 * np.sqrt(20 * 1000 * 0.1)


def test_a_busy_hour_starts_with_the_rate_of_the_hour_before() -> None:
    share = AdaptiveShare(lambda: 10, np.random.default_rng(0))
    first = share.draw(100_000, 0.0)
    second = share.draw(100_000, HOUR)
    assert len(first) > 80
    assert 2 <= len(second) < 40
    assert second[0][1] <= 10 / 100_000
    assert share.draw(1, 3 * HOUR)[0][1] == 1.0, "after an hour without images, every image is kept"


def bounds_in(folder: Path, images: int = 2000) -> ReviewBounds:
    return ReviewBounds(folder, images)


def test_both_kinds_are_kept_and_read_back(tmp_path: Path) -> None:
    keeper = Keeper(bounds_in(tmp_path), "live", lambda: None, seed=0)
    images, _ = draw(20, np.random.default_rng(0))
    assert keeper.add(answer_of(images, sure=False)) > 20
    for kind in KINDS:
        for name in list_names(tmp_path / "waiting", kind):
            found = read_review_image(tmp_path / "waiting" / name, name)
            assert found.kind == kind
            assert not found.sure
            assert any(found.to_bytes() == image.tobytes() for image in images)


def test_a_sure_answer_is_kept_by_chance_only(tmp_path: Path) -> None:
    keeper = Keeper(bounds_in(tmp_path), "live", lambda: None, seed=0)
    keeper.add(answer_of(draw_noise(20), sure=True))
    assert Counter(name.partition("-")[0] for name in list_names(tmp_path / "waiting")).keys() == {"random"}


def test_near_duplicates_are_kept_once_among_the_uncertain(tmp_path: Path) -> None:
    keeper = Keeper(bounds_in(tmp_path), "live", lambda: None, seed=0)
    image = draw_noise(1)
    nearly = np.clip(image.astype(int) + 1, 0, 255).astype(np.uint8)
    for one in (image, image, nearly, draw(1, np.random.default_rng(3))[0]):
        keeper.add(answer_of(one, sure=False))
    assert len(list_names(tmp_path / "waiting", "uncertain")) == 2
    assert len(list_names(tmp_path / "waiting", "random")) == 4, "the random share is of all requests"


def test_the_number_of_images_is_bounded(tmp_path: Path) -> None:
    keeper = Keeper(bounds_in(tmp_path, 100), "live", lambda: None, seed=0)
    for hour in range(60):
        keeper.add(answer_of(draw_noise(40, hour), sure=False, when=1e9 + hour * HOUR))
        assert len(list_names(tmp_path / "waiting")) <= 100 - UNDO


def test_the_most_uncertain_images_stay(tmp_path: Path) -> None:
    """Of more than there is room for, in any order, and at any time."""
    keeper = Keeper(bounds_in(tmp_path, 100), "live", lambda: None, seed=0)
    confidences = np.random.default_rng(0).permutation(np.linspace(0.5, 0.9, 200)).tolist()
    now = time.time()
    for number, confidence in enumerate(confidences):
        answer = LoggedAnswer(now + number, predictions_of([3], confidence, sure=False), draw_noise(1, number))
        keeper.add(answer)
    names = list_names(tmp_path / "waiting", "uncertain")
    assert len(names) == keeper.most
    kept = [read_review_image(tmp_path / "waiting" / name, name).top[0].probability for name in names]
    assert sorted(kept) == pytest.approx(sorted(confidences)[: keeper.most], abs=0.001)


def test_images_are_kept_again_when_people_have_taken_some(tmp_path: Path) -> None:
    keeper = Keeper(bounds_in(tmp_path, 100), "live", lambda: None, seed=0)
    now = time.time()

    def add(number: int, confidence: float, when: float) -> int:
        """How many uncertain images wait then."""
        keeper.add(LoggedAnswer(when, predictions_of([3], confidence, sure=False), draw_noise(1, number)))
        return len(list_names(tmp_path / "waiting", "uncertain"))

    for number in range(keeper.most):
        add(number, 0.6, now)
    for name in list_names(tmp_path / "waiting", "uncertain")[:5]:
        (tmp_path / "waiting" / name).unlink()
    add(200, 0.8, now + 1)
    assert add(201, 0.8, now + 62) > keeper.most - 5


def test_an_answer_without_its_images_keeps_none(tmp_path: Path) -> None:
    keeper = Keeper(bounds_in(tmp_path), "live", lambda: None)
    assert keeper.add(LoggedAnswer(0.0, predictions_of([1, 2], sure=False), draw_noise(0))) == 0


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Keeper(bounds_in(tmp_path / "file"), "live", lambda: None).add(answer_of(draw_noise(3)))


def test_uncertain_means_not_sure_or_not_known() -> None:
    known = np.array([True, False, True])
    assert find_uncertain(predictions_of([0, 1, 2], known=known)).tolist() == [1]
    assert find_uncertain(predictions_of([0, 1], sure=False)).tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(28, 28), (33, 20, 3), (8, 8)])
def test_a_thumbnail_has_the_means_of_the_cells(shape: tuple[int, ...]) -> None:
    assert shrink(np.full(shape, 200, np.uint8)) == pytest.approx(200)
    picture = np.zeros(shape, np.uint8)
    picture[shape[0] // 2 :] = 100
    small = shrink(picture)
    assert small.shape == (8, 8, *shape[2:])
    assert small[0].max() == 0
    assert small[-1].min() == 100
