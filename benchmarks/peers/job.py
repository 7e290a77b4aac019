"""The input and output of a training contestant. Imports only numpy and the standard library, for all environments."""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Job:
    """One training, read as JSON from standard input."""

    preset: str
    config: dict[str, Any]  # the fields of TrainConfig
    epochs: int
    threads: int
    arrays: str  # .npz with train_images and test_images, uint8 (n, 28, 28), train_labels and test_labels, uint8 (n,)

    @property
    def hidden(self) -> list[int]:
        """Number of units of each hidden layer."""
        return list(self.config["model"]["hidden"])

    @property
    def dropout(self) -> float:
        """Dropout rate after each hidden layer."""
        return float(self.config["model"]["dropout"])

    @property
    def one_hot(self) -> bool:
        """Whether the targets are one-hot encoded."""
        return bool(self.config["labels"] == "one-hot")

    def load(self) -> dict[str, NDArray[np.uint8]]:
        """The arrays, by name."""
        with np.load(self.arrays) as arrays:
            return dict(arrays)

    def trained_rows(self, rows: int) -> int:
        """Number of rows to train on; the rest of the training split is for validation."""
        return rows - round(rows * float(self.config["validation_share"]))


@dataclass(frozen=True)
class Answer:
    """The result, written as JSON to the last line of standard output."""

    seconds: list[float]  # per counted epoch
    accuracy: float | None = None  # on the test split


def read_job() -> Job:
    """Read the job from standard input."""
    return Job(**json.load(sys.stdin))


def give(answer: Answer) -> None:
    """Write the answer to standard output."""
    print(json.dumps(asdict(answer)))
