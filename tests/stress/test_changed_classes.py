"""Classes change while the service answers: each answer matches the model and the classes that it names."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from following import wait_for
from handed_in import base, ready  # noqa: F401, fixtures
from photos import draw_photo, encode_photo
from promotions import SERVED
from servers import Server, serve
from trainings import QUICK

from components.catalogues.fashion_mnist import CLASSES
from components.contract import Dataset, Verdict, fingerprint_of
from components.dataset.classes.changing import add_class, merge_classes, rename_class
from components.dataset.labels.inbox import empty_inbox
from components.dataset.manifest import current_dataset, read_split
from components.dataset.validate import validate
from components.evaluation.card import write_card
from components.promotion.bounds import GateBounds
from components.promotion.promote import promote
from components.registry.champion import history, load_model, rollback
from components.registry.store import save_model
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import train

pytestmark = pytest.mark.slow
BOUNDS = GateBounds(
    margin=1, f1_margin=1, f1_margins={}, loss_margin=99, calibration_margin=1, robustness_margin=1,
    min_accuracy=0.1, min_f1=0, max_loss=3, max_calibration_error=0.5,
)  # fmt: skip
Answer = dict[str, Any]


def train_on_newest(settings: Settings, why: str) -> tuple[str, Verdict]:
    """Train a model on the current dataset and make it live."""
    dataset = current_dataset(settings.datasets_dir)
    assert dataset
    validated = validate(dataset, settings=settings)
    trained = train(validated, QUICK)
    tag = save_model(trained.network, write_card("quick", validated, trained))
    promotion = promote(tag, why, bounds=BOUNDS, settings=settings, canary=lambda *_: (SERVED,))
    assert promotion.promoted, str(promotion)
    assert promotion.verdict
    return tag, promotion.verdict


@contextmanager
def asking(server: Server, image: list[list[int]]) -> Iterator[list[Answer]]:
    """Send requests continuously, and yield the answers."""
    answers, stop = list[Answer](), threading.Event()

    def ask() -> None:
        with server.client() as client:
            while not stop.is_set():
                answer = client.post("/predict", json={"images": [image]})
                answers.append({"status": answer.status_code, **answer.json()})
                stop.wait(0.02)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_service_answers_through_every_class_change_and_names_never_shift(
    base: Dataset, settings: Settings, bentoml_home: Path, tmp_path: Path
) -> None:
    first, _ = train_on_newest(settings, "the first")
    hats = tmp_path / "hats"
    hats.mkdir()
    for number in range(40):
        (hats / f"{number}.png").write_bytes(encode_photo(draw_photo(3, number)))
    test = read_split(base, "test")
    image = test.images[0]
    with serve(bentoml_home) as server, server.client() as client, asking(server, image.tolist()) as answers:
        wait_for(server, first)
        old = client.get("/model").json()["classes_fingerprint"]
        assert old == fingerprint_of(CLASSES)

        add_class("hat", hats, "sold now", settings=settings)
        second, verdict = train_on_newest(settings, "a class more")
        message = next(check.message for check in verdict.checks if check.name == "classes")
        assert message.startswith("classes: hat is new; compared on 200 test images of 10 common classes")
        assert history()[-1].why == "a class more; classes: hat is new"
        wait_for(server, second)
        refused = client.post("/predict", params={"classes": old}, json={"images": [image.tolist()]})
        assert refused.status_code == 409
        assert refused.json()["error"]["expected"] == list(CLASSES)
        assert refused.json()["error"]["found"] == [*CLASSES, "hat"]

        merge_classes(["Pullover", "Shirt"], "Top", "one shelf", settings=settings)
        rename_class("hat", "Headwear", "its new name", settings=settings)
        third, verdict = train_on_newest(settings, "classes less")
        assert "Pullover and Shirt are Top now" in str(verdict.checks)
        assert "hat is Headwear now" in str(verdict.checks)
        wait_for(server, third)
        assert client.get("/model").json()["classes"][2] == "Top"

        corrected = test.images[1].copy()
        corrected[4:9, 4:9] ^= 255
        said = {"said": "Bag", "label": "hat", "model": first, "pixels": base64.b64encode(corrected).decode()}
        (settings.labelled_dir / "correction-1.json").write_text(json.dumps(said))
        (emptied,) = empty_inbox(settings)
        assert emptied.imported
        assert emptied.imported.added == {"Headwear": 1}, "what was called hat is understood"

        rollback(first)
        wait_for(server, first)
        again = client.post("/predict", params={"classes": old}, json={"images": [image.tolist()]})
        assert again.status_code == 200
        assert client.get("/model").json()["classes"] == list(CLASSES)
    models = {tag: load_model(tag) for tag in (first, second, third)}
    right = {tag: predict(model, image[None]) for tag, model in models.items()}
    assert {answer["status"] for answer in answers} == {200}
    assert {answer["model"] for answer in answers} == models.keys()
    for answer in answers:
        (one,), expected = answer["predictions"], right[answer["model"]]
        assert (one["label"], one["name"]) == (expected.labels[0], expected.names[0])
        assert len(one["probabilities"]) == len(models[answer["model"]].contract.classes)
        assert one["probabilities"] == pytest.approx(expected.probabilities[0], abs=1e-5)
