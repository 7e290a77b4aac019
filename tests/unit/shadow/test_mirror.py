"""What a worker keeps for its candidate, and what it counts, without a candidate that answers."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from following import save
from shadows import start

from components.contract import Images, ModelCard, Predictions
from components.monitoring.prediction_log import LoggedAnswer
from components.registry import champion
from components.shadow import mirror as mirroring
from components.shadow.control import start_shadow, stop_shadow
from components.shadow.counts import BUSY, FAILED, NO_IMAGE, NOT_SAMPLED, OFF, WAITING, read_counts
from components.shadow.mirror import Mirror
from components.training.train import Trained


@pytest.fixture
def candidate(trained: Trained, card: ModelCard, bentoml_home: Path) -> str:
    champion.make_live(save(trained, card, 1.0), "a test")
    return save(trained, card, 2.0)


def answer(card: ModelCard, photos: int, images: Images | None = None, model: str = "") -> LoggedAnswer:
    images = np.zeros((photos, *card.contract.image.shape), np.uint8) if images is None else images
    probabilities = np.full((photos, len(card.classes)), 0.1, np.float32)
    labels, sure = np.zeros(photos, np.uint16), np.ones(photos, bool)
    tag = model or champion.live_move().tag
    return LoggedAnswer(1.0, Predictions(tag, card.classes, labels, probabilities, sure), images)


def following() -> Mirror:
    mirror = Mirror()
    mirror._follow()
    return mirror


def save_counts(mirror: Mirror) -> None:
    assert mirror._running
    mirror._save(mirror._running)


def test_an_inactive_mirror_counts_nothing(candidate: str, card: ModelCard) -> None:
    mirror = following()
    mirror.add([answer(card, 3)])
    mirror.tick()
    mirror.close()
    assert read_counts(candidate) is None


def test_a_random_share_is_kept(candidate: str, card: ModelCard) -> None:
    start(candidate, share=0.3)
    mirror = following()
    for photos in (1, 200, *[1] * 199):
        mirror.add([answer(card, photos)])
    save_counts(mirror)
    counts = read_counts(candidate)
    assert counts
    assert counts.seen == 400
    assert counts.skipped[NOT_SAMPLED] + counts.skipped[WAITING] == 400
    assert 70 < counts.skipped[WAITING] < 170


def test_a_full_channel_and_missing_images_are_counted(candidate: str, card: ModelCard) -> None:
    start(candidate)
    mirror = following()
    mirror.add([answer(card, mirroring.MOST_WAITING - 1)])
    mirror.add([answer(card, 3)])
    mirror.add([answer(card, 4, np.zeros((0, *card.contract.image.shape), np.uint8))])
    save_counts(mirror)
    counts = read_counts(candidate)
    assert counts
    assert counts.skipped == {WAITING: mirroring.MOST_WAITING, BUSY: 2, NO_IMAGE: 4}


def test_the_bytes_that_wait_are_bounded(candidate: str, card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "MOST_BYTES", 10 * card.contract.image.size)
    start(candidate)
    mirror = following()
    mirror.add([answer(card, 15)])
    save_counts(mirror)
    assert read_counts(candidate).skipped == {WAITING: 10, BUSY: 5}  # type: ignore[union-attr]


def test_all_views_of_a_photo_are_kept(candidate: str, card: ModelCard) -> None:
    start(candidate)
    mirror = following()
    views = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones(card.contract.image.shape, np.uint8)
    counts = np.array([1, 3, 2])
    mirror.add([answer(card, 3, views[[0, 1, 4]])._replace(views=views, counts=counts)])
    assert mirror._running
    (sample,) = mirror._running.samples
    assert sample.views == [1, 3, 2]
    assert (sample.images == views).all()


def test_the_answers_of_the_candidate_itself_are_not_seen(candidate: str, card: ModelCard) -> None:
    start(candidate)
    mirror = following()
    mirror.add([answer(card, 3, model=candidate)])
    save_counts(mirror)
    assert read_counts(candidate) is None


def test_each_champion_has_its_own_counts(candidate: str, card: ModelCard, trained: Trained) -> None:
    start(candidate)
    mirror = following()
    first, second = champion.live_move().tag, save(trained, card, 3.0)
    mirror.add([answer(card, 2)])
    champion.make_live(second, "a test")
    mirror.add([answer(card, 3)])
    mirror.add([answer(card, 1, model=first)])  # an answer from before the swap that is counted after it
    save_counts(mirror)
    assert [read_counts(candidate, tag).seen for tag in (first, second)] == [3, 3]  # type: ignore[union-attr]


def test_what_waits_when_the_shadow_ends_is_skipped(candidate: str, card: ModelCard) -> None:
    start(candidate)
    mirror = following()
    mirror.add([answer(card, 3)])
    stop_shadow()
    mirror._follow()
    mirror.add([answer(card, 5)])
    assert read_counts(candidate).skipped == {OFF: 3}  # type: ignore[union-attr]


def test_the_images_of_a_candidate_that_cannot_be_loaded_are_failures(candidate: str, card: ModelCard) -> None:
    start(candidate)
    mirror = following()
    mirror.add([answer(card, 3)])
    assert mirror._running
    mirror._receive(mirror._running, {"problem": "its weights are missing"})
    mirror.add([answer(card, 2)])
    save_counts(mirror)
    counts = read_counts(candidate)
    assert counts
    assert (counts.skipped, counts.failed, counts.error) == ({FAILED: 5}, 5, "its weights are missing")


def test_a_shadow_ends_at_its_time(candidate: str, card: ModelCard) -> None:
    mirror = following()
    start_shadow(candidate, share=1.0, who="anna", why="a test", until=datetime(2026, 1, 1, tzinfo=UTC))
    mirror._follow()
    mirror.add([answer(card, 2)])
    save_counts(mirror)
    mirror.add([answer(card, 3)])
    save_counts(mirror)
    counts = read_counts(candidate)
    assert counts
    assert (counts.seen, counts.skipped) == (2, {OFF: 2})
    start(candidate)  # again, without an end
    mirror._follow()
    mirror.add([answer(card, 3)])
    save_counts(mirror)
    assert read_counts(candidate).seen == 5  # type: ignore[union-attr]
