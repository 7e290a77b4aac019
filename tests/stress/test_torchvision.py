"""The exported file of a torchvision classifier returns what PyTorch computes before the last layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save
from torch import nn

from components.networks import sources
from components.networks.embedder import Embedder
from components.networks.onnx_files import DEVIATION, MEAN
from components.networks.torchvision_models import SIDE

pytestmark = pytest.mark.slow

NAME = "mobilenet_v3_large"


def random_classifier() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(NAME, weights=None).eval()
    return model


def test_a_file_of_weights_gives_the_same_bytes_twice_and_the_vectors_of_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the exporter is not installed")
    model = random_classifier()
    path = tmp_path / "mine.safetensors"
    path.write_bytes(save(model.state_dict(), {"architecture": NAME}))
    network = sources.read_network(str(path))
    assert sources.read_network(str(path)).content == network.content
    assert str(Path(torch.__file__).parent.parent).encode() not in network.content, "no path of this machine"
    photos = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    values = torch.from_numpy(((photos / np.float32(255) - MEAN) / DEVIATION).transpose(0, 3, 1, 2).astype(np.float32))
    setattr(model.get_submodule("classifier"), "3", nn.Identity())
    with torch.inference_mode():
        expected = model(values).numpy()
    found = Embedder(network.content, network.embedding, path)
    assert (network.embedding.network, network.embedding.size) == ("mine.safetensors", 1280)
    np.testing.assert_allclose(found.run(photos), expected, atol=1e-4)
    np.testing.assert_allclose(found.run(photos[1:]), expected[1:], atol=1e-4)
