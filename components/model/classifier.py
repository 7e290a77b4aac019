"""A trained network with its name and what is known of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from components.contract import Images, ModelCard
from components.model.mlp import MLP
from components.model.tensors import to_input


@dataclass(frozen=True)
class Classifier:
    """What `load_model` returns and `predict` takes."""

    tag: str  # exact, "fashion-mlp:<version>"
    card: ModelCard
    network: MLP  # in evaluation mode

    def logits(self, images: Images) -> Tensor:
        """uint8 (n, 28, 28) -> float32 (n, 10)."""
        with torch.inference_mode():
            return self.network(to_input(images))  # type: ignore[no-any-return]
