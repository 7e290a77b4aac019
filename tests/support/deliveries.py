"""An inbox, a live model, and the deliveries of its files."""

import json
from pathlib import Path

import pytest
from readings import PIXEL_COLUMNS

from components.contract import ModelCard
from components.dataset.manifest import Examples
from components.inbox import Inbox, find_work, open_inbox
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.registry import champion, store
from components.scoring.delivery import Delivery, deliver
from components.scoring.input_check import InputChecker

HEADER = ",".join(["label", *PIXEL_COLUMNS])


@pytest.fixture
def live(bentoml_home: Path, network: MLP, card: ModelCard) -> Classifier:
    champion.make_live(store.save_model(network, card), "a test")
    return champion.load_model()


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return open_inbox(folder)


def table_of(examples: Examples, rows: int) -> str:
    pairs = zip(examples.labels[:rows].tolist(), examples.images[:rows], strict=True)
    lines = [f"{label},{','.join(map(str, image.ravel().tolist()))}" for label, image in pairs]
    return "\n".join([HEADER, *lines]) + "\n"


def empty(inbox: Inbox, live: Classifier, settle: float = 0.0, checker: InputChecker | None = None) -> list[Delivery]:
    deliveries = [deliver(inbox, item, live, checker=checker) for item in find_work(inbox, settle)]
    return [delivery for delivery in deliveries if delivery]


def report_of(delivery: Delivery) -> dict[str, object]:
    report: dict[str, object] = json.loads((delivery.folder / "report.json").read_bytes())
    return report
