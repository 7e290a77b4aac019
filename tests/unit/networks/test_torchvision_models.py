"""Classifiers of torchvision: the exported file returns what PyTorch computes before the last layer."""

import pytest
import torch
import torchvision
from safetensors.torch import save
from torch import nn

from components.errors import ModelError, SettingsError
from components.networks import torchvision_models
from components.networks.torchvision_models import SIDE, build_from_file, export

NAME = "mobilenet_v3_large"


def random_classifier(name: str = NAME) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    return model


def test_weights_without_an_architecture_are_refused() -> None:
    with pytest.raises(SettingsError, match="the file's metadata names no architecture, such as mobilenet_v3_large"):
        build_from_file(save({"a": torch.zeros(1)}))


def test_weights_of_an_unknown_architecture_are_refused() -> None:
    with pytest.raises(SettingsError, match="network 'mine': torchvision has no such classifier"):
        build_from_file(save({"a": torch.zeros(1)}, {"architecture": "mine"}))


def test_weights_of_another_architecture_are_refused() -> None:
    with pytest.raises(ModelError, match="the weights do not fit squeezenet1_1: "):
        build_from_file(save({"a": torch.zeros(1)}, {"architecture": "squeezenet1_1"}))


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 40, (9).to_bytes(8, "little") + b"[1, 2, 3]"])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="network: not a safetensors file: "):
        build_from_file(content)


def test_a_classifier_without_a_dense_layer_is_refused() -> None:
    with pytest.raises(SettingsError, match="network squeezenet1_1: has no dense layer to leave out"):
        export(random_classifier("squeezenet1_1"), "squeezenet1_1")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(SettingsError, match="network tiny: needs onnxscript; install the extra photos"):
        export(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2)), "tiny")


def test_weights_that_cannot_be_downloaded_are_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", fail)
    with pytest.raises(SettingsError, match=rf"torchvision/{NAME}: its weights cannot be downloaded: no route to host"):
        torchvision_models.build_pretrained(NAME)
