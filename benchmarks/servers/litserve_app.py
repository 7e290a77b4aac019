"""The model behind LitServe, as in its guide: decode, predict, encode.

    .venv/bin/python -m benchmarks.servers.litserve_app PORT

LitServe is installed in .venv-bench. Its packages are appended to the path, so that all others come from .venv.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import Request
from PIL import Image

from components.catalogues.fashion_mnist import CLASSES
from components.model.mlp import to_mlp
from components.registry.champion import load_model
from components.settings import CHECKOUT

sys.path += [str(path) for path in Path(CHECKOUT, ".venv-bench", "lib").glob("python*/site-packages")]

import litserve  # type: ignore[import-not-found]


class FashionAPI(litserve.LitAPI):  # type: ignore[misc]
    """Accepts JSON, or a form with a picture."""

    def setup(self, device: str) -> None:
        """Load the model."""
        torch.set_num_threads(1)
        self.model = load_model()
        self.network = to_mlp(self.model.network)

    def decode_request(self, request: Request) -> torch.Tensor:
        """Decode images to float32 (n, 784); LitServe passes the parsed body, not the request."""
        found: Any = request
        if "file" in found:
            picture = Image.open(found["file"].file).convert("L").resize((28, 28))
            return torch.from_numpy(np.asarray(picture, np.float32)).reshape(1, -1) / 255
        return torch.tensor(found["images"], dtype=torch.float32).flatten(1) / 255

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Predict probabilities, float32 (n, 10)."""
        with torch.inference_mode():
            return torch.softmax(self.network(x) / self.model.card.calibration.temperature, 1)

    def encode_response(self, output: torch.Tensor) -> dict[str, object]:
        """Encode the response."""
        labels = output.argmax(1).tolist()
        return {
            "model": self.model.tag,
            "predictions": [
                {"label": label, "name": CLASSES[label], "confidence": row[label], "probabilities": row}
                for label, row in zip(labels, output.tolist(), strict=True)
            ],
        }


if __name__ == "__main__":
    os.environ.setdefault("DO_NOT_TRACK", "1")
    server = litserve.LitServer(FashionAPI(), accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="error"
    )
