"""Which uncertain image is labelled next."""

from reviewing import image_of

from components.catalogues.fashion_mnist import CONTRACT
from components.review.choosing import choose, probabilities_of
from components.review.images import ReviewImage


def torn(label: int, confidence: float) -> ReviewImage:
    """An image between a class and the next one."""
    return image_of("uncertain", label, confidence)


def test_the_most_uncertain_comes_first() -> None:
    assert choose([torn(0, 0.9), torn(1, 0.55), torn(2, 0.7)], [], CONTRACT) == 1


def test_among_images_about_as_uncertain_one_that_differs_from_the_last_ones() -> None:
    images = [torn(0, 0.501), torn(0, 0.502), torn(7, 0.51)]
    assert choose(images, [torn(0, 0.51), torn(1, 0.51)], CONTRACT) == 2
    assert choose(images, [torn(7, 0.51)], CONTRACT) == 0


def test_a_clearly_more_uncertain_image_comes_first_even_if_it_resembles_the_last_one() -> None:
    assert choose([torn(0, 0.51), torn(7, 0.6)], [torn(0, 0.51)], CONTRACT) == 0


def test_probabilities_are_those_kept_with_the_images() -> None:
    found = probabilities_of([image_of(label=2, confidence=0.75)], CONTRACT)
    assert found.shape == (1, len(CONTRACT.classes))
    assert found[0, [2, 3]].tolist() == [0.75, 0.25]
