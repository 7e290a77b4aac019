"""Where a training begins that goes on from another model: with its layers, whatever its classes are.

The rows that the other model was not trained on stay held out. A network is surer of rows that it was trained on, so
that without this the temperature and the thresholds would be fitted on rows that look easier than any to come.
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

LIVE, ANEW = "live", "none"  # in place of a tag: the live model, and no model


@dataclass(frozen=True)
class Start:
    """A stored model to go on from."""

    tag: str
    network: MLP
    lineage: Lineage  # of its classes
    rows: RowsBefore = field(repr=False)

    def give_layers(self, network: nn.Module, contract: DataContract, config: TrainConfig, lineage: Lineage) -> None:
        """Copy the model's weights into a network that is about to be trained.

        A class that the model knows begins with what the model knows of it; one that was merged, with the mean of its
        parts; a new class begins as any network does.

        Args:
            network: changed in place.
            contract: of the data.
            config: the recipe, of the phase that is about to begin.
            lineage: of the classes of the data.

        Raises:
            SettingsError: its layers or its images are not those of the recipe, or other classes altogether.
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
        """Why a recipe cannot go on from it, in words that follow its tag; "" where it can."""
        mine, wanted = self.network.config, config.model
        if self.network.contract.image != contract.image or self.network.contract.preparation != contract.preparation:
            return f"is about other images than {contract.name}'s"
        if (mine.hidden, mine.activation) != (wanted.hidden, wanted.activation):
            found, expected = (f"{'-'.join(map(str, one.hidden))} {one.activation}" for one in (mine, wanted))
            return f"has the layers {found}, the recipe {expected}"
        if relate(lineage, self.lineage) is None:
            return f"is about other classes ({', '.join(self.lineage.classes[:5])}, ...), and nothing joins them"
        return ""
