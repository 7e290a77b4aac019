"""Who labels which image: leases, undo, corrections, and several people and processes at once."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from networks import contract_with, embedding_of, make_network
from reviewing import FIRST, SECOND, image_of

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.dataset.labels import corrections
from components.dataset.labels.corrections import InboxFull
from components.dataset.labels.reading import read_label_input
from components.review.bounds import ReviewBounds
from components.review.decisions import read_decisions
from components.review.images import list_names, write_review_image
from components.review.keeping import UNDO
from components.review.queue import LEASE, ReviewQueue, Shown, TakenAway
from components.review.state import describe_queue


@pytest.fixture
def queue(tmp_path: Path) -> ReviewQueue:
    return ReviewQueue(ReviewBounds(tmp_path / "review"), CONTRACT, tmp_path / "inbox")


def fill(queue: ReviewQueue, random: int = 0, uncertain: int = 0) -> None:
    folder = queue.bounds.folder / "waiting"
    for seed in range(random):
        write_review_image(folder, image_of("random", seed % 10, 0.9, rank=0.4 - seed / 1000, seed=seed))
    for seed in range(uncertain):
        write_review_image(folder, image_of("uncertain", seed % 10, 0.55, seed=1000 + seed))


def take(queue: ReviewQueue, reviewer: str = FIRST) -> Shown:
    shown = queue.take(reviewer)
    assert shown
    return shown


def test_an_empty_queue_has_nothing_to_label(queue: ReviewQueue) -> None:
    assert queue.take(FIRST) is None
    assert describe_queue(queue.bounds).waiting == {"random": 0, "uncertain": 0}


def test_a_label_is_a_correction_of_the_image_that_was_shown(queue: ReviewQueue, tmp_path: Path) -> None:
    fill(queue, random=1)
    shown = take(queue)
    queue.label(shown.name, FIRST, 4)
    (one,) = read_label_input(tmp_path / "inbox", CONTRACT).candidates
    assert (one.label, one.pixels) == (4, shown.pixels.tobytes())
    (decision,) = read_decisions(queue.bounds.folder / "decisions")
    assert (decision.said, decision.label, decision.is_right) == (CLASSES[0], CLASSES[4], False)
    assert queue.take(FIRST) is None


def test_an_image_of_none_of_the_classes_is_a_wrong_answer(queue: ReviewQueue) -> None:
    fill(queue, random=1)
    queue.label(take(queue).name, FIRST, None)
    state = describe_queue(queue.bounds)
    assert (state.live.labelled, state.live.accuracy) == (1, 0.0)


def test_one_of_three_images_is_random_in_the_order_of_their_ranks(queue: ReviewQueue) -> None:
    fill(queue, random=4, uncertain=5)
    kinds, ranks = [], []
    for _ in range(9):
        shown = take(queue)
        kinds.append(shown.image.kind[0])
        ranks += [shown.image.rank] if shown.image.kind == "random" else []
        queue.label(shown.name, FIRST, 0)
    assert "".join(kinds) == "ruuruurur", "the other kind, once one of them is empty"
    assert ranks == sorted(ranks)


def test_two_people_never_get_the_same_image(queue: ReviewQueue) -> None:
    fill(queue, random=1, uncertain=1)
    first, second = take(queue, FIRST), take(queue, SECOND)
    assert first.name != second.name
    assert take(queue, FIRST).name == first.name, "a page that is loaded again shows the same image"
    assert queue.take("thirdperson3") is None
    with pytest.raises(TakenAway, match="another person has it"):
        queue.label(first.name, SECOND, 1)
    queue.label(first.name, FIRST, 1)
    with pytest.raises(TakenAway):
        queue.label(first.name, FIRST, 2)


def test_many_people_at_once_share_the_images_without_a_clash(queue: ReviewQueue) -> None:
    fill(queue, random=30, uncertain=30)

    def work(reviewer: str) -> list[str]:
        done = []
        while shown := queue.take(reviewer):
            queue.label(shown.name, reviewer, 1)
            done.append(shown.name)
        return done

    with ThreadPoolExecutor(6) as pool:
        done = [name for names in pool.map(work, [f"person{number:02}" for number in range(6)]) for name in names]
    assert len(done) == len(set(done)) == 60
    assert describe_queue(queue.bounds).labelled == 60


def test_an_expired_lease_goes_to_the_next_person(queue: ReviewQueue) -> None:
    fill(queue, random=1)
    shown = take(queue, FIRST)
    assert queue.take(SECOND) is None
    later = dataclasses.replace(queue, clock=lambda: time.time() + LEASE + 1)
    assert take(later, SECOND).name == shown.name
    with pytest.raises(TakenAway):
        later.label(shown.name, FIRST, 1)
    later.label(shown.name, SECOND, 2)
    assert [one.label for one in read_decisions(queue.bounds.folder / "decisions")] == [CLASSES[2]]


def test_a_label_after_the_lease_counts_if_no_one_else_took_the_image(queue: ReviewQueue) -> None:
    fill(queue, random=1)
    shown = take(queue, FIRST)
    later = dataclasses.replace(queue, clock=lambda: time.time() + LEASE + 1)
    later._tidy()
    later.label(shown.name, FIRST, 3)
    assert describe_queue(queue.bounds).labelled == 1


def test_undo_withdraws_the_correction_and_shows_the_image_again(queue: ReviewQueue, tmp_path: Path) -> None:
    fill(queue, random=2)
    shown = take(queue)
    queue.label(shown.name, FIRST, 4)
    assert queue.undo(shown.name, FIRST).name == shown.name
    assert list((tmp_path / "inbox").glob("*.json")) == []
    assert describe_queue(queue.bounds).labelled == 0
    assert queue.take(SECOND) is not None, "the other image; this one is leased again"
    queue.label(shown.name, FIRST, 5)
    (one,) = read_label_input(tmp_path / "inbox", CONTRACT).candidates
    assert one.label == 5
    with pytest.raises(TakenAway, match="no such image"):
        queue.undo("../../secret", FIRST)


def test_a_skip_writes_no_correction_and_can_be_undone(queue: ReviewQueue, tmp_path: Path) -> None:
    fill(queue, random=1)
    shown = take(queue)
    queue.skip(shown.name, FIRST)
    state = describe_queue(queue.bounds)
    assert (state.labelled, state.skipped, state.live.skipped) == (0, 1, 1)
    assert not (tmp_path / "inbox").exists()
    queue.undo(shown.name, FIRST)
    assert describe_queue(queue.bounds).skipped == 0


def test_an_imported_label_cannot_be_undone(queue: ReviewQueue, tmp_path: Path) -> None:
    fill(queue, random=1)
    shown = take(queue)
    queue.label(shown.name, FIRST, 4)
    for path in (tmp_path / "inbox").iterdir():
        path.unlink()
    with pytest.raises(TakenAway, match="its label was imported; import another label for it"):
        queue.undo(shown.name, FIRST)
    assert describe_queue(queue.bounds).labelled == 1


def test_only_the_last_images_are_kept_for_undo(queue: ReviewQueue) -> None:
    fill(queue, random=UNDO + 2)
    names = []
    for number in range(UNDO + 2):
        queue = dataclasses.replace(queue, clock=partial(float, time.time() + number))
        names.append(take(queue).name)
        queue.label(names[-1], FIRST, 0)
    queue.take(FIRST)
    assert len(list_names(queue.bounds.folder / "decided")) == UNDO
    with pytest.raises(TakenAway, match="only the last 50 decisions can be undone"):
        queue.undo(names[0], FIRST)
    assert queue.undo(names[-1], FIRST)


def test_a_label_holds_for_equal_images(queue: ReviewQueue) -> None:
    for rank in (0.1, 0.3, 0.4):
        write_review_image(queue.bounds.folder / "waiting", image_of(rank=rank, seed=7))
    fill(queue, uncertain=1)
    queue.label(take(queue).name, FIRST, 0)
    state = describe_queue(queue.bounds)
    assert state.waiting == {"random": 0, "uncertain": 1}
    assert state.labelled == 1


def test_a_full_inbox_leaves_the_image_with_the_person(queue: ReviewQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(queue, random=2)
    queue.label(take(queue).name, FIRST, 0)
    monkeypatch.setattr(corrections, "MOST", 1)
    shown = take(queue)
    with pytest.raises(InboxFull):
        queue.label(shown.name, FIRST, 0)
    assert take(queue).name == shown.name
    assert describe_queue(queue.bounds).labelled == 1


def test_images_of_another_contract_and_damaged_ones_are_not_shown(queue: ReviewQueue) -> None:
    fill(queue, random=1)
    assert dataclasses.replace(queue, contract=contract_with(embedding_of(make_network()))).take(FIRST) is None
    (name,) = list_names(queue.bounds.folder / "waiting")
    (queue.bounds.folder / "waiting" / name).write_bytes(b"{")
    assert queue.take(FIRST) is None


def test_uncertain_images_differ_from_the_ones_before(queue: ReviewQueue) -> None:
    folder = queue.bounds.folder / "waiting"
    for seed, (label, confidence) in enumerate([(0, 0.505), (0, 0.51), (0, 0.515), (5, 0.52)]):
        write_review_image(folder, image_of("uncertain", label, confidence, seed=seed))
    shown = []
    for _ in range(2):
        shown.append(take(queue))
        queue.label(shown[-1].name, FIRST, 0)
    assert [one.image.said for one in shown] == [CLASSES[0], CLASSES[5]]


def test_an_image_that_went_away_is_reported(queue: ReviewQueue) -> None:
    fill(queue, random=1)
    shown = take(queue)
    (queue.bounds.folder / "leased" / f"{shown.name}@{FIRST}").unlink()
    with pytest.raises(TakenAway, match="too old"):
        queue.skip(shown.name, FIRST)
