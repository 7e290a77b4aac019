"""The model behind idiomatic FastAPI: a pydantic model for the body, tensors, a dictionary as the response."""

import io

import numpy as np
import torch
from fastapi import FastAPI, HTTPException, Request, UploadFile
from PIL import Image
from pydantic import BaseModel

from components.catalogues.fashion_mnist import CLASSES
from components.model.mlp import to_mlp
from components.registry.champion import load_model

torch.set_num_threads(1)
app = FastAPI()
model = load_model()
network = to_mlp(model.network)


class Body(BaseModel):
    """The body of a request."""

    images: list[list[list[int]]]


def classify(images: np.ndarray) -> dict[str, object]:
    """Classify images, (n, 28, 28)."""
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.min() < 0 or images.max() > 255:
        raise HTTPException(400, "expected images of 28 x 28, 0 to 255")
    with torch.inference_mode():
        x = torch.from_numpy(images.astype(np.float32)).flatten(1) / 255
        probabilities = torch.softmax(network(x) / model.card.calibration.temperature, 1)
    labels = probabilities.argmax(1).tolist()
    return {
        "model": model.tag,
        "predictions": [
            {"label": label, "name": CLASSES[label], "confidence": row[label], "probabilities": row}
            for label, row in zip(labels, probabilities.tolist(), strict=True)
        ],
    }


@app.post("/predict")
async def predict(body: Body) -> dict[str, object]:
    """Classify images in JSON."""
    try:
        images = np.array(body.images)
    except ValueError as error:
        raise HTTPException(400, "expected images of 28 x 28") from error
    return classify(images)


@app.post("/bytes")
async def predict_bytes(request: Request) -> dict[str, object]:
    """Classify raw images of 784 bytes each."""
    return classify(np.frombuffer(await request.body(), np.uint8).reshape(-1, 28, 28))


@app.post("/classify")
async def classify_file(file: UploadFile) -> dict[str, object]:
    """Classify a picture file."""
    with Image.open(io.BytesIO(await file.read())) as picture:
        return classify(np.asarray(picture.convert("L").resize((28, 28)))[None])
