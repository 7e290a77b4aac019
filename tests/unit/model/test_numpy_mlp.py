"""A network in NumPy answers as in PyTorch, however many images are asked about together."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import softmax

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import DataContract, Embedding, Images, ImageSpec, ModelCard
from components.dataset.manifest import Examples
from components.model.classifier import Classifier
from components.model.inputs import to_rows
from components.model.known import KnownInputs, fit_known
from components.model.mlp import MLP, ModelConfig, to_mlp
from components.model.numpy_mlp import ACTIVATIONS, CHUNK
from components.model.tensors import to_input


def spread_out(network: MLP) -> MLP:
    """Larger weights, so that probabilities differ."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.5)
    return network.eval()


def assert_equal_in_torch(model: Classifier, network: MLP, images: Images) -> None:
    with torch.inference_mode():
        hidden = network.hidden(to_input(images))
        expected = softmax(network[-1](hidden) / model.card.calibration.temperature, 1).numpy()
    assert expected.max(1).mean() > 0.3
    assert np.allclose(model.hidden(images), hidden, rtol=1e-4, atol=1e-5)
    assert np.abs(model.probabilities(images) - expected).max() < 1e-5
    assert np.array_equal(model.judge(images)[0], model.probabilities(images))


def assert_equal_alone(model: Classifier, images: Images) -> None:
    probabilities, distances = model.judge(images)
    for rows in (*(slice(row, row + 1) for row in range(20)), slice(20, 27), slice(27, 91), slice(0)):
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
def test_pixels(activation: str, measure: str, card: ModelCard, test_split: Examples) -> None:
    torch.manual_seed(0)
    network = spread_out(MLP(ModelConfig(hidden=(60, 40), activation=activation), CONTRACT))  # type: ignore[arg-type]
    inputs = to_rows(test_split.images)
    if measure == "groups":
        network.known = fit_known(inputs, network.to_numpy().hidden(inputs), 16, CONTRACT)
    elif measure == "first version":
        random = np.random.default_rng(0)
        basis, sample = random.normal(0, 1 / 28, (CONTRACT.compared + 40, 16)), random.normal(size=(50, 16))
        scale = np.linspace(1, 2, 50, dtype=np.float32)
        network.known = KnownInputs(basis.astype(np.float16), sample.astype(np.float16), scale)
    model = Classifier("", card, network.to_numpy())
    assert_equal_in_torch(model, network, test_split.images[:150])
    assert_equal_alone(model, test_split.images[:150])


def test_vectors_and_batch_norm(card: ModelCard) -> None:
    contract = DataContract(
        "shop", ("one", "other"), ImageSpec(8, 8), "garment", embedding=Embedding("network", "0" * 64, 64, 32, 32)
    )
    random = np.random.default_rng(0)
    images = np.zeros(150, contract.dtype)
    images["vector"] = random.normal(size=(150, 64))
    torch.manual_seed(0)
    for config in (ModelConfig(hidden=(30,)), ModelConfig(hidden=(30, 20), batch_norm=True)):
        network = MLP(config, contract)
        network.train()(to_input(images) * 3 + 1)  # batch norm sees other means and variances than 0 and 1
        inputs = to_rows(images)
        spread_out(network).known = fit_known(inputs, network.to_numpy().hidden(inputs), 8, contract)
        model = Classifier("", replace(card, contract=contract), network.to_numpy())
        assert_equal_in_torch(model, network, images)
        assert_equal_alone(model, images)


def test_a_network_round_trips(network: MLP) -> None:
    found, before = to_mlp(network.to_numpy()).to_tensors(), network.to_tensors()
    assert found.keys() == before.keys()
    assert all(torch.equal(found[name], before[name]) for name in before)


def test_its_parameters_are_those_of_training() -> None:
    network = MLP(ModelConfig(hidden=(30, 20), batch_norm=True), CONTRACT)
    found = network.to_numpy().parameters
    assert [one.shape for one in found] == [tuple(one.shape) for one in network.parameters()]


def test_gelu_is_exact_to_one_millionth() -> None:
    x = np.linspace(-12, 12, CHUNK + 1_001).astype(np.float32)  # more than one chunk
    exact = np.array([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x.tolist()])
    found = ACTIVATIONS["gelu"](x.copy())
    assert np.abs(found - exact).max() < 1e-6
    with np.errstate(over="ignore"):
        extremes = ACTIVATIONS["gelu"](np.array([1e30, -1e30, 0], np.float32))
    assert extremes.tolist() == [np.float32(1e30), 0, 0]
