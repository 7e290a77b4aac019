"""The network: dense layers with an activation between them."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import nn

from components.contract import CLASSES, PIXELS
from components.errors import SettingsError

WIDEST = 16_384  # units; past that the weights of one layer pair weigh a gigabyte
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


@dataclass(frozen=True)
class ModelConfig:
    """What an MLP looks like.

    Raises:
        SettingsError: a value outside the bounds beside it.
    """

    hidden: tuple[int, ...] = (128,)  # units of each hidden layer, 1 to 16,384
    activation: Literal["relu", "gelu"] = "relu"  # after each hidden layer
    batch_norm: bool = False  # before each activation (arXiv:1502.03167)
    dropout: float = 0.0  # probability, after each activation, in training only; 0 or more and less than 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON gives a list
        if any(not 1 <= width <= WIDEST for width in self.hidden):
            raise SettingsError(f"hidden: {self.hidden}; expected each layer to have 1 to {WIDEST:,} units")
        if self.activation not in ACTIVATIONS:
            raise SettingsError(f"activation: {self.activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout: {self.dropout}; expected 0 or more and less than 1")


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
