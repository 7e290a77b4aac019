"""Warm starts: a training that starts from the weights of a stored model, even if its classes differ.

The validation rows of the stored model stay held out. A network is more confident on rows that it was trained on, so
the temperature and the thresholds would otherwise be fitted on rows that are easier than new ones.
"""

from dataclasses import dataclass, field

import torch
from torch import nn

from components.contract import DataContract
from components.errors import SettingsError
from components.model.mlp import MLP
from components.revisions import Lineage, relate
from components.training.config import TrainConfig
from components.training.data import RowsBefore

HOW_MADE = ("image", "preparation_family", "embedding")  # fields of a contract that say what a model takes
LIVE, ANEW = "live", "none"  # instead of a tag: the live model; no model


@dataclass(frozen=True)
class Start:
    """A stored model to start from."""

    tag: str
    network: MLP
    lineage: Lineage  # of its classes
    rows: RowsBefore = field(repr=False)  # of its training

    def copy_weights(self, network: nn.Module, contract: DataContract, config: TrainConfig, lineage: Lineage) -> None:
        """Copy the model's weights into a network before training.

        In the output layer, a class that the model knows takes that class's weights, a merged class takes the mean of
        its parts, and a new class keeps its random weights.

        Args:
            network: The network to train; modified in place.
            contract: Data contract of the dataset.
            config: Configuration of the first phase.
            lineage: Lineage of the dataset's classes.

        Raises:
            SettingsError: The model has other layers, images or unrelated classes.
        """
        if problem := self.find_misfit(contract, config, lineage):
            raise SettingsError(f"start_from: {self.tag} {problem}")
        related = relate(lineage, self.lineage)
        ours, theirs = network.state_dict(), self.network.state_dict()
        shares = torch.tensor(related, dtype=torch.float32)
        known = shares.sum(1) > 0
        shares = shares[known] / shares[known].sum(1, keepdim=True)
        for name in ("logits.weight", "logits.bias"):
            ours[name][known] = shares @ theirs.pop(name)
        network.load_state_dict({**ours, **theirs})

    def find_misfit(self, contract: DataContract, config: TrainConfig, lineage: Lineage) -> str:
        """Return why a training cannot start from this model, as a phrase that follows its tag; "" if it can."""
        found, expected = self.network.config, config.model
        if any(getattr(self.network.contract, name) != getattr(contract, name) for name in HOW_MADE):
            return f"takes images of another format than {contract.name}"
        if (found.hidden, found.activation) != (expected.hidden, expected.activation):
            layers = (f"{'-'.join(map(str, one.hidden))} {one.activation}" for one in (found, expected))
            return "has hidden layers {}; expected {}".format(*layers)
        if relate(lineage, self.lineage) is None:
            return f"has unrelated classes ({', '.join(self.lineage.classes[:5])}, ...)"
        return ""
