"""`fashion review`: the state of the queue, and adding images of an input."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from reviewing import FIRST, image_of

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.errors import SettingsError
from components.model.mlp import MLP
from components.registry import champion, store
from components.review.bounds import ReviewBounds
from components.review.images import list_names, read_review_image, write_review_image
from components.review.queue import ReviewQueue
from fashion.cli import review
from fashion.cli.main import run_command

pytestmark = pytest.mark.usefixtures("bentoml_home", "settings")


@pytest.fixture
def bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReviewBounds:
    monkeypatch.setenv("FASHION_REVIEW_DIR", str(tmp_path / "review"))
    return ReviewBounds(tmp_path / "review")


def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", ["fashion", "review", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command()
    assert not ended.value.code
    return capfd.readouterr().out


def test_the_state_is_counted_and_the_accuracy_has_an_interval(
    bounds: ReviewBounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        write_review_image(bounds.folder / "waiting", image_of(rank=0.1 + seed / 10, seed=seed, when=time.time() - 5))
    write_review_image(bounds.folder / "waiting", image_of("uncertain", seed=9))
    empty = run(monkeypatch, capfd)
    assert "4 images wait, at most 2,000 for 14 days\n  1 uncertain, 3 random\n" in empty
    assert "accuracy on live traffic: unknown, no random image was labelled" in empty
    queue = ReviewQueue(bounds, CONTRACT, tmp_path / "inbox")
    while shown := queue.take(FIRST):
        queue.label(shown.name, FIRST, 0)
    assert "accuracy on live traffic: 100.0% (43.9% to 100.0%), 3 random images\n" in run(monkeypatch, capfd)
    found = json.loads(run(monkeypatch, capfd, "--json"))
    assert found["waiting"] == {"random": 0, "uncertain": 0}
    assert (found["labelled"], found["live"]["labelled"]) == (4, 3)
    assert [day["labelled"] for day in found["days"].values()] == [3]


def test_images_of_an_input_are_added_but_are_no_live_traffic(
    bounds: ReviewBounds,
    network: MLP,
    card: ModelCard,
    test_split: Examples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    champion.make_live(store.save_model(network, card), "a test")
    np.savez(tmp_path / "images.npz", images=test_split.images[:50])
    found = json.loads(run(monkeypatch, capfd, "add", str(tmp_path / "images.npz"), "--json"))
    names = list_names(bounds.folder / "waiting")
    assert (found["scored"], found["rejected"], found["added"]) == (50, 0, len(names))
    kept = [read_review_image(bounds.folder / "waiting" / name, name) for name in names]
    assert kept
    assert {one.source for one in kept} == {"scored"}
    assert {one.to_bytes() for one in kept} <= {image.tobytes() for image in test_split.images[:50]}


def test_without_a_folder_it_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match=r"^FASHION_REVIEW_DIR: not set, expected the folder of the review queue"):
        review._read_bounds()
