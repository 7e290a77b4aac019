"""Drawing a test split: each class is in both splits, related rows stay together, and no row moves later."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from components.contract import Images, Split
from components.dataset.duplicates import ROWS, find_duplicates_within
from components.dataset.linking import link_duplicates
from components.dataset.splitting import SHARE, Drawn, draw_test_split
from components.errors import SourceError


@dataclass(frozen=True)
class Source:
    """The rows of a source."""

    images: Images
    labels: NDArray[np.uint16]
    digests: list[str]
    groups: list[str]

    def draw(self, before: Mapping[str, Split] | None = None, share: float = SHARE) -> Drawn:
        return draw_test_split(
            self.images, self.labels, self.digests, self.groups, before, share, NAMES[: self.labels.max() + 1]
        )

    def take(self, rows: Sequence[int]) -> "Source":
        rows = list(rows)
        return Source(
            self.images[rows],
            self.labels[rows],
            [self.digests[row] for row in rows],
            [self.groups[row] for row in rows],
        )

    def splits(self, drawn: Drawn) -> dict[str, Split]:
        """Map the digests of all rows that are in a split to it."""
        return {self.digests[row]: "test" if drawn.test[row] else "train" for row in np.flatnonzero(~drawn.left_out)}


NAMES = ("Boot", "10", "Étagère", "Kids 2-6")


def source_of(counts: Sequence[int], groups: Mapping[int, str] | None = None, seed: int = 0) -> Source:
    """Different random images, with these counts per class."""
    labels = np.repeat(np.arange(len(counts), dtype=np.uint16), counts)
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 12, 12), np.uint8)
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    return Source(images, labels, digests, [(groups or {}).get(row, "") for row in range(len(labels))])


def with_images(source: Source, images: Images) -> Source:
    return replace(source, images=images, digests=[hashlib.sha256(image.tobytes()).hexdigest() for image in images])


# --- shares ---


@pytest.mark.parametrize(
    ("images", "tested"), [(2, 1), (3, 1), (7, 1), (9, 1), (10, 2), (12, 2), (17, 3), (100, 15), (400, 60)]
)
def test_each_class_gets_its_share(images: int, tested: int) -> None:
    drawn = source_of([images, 40]).draw()
    assert drawn.counts == {"train": (images - tested, 34), "test": (tested, 6)}


def test_another_share() -> None:
    drawn = source_of([100, 50]).draw(share=0.4)
    assert drawn.counts["test"] == (40, 20)


def test_a_class_with_one_picture_is_rejected() -> None:
    with pytest.raises(
        SourceError, match=r"the class '10' cannot be in both .* found 1 usable picture, expected 2 or more"
    ):
        source_of([20, 1]).draw()


def test_mismatched_arguments_raise() -> None:
    source = source_of([5, 5])
    with pytest.raises(ValueError, match="10 images, 10 labels, 9 digests"):
        draw_test_split(source.images, source.labels, source.digests[:9])
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        source.draw(share=1.0)


# --- rows that stay together ---


def test_shots_of_one_product_stay_together() -> None:
    """Three shots of each of 20 products: original, darker and noisy."""
    source = source_of([60])
    generator = np.random.default_rng(1)
    smooth = gaussian_filter(source.images[::3].astype(float), 1.5, axes=(1, 2))
    smooth = 40 + 180 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
    shots = np.stack([smooth, smooth * 0.9, smooth + generator.normal(0, 1, smooth.shape)], axis=1)
    source = with_images(source, shots.reshape(60, 12, 12).astype(np.uint8))
    drawn = source.draw()
    assert drawn.near_groups == 20
    assert drawn.counts["test"] == (9,)
    assert (drawn.test.reshape(20, 3).sum(axis=1) % 3 == 0).all()


def test_a_group_stays_together_across_classes() -> None:
    source = source_of([30, 30], {row: f"seller {row % 15}" for row in range(60)})
    drawn = source.draw()
    assert_whole_groups(source, drawn)
    assert drawn.counts["test"] == (4, 4)


def assert_whole_groups(source: Source, drawn: Drawn) -> None:
    where: dict[str, set[bool]] = {}
    for row, name in enumerate(source.groups):
        if name and not drawn.left_out[row]:
            where.setdefault(name, set()).add(bool(drawn.test[row]))
    assert all(len(sides) == 1 for sides in where.values())


def test_at_most_half_of_the_sets_are_tested_if_one_is_very_large() -> None:
    source = source_of([100, 100], {row: "photographer" for row in range(200) if row % 10})
    drawn = source.draw()
    assert drawn.counts == {"train": (95, 95), "test": (5, 5)}
    assert not drawn.test[[row for row in range(200) if row % 10]].any()


def test_a_class_that_is_one_set_cannot_be_split() -> None:
    source = source_of([20, 14, 20])
    images = source.images.copy()
    images[20:34] = images[20]
    images[20:34, 0, 0] = range(14)
    with pytest.raises(
        SourceError, match=r"the class '10' .*: its 14 pictures are near-duplicates .* Add pictures of other"
    ):
        with_images(source, images).draw()
    one_seller = source_of([20, 14, 20], dict.fromkeys(range(20, 34), "seller"))
    with pytest.raises(SourceError, match=r"to one group, .* put your own test pictures into a folder test next to"):
        one_seller.draw()


def test_the_smaller_of_two_sets_is_tested() -> None:
    source = source_of([12, 20], {row: "large" if row < 9 else "small" for row in range(12)})
    drawn = source.draw()
    assert drawn.counts["test"] == (3, 3)


# --- exact duplicates ---


def test_the_first_of_equal_images_by_digest_is_kept() -> None:
    source = source_of([20, 20])
    images, digests = source.images.copy(), list(source.digests)
    images[[4, 9]] = images[2]
    digests[4], digests[2], digests[9] = sorted(digests[row] for row in (2, 4, 9))
    drawn = replace(source, images=images, digests=digests).draw()
    assert drawn.duplicates == {2: 4, 9: 4}
    assert np.flatnonzero(drawn.left_out).tolist() == [2, 9]
    assert sum(sum(counts) for counts in drawn.counts.values()) == 38


def test_a_repeated_file_is_one_image_and_joins_its_groups() -> None:
    source = source_of([20, 20], {3: "one", 7: "one", 8: "two", 12: "two"})
    twice = source.take([*range(20), 7, *range(20, 40)])
    twice.groups[20] = "two"
    drawn = twice.draw()
    assert drawn.duplicates == {20: 7}
    assert len({bool(drawn.test[row]) for row in (3, 7, 8, 12)}) == 1


def test_the_same_image_in_two_classes_is_left_out_of_both() -> None:
    source = source_of([20, 20])
    images = source.images.copy()
    images[25] = images[3]
    drawn = with_images(source, images).draw()
    assert drawn.conflicts == ((3, 25),)
    assert np.flatnonzero(drawn.left_out).tolist() == [3, 25]
    assert drawn.duplicates == {}


def test_a_class_that_duplicates_another_is_named() -> None:
    source = source_of([20, 3])
    images = source.images.copy()
    images[20:] = images[:3]
    with pytest.raises(SourceError, match=r"'10' .* each of its pictures is also in another class"):
        with_images(source, images).draw()


def test_near_duplicates_in_two_classes_are_reported_and_stay_together() -> None:
    source = source_of([20, 20])
    images = source.images.copy()
    images[25] = images[3]
    images[25, 0, 0] ^= 1
    drawn = with_images(source, images).draw()
    ((row, other),) = [(one.row, one.other) for one in drawn.near_conflicts]
    assert {row, other} == {3, 25}
    assert drawn.near_conflicts[0].correlation > 0.99
    assert not drawn.left_out.any()
    assert drawn.test[3] == drawn.test[25]


# --- stability ---


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """Classes of 2 to 60 images, some in groups, some duplicated."""
    counts = draw(st.lists(st.integers(2, 60), min_size=1, max_size=4))
    size, seed = sum(counts), draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    sizes = draw(st.sampled_from([0, 3, 10, 40]))
    groups = {row: f"g{generator.integers(sizes)}" for row in range(size) if sizes and generator.random() < 0.5}
    source = source_of(counts, groups, seed)
    again = draw(st.lists(st.integers(0, size - 1), max_size=4))
    return source.take([*range(size), *again])


@given(sources(), st.randoms(use_true_random=False))
@examples(max_examples=60, deadline=None)
def test_the_order_of_the_rows_does_not_matter(source: Source, random: Random) -> None:
    order = list(range(len(source.digests)))
    random.shuffle(order)
    shuffled = source.take(order)
    assert summarize(source) == summarize(shuffled)


def summarize(source: Source) -> object:
    """The result of a draw, independent of the order of the rows."""
    try:
        drawn = source.draw()
    except SourceError as error:
        return str(error)
    return source.splits(drawn), drawn.counts, drawn.near_groups


@given(sources())
@examples(max_examples=60, deadline=None)
def test_no_group_straddles_and_every_class_is_in_both_splits(source: Source) -> None:
    try:
        drawn = source.draw()
    except SourceError:
        return
    assert_whole_groups(source, drawn)
    assert drawn.straddling == ()
    assert not (drawn.test & drawn.left_out).any()
    largest = max(Counter(name for name in source.groups if name).values(), default=1)
    for label, images in enumerate(np.bincount(source.labels[~drawn.left_out]).tolist()):
        tested = drawn.counts["test"][label]
        assert 0 < tested < images
        assert tested + drawn.counts["train"][label] == images
        assert abs(tested - SHARE * images) <= max(largest, 2)


@given(sources(), st.data())
@examples(max_examples=60, deadline=None)
def test_added_rows_do_not_move_existing_ones(source: Source, data: st.DataObject) -> None:
    rows = range(len(source.digests))
    earlier = source.take(sorted(data.draw(st.sets(st.sampled_from(rows), min_size=1))))
    try:
        before = earlier.splits(earlier.draw())
        drawn = source.draw(before)
    except SourceError:
        return
    after = source.splits(drawn)
    assert {digest: after[digest] for digest in before} == before
    parted = {source.groups[row] for row in drawn.straddling}
    assert_whole_groups(replace(source, groups=["" if name in parted else name for name in source.groups]), drawn)


def test_few_rows_move_without_the_previous_version() -> None:
    source = source_of([400, 60], seed=3)
    grown = source_of([440, 66], seed=4)
    grown = replace(grown, images=grown.images.copy(), digests=list(grown.digests))
    places = [*range(400), *range(440, 500)]
    grown.images[places] = source.images
    for place, digest in zip(places, source.digests, strict=True):
        grown.digests[place] = digest
    before, after = source.splits(source.draw()), grown.splits(grown.draw())
    moved = sum(after[digest] != split for digest, split in before.items())
    assert grown.draw(before).counts["test"] == grown.draw().counts["test"]
    assert moved <= 0.03 * len(before)


def test_new_pictures_of_a_tested_product_are_tested() -> None:
    source = source_of([20, 20])
    before: dict[str, Split] = dict.fromkeys(source.digests, "train")
    before |= {source.digests[row]: "test" for row in (4, 5, 24, 25)}
    images = np.concatenate([source.images, source.images[[4, 7]] // 2 * 2 + (source.images[[4, 7]] < 128)])
    digests = [*source.digests, "a" * 64, "b" * 64]
    labels = np.concatenate([source.labels, np.zeros(2, np.uint16)])
    drawn = draw_test_split(images, labels, digests, previous=before)
    assert np.flatnonzero(drawn.test).tolist() == [4, 5, 24, 25, 40]
    assert drawn.straddling == ()


def test_a_new_row_that_links_both_splits_goes_to_the_training_split() -> None:
    source = source_of([20, 20], {3: "one", 4: "two"})
    before: dict[str, Split] = dict.fromkeys(source.digests, "train")
    before |= {source.digests[row]: "test" for row in (4, 5, 24, 25)}
    joined = source.take([*range(40), 0])
    joined.groups[3] = joined.groups[4] = joined.groups[40] = "one"
    joined.digests[40] = "c" * 64
    joined.images[40] = np.random.default_rng(9).integers(0, 256, (12, 12))
    drawn = joined.draw(before)
    assert set(drawn.straddling) == {3, 4, 40}
    assert (drawn.test[4], drawn.test[3], drawn.test[40]) == (True, False, False)


def test_a_class_without_test_pictures_is_named() -> None:
    source = source_of([20, 20])
    before: dict[str, Split] = dict.fromkeys(source.digests, "train")
    with pytest.raises(SourceError, match=r"'Boot' .* must stay in the split that they, .* are already in"):
        source.draw(before)


# --- linking ---


def test_near_duplicates_are_linked_across_blocks() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2 * ROWS + 5, 10, 10), np.uint8)
    images[-1] = images[0] // 2 + 20
    images[ROWS + 1] = images[ROWS - 1]
    sets, _ = link_duplicates(images, np.zeros(len(images), np.uint16))
    pairs = find_duplicates_within(images)
    assert [(pair.row, pair.other) for pair in pairs] == [(0, len(images) - 1), (ROWS - 1, ROWS + 1)]
    assert sets[0] == sets[-1] != sets[ROWS - 1] == sets[ROWS + 1]
    assert sets.max() == len(images) - 3


def test_images_that_are_all_duplicates_form_one_set() -> None:
    images = np.random.default_rng(0).integers(0, 250, (1, 10, 10), np.uint8).repeat(1500, 0)
    labels = np.arange(1500, dtype=np.uint16) % 2
    sets, odd = link_duplicates(images, labels)
    assert sets.max() == 0
    assert len(odd) == 1499, "one for each image, however many there are"
