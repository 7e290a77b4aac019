"""The network: dense layers with an activation between them."""

from collections import OrderedDict

from torch import nn

from components.contract import CLASSES, PIXELS
from components.model.config import ModelConfig

__all__ = ["ACTIVATIONS", "MLP", "ModelConfig"]

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class MLP(nn.Sequential):
    """float32 (n, 784) -> logits float32 (n, 10)."""

    def __init__(self, config: ModelConfig) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = PIXELS
        for number, units in enumerate(config.hidden, 1):
            layers[f"dense{number}"] = nn.Linear(width, units, bias=not config.batch_norm)
            if config.batch_norm:
                layers[f"norm{number}"] = nn.BatchNorm1d(units)
            layers[f"{config.activation}{number}"] = ACTIVATIONS[config.activation]()
            if config.dropout:
                layers[f"dropout{number}"] = nn.Dropout(config.dropout)
            width = units
        layers["logits"] = nn.Linear(width, len(CLASSES))
        super().__init__(layers)
        self.config = config
