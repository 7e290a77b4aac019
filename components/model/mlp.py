"""The network: a multilayer perceptron."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from components.contract import DataContract
from components.model.config import ModelConfig
from components.model.known import KnownInputs
from components.model.weights import PREFIX

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
        """The weights and, prefixed, the tensors of `known`, by name."""
        known = self.known.tensors() if self.known else {}
        return {**self.state_dict(), **{f"{PREFIX}{name}": tensor for name, tensor in known.items()}}

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `to_tensors` returned. Weights are transposed in memory, which makes products of few rows faster.

        Raises:
            RuntimeError: weights are missing, unknown or of another shape.
        """
        known = {name.removeprefix(PREFIX): one for name, one in tensors.items() if name.startswith(PREFIX)}
        self.load_state_dict({name: one for name, one in tensors.items() if not name.startswith(PREFIX)})
        self.known = KnownInputs(**known) if known else None
        for layer in self:
            if isinstance(layer, nn.Linear):
                layer.weight.data = layer.weight.data.t().contiguous().t()
