"""Architecture of an MLP."""

from dataclasses import dataclass
from typing import Literal, get_args

from components.contract import DataContract
from components.errors import SettingsError

MAX_UNITS = 16_384  # per layer; two layers of this width have a gigabyte of weights between them
Activation = Literal["relu", "gelu"]


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of an MLP.

    Raises:
        SettingsError: A value is out of range.
    """

    hidden: tuple[int, ...] = (128,)  # units of each hidden layer, 1 to 16,384
    activation: Activation = "relu"  # after each hidden layer
    batch_norm: bool = False  # batch normalization before each activation (arXiv:1502.03167)
    dropout: float = 0.0  # dropout probability after each activation, 0 <= p < 1; training only

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON gives a list
        if any(not 1 <= width <= MAX_UNITS for width in self.hidden):
            raise SettingsError(f"hidden: {self.hidden}; expected each layer to have 1 to {MAX_UNITS:,} units")
        if self.activation not in get_args(Activation):
            known = ", ".join(get_args(Activation))
            raise SettingsError(f"activation: {self.activation!r}; expected one of {known}")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout: {self.dropout}; expected 0 or more and less than 1")

    def widths(self, contract: DataContract) -> tuple[int, ...]:
        """Number of units of each layer, from the flattened input through the hidden layers to the logits."""
        return contract.input.size, *self.hidden, len(contract.classes)
