"""Score a table of pixels with a data frame and torch: read it at once, then predict in batches.

python -m benchmarks.peers.score_frames pandas|polars < JOB
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.peers.score_job import ScoreAnswer, ScoreJob, give, read_job
from components.catalogues.fashion_mnist import CLASSES

BATCH = 8192
PIXELS = [f"pixel{number}" for number in range(1, 785)]
Columns = dict[str, Any]


def build(job: ScoreJob) -> nn.Sequential:
    """Build the network from the stored weights."""
    tensors = load_file(job.weights)
    names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    names.sort(key=lambda name: (name == "logits", name))
    layers: list[nn.Module] = []
    for name in names:
        weight = tensors[f"{name}.weight"]
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]})
        layers += [layer, {"relu": nn.ReLU, "gelu": nn.GELU}[job.activation]()]
    return nn.Sequential(*layers[:-1]).eval()


def predict(network: nn.Module, pixels: NDArray[np.uint8], temperature: float) -> Columns:
    """Predict the output columns for pixels, uint8 (n, 784)."""
    found: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(pixels), BATCH):
            x = torch.from_numpy(pixels[start : start + BATCH].astype(np.float32) / 255)
            found.append(torch.softmax(network(x) / temperature, 1))
    confidence, label = torch.cat(found).max(1)
    names = [CLASSES[number] for number in label.tolist()]
    ids = np.arange(1, len(pixels) + 1)
    return {"id": ids, "label": label.numpy().astype(np.uint8), "name": names, "confidence": confidence.numpy()}


def unpack(column: Any) -> NDArray[np.uint8]:
    """Convert a column of 784 bytes per row to uint8 (n, 784)."""
    return np.frombuffer(b"".join(column), np.uint8).reshape(-1, 784)


def with_pandas(job: ScoreJob, network: nn.Module) -> int:
    """Read, predict and write with pandas."""
    import pandas as pd

    table = pd.read_parquet(job.source) if job.is_parquet else pd.read_csv(job.source)
    pixels = unpack(table["pixels"]) if job.is_parquet else table[PIXELS].to_numpy(np.uint8)
    answer = pd.DataFrame(predict(network, pixels, job.temperature))
    answer.to_parquet(job.output) if job.output.endswith(".parquet") else answer.to_csv(job.output, index=False)
    return len(answer)


def with_polars(job: ScoreJob, network: nn.Module) -> int:
    """Read, predict and write with Polars."""
    import polars as pl

    table = pl.read_parquet(job.source) if job.is_parquet else pl.read_csv(job.source)
    pixels = unpack(table["pixels"]) if job.is_parquet else table.select(PIXELS).cast(pl.UInt8).to_numpy()
    answer = pl.DataFrame(predict(network, pixels, job.temperature))
    answer.write_parquet(job.output) if job.output.endswith(".parquet") else answer.write_csv(job.output)
    return len(answer)


def main() -> None:
    """Run the job from standard input."""
    scorers: dict[str, Callable[[ScoreJob, nn.Module], int]] = {"pandas": with_pandas, "polars": with_polars}
    name, job = sys.argv[1], read_job()
    if name == "polars":  # installed with the other peers; appended to the path, so that all other packages are ours
        sys.path += map(str, Path(".venv-bench/lib").glob("python*/site-packages"))
    __import__(name)
    network = build(job)
    began = time.perf_counter()
    give(ScoreAnswer(scorers[name](job, network), time.perf_counter() - began))


if __name__ == "__main__":
    main()
