"""The network: a multilayer perceptron."""

from collections import OrderedDict

from torch import nn

from components.contract import DataContract
from components.model.config import ModelConfig

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
