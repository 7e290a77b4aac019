"""A catalogue of drawn photos with a tiny frozen network, and a model of it."""

from pathlib import Path

from networks import write_network
from photos import write_photos

from components.contract import ImageSpec, Validated
from components.dataset.ingest import ingest
from components.dataset.own.start import StartOptions
from components.dataset.validate import validate
from components.evaluation.card import write_card
from components.model.classifier import Classifier
from components.registry import store
from components.settings import Settings
from components.training.presets import configure
from components.training.train import train


def start_shop(folder: Path, settings: Settings, counts: dict[str, int]) -> Validated:
    """A validated dataset of drawn photos with the tiny network."""
    options = StartOptions(ImageSpec(16, 16, 3), network=str(write_network(folder / "tiny.onnx")))
    photos = write_photos(folder / "photos", counts)
    return validate(ingest(str(photos), settings=settings, options=options).dataset, settings=settings)


def train_shop(validated: Validated, epochs: int = 20) -> Classifier:
    """A stored model of such a dataset."""
    config = configure("vectors", {"epochs": epochs, "batch_size": 16}, validated.dataset.contract.input)
    trained = train(validated, config)
    return store.load_stored(store.save_model(trained.network, write_card("vectors", validated, trained)))
