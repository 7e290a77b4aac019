"""What a candidate answers differently, by the names of the classes."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from revised import ADDED, FIRST, THINGS, became, draw, model_of
from shadows import LIVE

from components.contract import Images
from components.model.classifier import Classifier
from components.registry import store
from components.scoring.predict import predict_views
from components.shadow.batches import Batch, encode_batch, kind_of, read_batch
from components.shadow.comparing import Comparison
from components.shadow.counts import FAILED, OTHER_INPUT
from components.shadow.flips import FlipFile

MERGED = {"boot": ["boot"], "top": ["coat", "shirt"], "bag": ["bag"]}
IMAGES = np.concatenate([draw(thing, "test")[:5] for thing in THINGS[:4]])


def batch_of(champion: Classifier, images: Images, folder: Path, views: list[int] | None = None) -> Batch:
    counts = views or [1] * len(images)
    found = predict_views(champion, images, np.array(counts))
    return Batch(
        champion=champion.tag,
        classes=found.classes,
        labels=found.labels.tolist(),
        confidences=found.confidences.tolist(),
        sure=found.sure.tolist(),
        times=[1.0] * len(counts),
        views=counts,
        kind=kind_of(images.dtype, images.shape[1:]),
        flips=str(folder / "flips.jsonl"),
        keep_images=2,
    )


def test_a_batch_survives_its_way_to_the_candidate(tmp_path: Path) -> None:
    batch = batch_of(model_of(tmp_path, FIRST), IMAGES, tmp_path)
    stream = io.BufferedReader(io.BytesIO(encode_batch(batch, IMAGES) * 2))
    for _ in range(2):
        received = read_batch(stream)
        assert received
        assert received == (batch, bytearray(IMAGES.tobytes()))
    assert read_batch(stream) is None
    cut = io.BufferedReader(io.BytesIO(encode_batch(batch, IMAGES)[:-1]))
    assert read_batch(cut) is None


def test_equal_models_change_nothing(tmp_path: Path) -> None:
    model = model_of(tmp_path, FIRST, tag=LIVE)
    found = Comparison(model).compare(batch_of(model, IMAGES, tmp_path), bytearray(IMAGES.tobytes()))
    assert sum(images for *_, images, same in found["pairs"] if same) == len(IMAGES)
    assert found["champion_sure"] == found["candidate_sure"] == found["both_sure"]
    assert sum(found["seconds"]) == len(IMAGES)
    assert found["cpu_seconds"] > 0
    assert not (tmp_path / "flips.jsonl").exists()


def test_changed_labels_are_counted_and_some_pictures_kept(tmp_path: Path) -> None:
    champion, candidate = model_of(tmp_path, FIRST, tag=LIVE), model_of(tmp_path, FIRST, dull={"coat": 99.0})
    batch = batch_of(champion, IMAGES, tmp_path)
    found = Comparison(candidate).compare(batch, bytearray(IMAGES.tobytes()))
    before, after = (predict_views(model, IMAGES, None).names for model in (champion, candidate))
    pairs = {(left, right): images for left, right, images, _ in found["pairs"]}
    assert pairs == {
        pair: list(zip(before, after, strict=True)).count(pair) for pair in zip(before, after, strict=True)
    }
    assert not any(right == "coat" for _, right in pairs)
    kept = FlipFile(tmp_path / "flips.jsonl").pictures
    assert kept == {(left, right): min(2, images) for (left, right), images in pairs.items() if left != right}


@pytest.mark.usefixtures("bentoml_home")
def test_classes_that_were_merged_are_the_same(tmp_path: Path) -> None:
    champion = model_of(tmp_path, FIRST)
    champion = dataclasses.replace(champion, tag=store.save_model(champion.network, champion.card))
    candidate = model_of(tmp_path, MERGED, became(FIRST, MERGED))
    found = Comparison(candidate).compare(batch_of(champion, IMAGES, tmp_path), bytearray(IMAGES.tobytes()))
    same = {(left, right): same for left, right, _, same in found["pairs"]}
    assert {pair for pair, is_same in same.items() if is_same and pair[0] != pair[1]} == {
        ("coat", "top"),
        ("shirt", "top"),
    }
    assert all(is_same for (left, right), is_same in same.items() if left == right)


@pytest.mark.usefixtures("bentoml_home")
def test_without_the_champion_classes_are_matched_by_name(tmp_path: Path) -> None:
    champion, candidate = model_of(tmp_path, FIRST, tag="shop-mlp:champion"), model_of(tmp_path, ADDED)
    comparison = Comparison(candidate)
    assert (comparison.same_classes(champion.tag, tuple(FIRST)) == np.eye(4, 5, dtype=bool)).all()
    assert (comparison.same_classes(champion.tag, tuple(FIRST)[::-1]) == np.eye(4, 5, dtype=bool)[::-1]).all()


def test_photos_with_several_views_are_compared_as_they_are_served(tmp_path: Path) -> None:
    model = model_of(tmp_path, FIRST, tag=LIVE)
    batch = batch_of(model, IMAGES, tmp_path, [3, 1, 6, 10])
    found = Comparison(model).compare(batch, bytearray(IMAGES.tobytes()))
    assert sum(images for *_, images, same in found["pairs"] if same) == 4


def test_probabilities_that_are_not_finite_are_failures(tmp_path: Path) -> None:
    champion, candidate = model_of(tmp_path, FIRST, tag=LIVE), model_of(tmp_path, FIRST)
    batch = batch_of(champion, IMAGES, tmp_path)
    candidate.network.state["logits.weight"][0, 0] = np.inf
    found = Comparison(candidate).compare(batch, bytearray(IMAGES.tobytes()))
    failed = found["skipped"][FAILED]
    assert failed + sum(images for *_, images, _ in found["pairs"]) == len(IMAGES)
    assert found["error"] == f"{failed} images: its probabilities are not finite"


def test_a_champion_of_other_images_is_skipped(tmp_path: Path) -> None:
    model = model_of(tmp_path, FIRST, tag=LIVE)
    batch = dataclasses.replace(batch_of(model, IMAGES, tmp_path), kind="|u1 (9, 9)")
    found = Comparison(model).compare(batch, bytearray(IMAGES.tobytes()))
    assert found["skipped"] == {OTHER_INPUT: len(IMAGES)}
    assert "takes other images: |u1 (9, 9), expected |u1 (8, 8)" in found["error"]
