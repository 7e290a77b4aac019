"""What a contestant is asked and what it answers. Standard library and numpy only: every environment has them."""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Job:
    """One training, given as JSON on standard input."""

    preset: str
    config: dict[str, Any]  # the fields of TrainConfig
    epochs: int
    threads: int
    arrays: str  # an .npz of train_images and test_images, uint8 (n, 28, 28), train_labels and test_labels, uint8 (n,)

    @property
    def hidden(self) -> list[int]:
        """Units of each hidden layer."""
        return list(self.config["model"]["hidden"])

    @property
    def dropout(self) -> float:
        """After each hidden layer."""
        return float(self.config["model"]["dropout"])

    @property
    def one_hot(self) -> bool:
        """Whether the targets are rows of 0 and 1."""
        return bool(self.config["labels"] == "one-hot")

    def load(self) -> dict[str, NDArray[np.uint8]]:
        """The arrays, by name."""
        with np.load(self.arrays) as arrays:
            return dict(arrays)

    def trained_rows(self, rows: int) -> int:
        """How many of the training split's rows are learned from; the others are for validation."""
        return rows - round(rows * self.config["validation_share"])


@dataclass(frozen=True)
class Answer:
    """What came of it, as JSON on the last line of standard output."""

    seconds: list[float]  # of each epoch that counts
    accuracy: float | None = None  # on the test split


def read_job() -> Job:
    """The job that this process was started for."""
    return Job(**json.load(sys.stdin))


def give(answer: Answer) -> None:
    """Hand the answer back."""
    print(json.dumps(asdict(answer)))
