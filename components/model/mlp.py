"""The network: a multilayer perceptron."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from components.contract import DataContract
from components.model.config import ModelConfig
from components.model.known import KnownInputs
from components.model.numpy_mlp import NumpyMLP
from components.model.weights import PREFIX, State

__all__ = ["ACTIVATIONS", "MLP", "ModelConfig"]

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class MLP(nn.Sequential):
    """Maps flattened images or vectors, float32 (n, `contract.input.size`), to logits, float32 (n, classes)."""

    def __init__(self, config: ModelConfig, contract: DataContract) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = contract.input.size
        for number, units in enumerate(config.hidden, 1):
            layers[f"dense{number}"] = nn.Linear(width, units, bias=not config.batch_norm)
            if config.batch_norm:
                layers[f"norm{number}"] = nn.BatchNorm1d(units)
            layers[f"{config.activation}{number}"] = ACTIVATIONS[config.activation]()
            if config.dropout:
                layers[f"dropout{number}"] = nn.Dropout(config.dropout)
            width = units
        layers["logits"] = nn.Linear(width, len(contract.classes))
        super().__init__(layers)
        self.config, self.contract = config, contract
        self.known: KnownInputs | None = None  # None: the model does not detect unknown inputs

    def hidden(self, x: Tensor) -> Tensor:
        """The last hidden layer, float32 (n, units), of inputs, float32 (n, `contract.input.size`)."""
        for layer in list(self)[:-1]:
            x = layer(x)
        return x

    def to_tensors(self) -> dict[str, Tensor]:
        """The weights and, prefixed, the arrays of `known`, by name."""
        known = self.known.arrays() if self.known else {}
        return {**self.state_dict(), **{f"{PREFIX}{name}": torch.from_numpy(array) for name, array in known.items()}}

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `to_tensors` returned.

        Raises:
            RuntimeError: weights are missing, unknown or of another shape.
        """
        known = {name.removeprefix(PREFIX): one.numpy() for name, one in tensors.items() if name.startswith(PREFIX)}
        self.load_state_dict({name: one for name, one in tensors.items() if not name.startswith(PREFIX)})
        self.known = KnownInputs(**known) if known else None

    @property
    def state(self) -> State:
        """A copy of `to_tensors` as arrays."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.to_tensors().items()}

    def to_numpy(self) -> NumpyMLP:
        """The same network for inference, with a copy of the weights."""
        return NumpyMLP(self.config, self.contract, self.state)


def to_mlp(network: NumpyMLP) -> MLP:
    """The same network in PyTorch, in evaluation mode, with a copy of the weights.

    Raises:
        RuntimeError: weights are missing, unknown or of another shape.
    """
    found = MLP(network.config, network.contract)
    found.from_tensors({name: torch.from_numpy(array.copy()) for name, array in network.state.items()})
    return found.eval()
