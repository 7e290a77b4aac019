"""The files of the review queue."""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest
from networks import contract_with, embedding_of, make_network
from reviewing import draw_noise, image_of, predictions_of

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.errors import ReviewError
from components.review.images import (
    list_names,
    measure_uncertainty,
    read_review_image,
    remove_old,
    time_in,
    uncertainty_in,
    write_review_image,
)

DAY = 86_400


def test_an_image_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    image = image_of(label=3, seed=5)
    write_review_image(tmp_path, image)
    (name,) = list_names(tmp_path)
    found = read_review_image(tmp_path / name, name)
    assert found == image
    assert found.said == CLASSES[3]
    pixels = found.to_image(CONTRACT)
    assert pixels is not None
    assert np.array_equal(pixels, draw_noise(1, 5))


def test_two_requests_with_the_same_image_are_two_files(tmp_path: Path) -> None:
    for _ in range(2):
        write_review_image(tmp_path, image_of(when=1_700_000_000.0))
    assert len(list_names(tmp_path)) == 2


def test_an_image_fits_only_the_contract_that_it_is_of() -> None:
    assert image_of().to_image(contract_with(embedding_of(make_network()))) is None


def test_a_damaged_file_is_refused_with_its_path(tmp_path: Path) -> None:
    write_review_image(tmp_path, image_of(seed=1))
    (name,) = list_names(tmp_path)
    path = tmp_path / name
    fields = json.loads(path.read_bytes())
    path.write_text(json.dumps(fields | {"pixels": image_of(seed=2).pixels}))
    with pytest.raises(ReviewError, match=rf"^{path}: damaged: its pixels have the hash \w+, expected \w+. Remove"):
        read_review_image(path, name)
    path.write_text(json.dumps(fields | {"pixels": "?"}))
    with pytest.raises(ReviewError, match="pixels: not base64"):
        read_review_image(path, name)
    path.write_text(json.dumps(fields | {"rate": 0.0}))
    with pytest.raises(ReviewError, match="rate"):
        read_review_image(path, name)
    path.write_bytes(b"")
    with pytest.raises(ReviewError, match="not valid JSON"):
        read_review_image(path, name)


def test_the_oldest_go_first_and_only_of_their_kind(tmp_path: Path) -> None:
    now = time.time()
    for age in range(5):
        write_review_image(tmp_path, image_of("random", seed=age, when=now - age))
    write_review_image(tmp_path, image_of("uncertain", seed=9, when=now - 100))
    newest = list_names(tmp_path, "random")[-2:]
    assert remove_old(tmp_path, "random", 2, days=14) == newest
    assert list_names(tmp_path, "random") == newest
    assert len(list_names(tmp_path, "uncertain")) == 1


def test_of_the_uncertain_the_least_uncertain_go_first(tmp_path: Path) -> None:
    now = time.time()
    for age, confidence in enumerate((0.9, 0.6, 0.7, 0.55, 0.7)):
        write_review_image(tmp_path, image_of("uncertain", confidence=confidence, seed=age, when=now - age))
    stay = remove_old(tmp_path, "uncertain", 3, days=14)
    assert sorted(stay) == sorted(list_names(tmp_path))
    assert [uncertainty_in(name) for name in stay] == [600, 800, 900]
    assert time_in(stay[0]) == pytest.approx(now - 2, abs=0.01), "of two as uncertain, the older one went"


def test_uncertainty_is_the_missing_margin_in_thousandths() -> None:
    first = np.array([0])
    for confidence, expected in ((0.5, 1000), (0.6, 800), (0.99, 20)):
        assert measure_uncertainty(predictions_of([3], confidence), first) == pytest.approx([expected], abs=1)
    unknown = predictions_of([3, 4, 5], 0.99, known=np.array([True, False, True]))
    assert measure_uncertainty(unknown, np.array([1, 2])) == pytest.approx([500, 20], abs=1)


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    for days in (13.9, 14.1):
        write_review_image(tmp_path, image_of(when=time.time() - days * DAY))
    assert remove_old(tmp_path, None, 100, days=14) == list_names(tmp_path)
    assert len(list_names(tmp_path)) == 1


def test_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert remove_old(tmp_path, None, 0, days=1) == []
    assert (tmp_path / "notes.txt").exists()
    assert list_names(tmp_path / "nowhere") == []


def test_suggestions_are_the_most_likely_classes_first() -> None:
    top = image_of(label=9, confidence=0.7).top
    assert [one.name for one in top[:2]] == [CLASSES[9], CLASSES[0]]
    assert top[0].probability == pytest.approx(0.7)
    assert dataclasses.replace(image_of(), top=top).said == CLASSES[9]
