"""What a contestant in scoring is asked and what it answers."""

import json
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class ScoreJob:
    """One table to score, given as JSON on standard input."""

    source: str  # path of a CSV (label,pixel1,...,pixel784), of a Parquet file (pixels), or of a folder of PNGs
    output: str  # path; CSV with the columns id,label,name,confidence, or the same as Parquet
    weights: str  # path of the network's safetensors: weight and bias of each layer, from the first to the last
    activation: str  # between the layers: relu or gelu
    temperature: float  # the logits are divided by it before the softmax
    url: str = ""  # of the service

    @property
    def is_parquet(self) -> bool:
        """Whether the table is Parquet."""
        return self.source.endswith(".parquet")


@dataclass(frozen=True)
class ScoreAnswer:
    """What came of it, as JSON on the last line of standard output."""

    rows: int
    seconds: float  # from the first byte read to the last one written, imports and the loading of weights left out


def read_job() -> ScoreJob:
    """The job that this process was started for."""
    return ScoreJob(**json.load(sys.stdin))


def give(answer: ScoreAnswer) -> None:
    """Hand the answer back."""
    print(json.dumps(asdict(answer)))
