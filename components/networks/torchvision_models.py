"""Export a classifier of torchvision without its last layer, as an ONNX file that returns vectors."""

import json
import tempfile
from pathlib import Path

import torch
import torchvision
from torch import nn

from components.errors import ModelError, SettingsError
from components.networks.embedder import INSTALL
from components.networks.onnx_files import adapt

SIDE = 224  # pixels
OPSET = 18


def build_pretrained(name: str) -> bytes:
    """Return a classifier with the ImageNet weights that torchvision publishes, checked against their hash.

    Raises:
        SettingsError: no such classifier, or its weights cannot be downloaded.
    """
    model = _create(name)
    try:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        model.load_state_dict(weights.get_state_dict(check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SettingsError(f"network torchvision/{name}: its weights cannot be downloaded: {reason}") from error
    return export(model, name)


def build_from_file(content: bytes) -> bytes:
    """Return a classifier with the weights of a safetensors file, whose metadata names the `architecture`.

    Raises:
        SettingsError: no such architecture, or the file does not name one.
        ModelError: the file is damaged, or its weights do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(content)
        size = int.from_bytes(content[:8], "little")  # of the header; see "Format" in the safetensors documentation
        name = json.loads(content[8 : 8 + size]).get("__metadata__", {}).get("architecture", "")
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"network: not a safetensors file: {str(error).splitlines()[0]}") from error
    if not name:
        raise SettingsError("network: the file's metadata names no architecture, such as mobilenet_v3_large")
    model = _create(name)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise ModelError(f"network: the weights do not fit {name}: {problem}") from error
    return export(model, name)


def export(model: nn.Module, name: str) -> bytes:
    """Export a classifier without its last dense layer: uint8 (n, 224, 224, 3) -> float32 (n, size).

    Raises:
        SettingsError: the classifier has no dense layer, or onnxscript is not installed.
        ModelError: the classifier cannot be exported.
    """
    dense = [key for key, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not dense:
        raise SettingsError(f"network {name}: has no dense layer to leave out")
    parent, _, child = dense[-1].rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    photos = torch.zeros(2, 3, SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        try:
            torch.onnx.export(
                model.eval(),
                (photos,),
                path,
                input_names=["values"],
                output_names=["vector"],
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim("n")},),
                external_data=False,
                verbose=False,
            )
        except ModuleNotFoundError as error:
            raise SettingsError(f"network {name}: needs {error.name}; {INSTALL}") from error
        except Exception as error:  # the exporter raises many kinds
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"network {name}: cannot be exported: {reason}") from error
        return adapt(path.read_bytes(), name)


def _create(name: str) -> nn.Module:
    if name not in torchvision.models.list_models(torchvision.models):
        raise SettingsError(f"network {name[:60]!r}: torchvision has no such classifier")
    model: nn.Module = torchvision.models.get_model(name, weights=None)
    return model
