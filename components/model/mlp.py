"""The network: dense layers with ReLU between them."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from components.contract import CLASSES, PIXELS
from components.errors import SettingsError

WIDEST = 16_384  # units; past that the weights of one layer pair weigh a gigabyte


@dataclass(frozen=True)
class ModelConfig:
    """What an MLP looks like.

    Raises:
        SettingsError: a layer narrower than one unit or wider than 16,384, or a dropout outside [0, 1).
    """

    hidden: tuple[int, ...] = (128,)  # units of each hidden layer
    dropout: float = 0.0  # probability, after each hidden layer, in training only

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON gives a list
        if any(not 1 <= width <= WIDEST for width in self.hidden):
            raise SettingsError(f"hidden: {self.hidden}; expected each layer to have 1 to {WIDEST:,} units")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout: {self.dropout}; expected 0 or more and less than 1")


class MLP(nn.Sequential):
    """float32 (n, 784) -> logits float32 (n, 10)."""

    def __init__(self, config: ModelConfig) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = PIXELS
        for number, units in enumerate(config.hidden, 1):
            layers[f"dense{number}"] = nn.Linear(width, units)
            layers[f"relu{number}"] = nn.ReLU()
            if config.dropout:
                layers[f"dropout{number}"] = nn.Dropout(config.dropout)
            width = units
        layers["logits"] = nn.Linear(width, len(CLASSES))
        super().__init__(layers)
        self.config = config
