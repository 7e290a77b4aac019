"""The model behind BentoML's own adaptive batching, as in its guide: a batchable method that takes and returns arrays.

Served as `bentoml serve benchmarks.servers.bentoml_app:Batched`.
"""

import bentoml
import numpy as np
import torch

from components.model.mlp import to_mlp
from components.registry.champion import load_model


@bentoml.service(workers=1)
class Batched:
    """Accepts JSON."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.model = load_model()
        self.network = to_mlp(self.model.network)

    @bentoml.api(batchable=True, max_batch_size=128, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    def predict(self, images: np.ndarray) -> list[dict[str, object]]:
        """Classify images, (n, 28, 28)."""
        with torch.inference_mode():
            x = torch.from_numpy(images.astype(np.float32)).flatten(1) / 255
            probabilities = torch.softmax(self.network(x) / self.model.card.calibration.temperature, 1)
        return [
            {"label": label, "name": self.model.contract.classes[label], "confidence": row[label], "probabilities": row}
            for label, row in zip(probabilities.argmax(1).tolist(), probabilities.tolist(), strict=True)
        ]
