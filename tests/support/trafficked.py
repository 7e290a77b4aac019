"""A model, its profile, and stable traffic."""

import numpy as np
import pytest

from components.catalogues.fashion_mnist import CLASSES
from components.catalogues.sample import draw
from components.contract import Images, ModelCard, Profile
from components.evaluation.profile import Seen, make_profile, to_seen
from components.model.classifier import Classifier
from components.scoring.predict import predict
from components.training.train import Trained


@pytest.fixture(scope="module")
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:abcdefgh", card, trained.network.to_numpy())


@pytest.fixture(scope="module")
def images() -> Images:
    return draw(1200, np.random.default_rng(7))[0]


@pytest.fixture(scope="module")
def profile(model: Classifier, images: Images) -> Profile:
    return make_profile(to_seen(predict(model, images[:600]), images[:600]), len(CLASSES))


@pytest.fixture(scope="module")
def calm(model: Classifier, images: Images) -> Seen:
    return to_seen(predict(model, images[600:]), images[600:])
