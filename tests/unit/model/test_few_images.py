"""A few images get the answers that they get among many."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import DataContract, Embedding, Images, ImageSpec, ModelCard
from components.dataset.manifest import Examples
from components.model.classifier import Classifier
from components.model.few_images import FEW
from components.model.known import KnownInputs, fit_known
from components.model.mlp import MLP, ModelConfig
from components.model.tensors import to_input


def spread_out(network: MLP) -> MLP:
    """Larger weights, so that probabilities differ."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.5)
    return network.eval()


def assert_equal_alone(model: Classifier, images: Images) -> None:
    probabilities, distances = model.judge(images)
    assert len(images) > FEW
    assert probabilities.max(1).mean() > 0.3
    for rows in (*(slice(row, row + 1) for row in range(20)), slice(20, 27), slice(27, 27 + FEW), slice(0)):
        alone, found = model.judge(images[rows])
        assert (alone.shape, str(alone.dtype)) == (probabilities[rows].shape, "float32")
        assert np.abs(alone - probabilities[rows]).max(initial=0) < 1e-5
        if distances is None:
            assert found is None
        else:
            assert found is not None
            assert (found.shape, str(found.dtype)) == (distances[rows].shape, "float32")
            assert np.allclose(found, distances[rows], atol=1e-3)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("measure", ["none", "groups", "first version"])
def test_the_answer_does_not_depend_on_the_others(
    activation: str, measure: str, card: ModelCard, test_split: Examples
) -> None:
    torch.manual_seed(0)
    network = spread_out(MLP(ModelConfig(hidden=(60, 40), activation=activation), CONTRACT))  # type: ignore[arg-type]
    inputs = to_input(test_split.images)
    if measure == "groups":
        network.known = fit_known(inputs, network.hidden(inputs).detach(), 16, CONTRACT)
    elif measure == "first version":
        basis = torch.randn(CONTRACT.compared + 40, 16, generator=torch.Generator().manual_seed(1)) / 28
        network.known = KnownInputs(basis.half(), torch.randn(50, 16).half(), torch.linspace(1, 2, 50))
    assert_equal_alone(Classifier("", card, network), test_split.images[:150])


def test_vectors_and_batch_norm(card: ModelCard) -> None:
    contract = DataContract(
        "shop", ("one", "other"), ImageSpec(8, 8), "garment", embedding=Embedding("network", "0" * 64, 64, 32, 32)
    )
    random = np.random.default_rng(0)
    images = np.zeros(150, contract.dtype)
    images["vector"] = random.normal(size=(150, 64))
    network = spread_out(MLP(ModelConfig(hidden=(30,)), contract))
    inputs = to_input(images)
    network.known = fit_known(inputs, network.hidden(inputs).detach(), 8, contract)
    assert_equal_alone(Classifier("", replace(card, contract=contract), network), images)
    norm = spread_out(MLP(ModelConfig(hidden=(30,), batch_norm=True), contract))
    assert_equal_alone(Classifier("", replace(card, contract=contract), norm), images)
