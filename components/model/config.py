"""What an MLP looks like."""

from dataclasses import dataclass
from typing import Literal, get_args

from components.contract import DataContract
from components.errors import SettingsError

WIDEST = 16_384  # units; past that the weights of one layer pair weigh a gigabyte
Activation = Literal["relu", "gelu"]


@dataclass(frozen=True)
class ModelConfig:
    """What an MLP looks like.

    Raises:
        SettingsError: a value outside the bounds beside it.
    """

    hidden: tuple[int, ...] = (128,)  # units of each hidden layer, 1 to 16,384
    activation: Activation = "relu"  # after each hidden layer
    batch_norm: bool = False  # before each activation (arXiv:1502.03167)
    dropout: float = 0.0  # probability, after each activation, in training only; 0 or more and less than 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON gives a list
        if any(not 1 <= width <= WIDEST for width in self.hidden):
            raise SettingsError(f"hidden: {self.hidden}; expected each layer to have 1 to {WIDEST:,} units")
        if self.activation not in get_args(Activation):
            known = ", ".join(get_args(Activation))
            raise SettingsError(f"activation: {self.activation!r}; expected one of {known}")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout: {self.dropout}; expected 0 or more and less than 1")

    def widths(self, contract: DataContract) -> tuple[int, ...]:
        """From the numbers of an image through the units of each hidden layer to the classes."""
        return contract.image.size, *self.hidden, len(contract.classes)
