"""The input and output of a scoring contestant."""

import json
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class ScoreJob:
    """One table to score, read as JSON from standard input."""

    source: str  # path of a CSV (label,pixel1,...,pixel784), of a Parquet file (pixels), or of a folder of PNGs
    output: str  # path of a CSV with the columns id,label,name,confidence, or the same as Parquet
    weights: str  # path of the network's safetensors: weight and bias of each layer, first to last
    activation: str  # between the layers: relu or gelu
    temperature: float  # the logits are divided by it before the softmax
    url: str = ""  # of the service

    @property
    def is_parquet(self) -> bool:
        """Whether the table is Parquet."""
        return self.source.endswith(".parquet")


@dataclass(frozen=True)
class ScoreAnswer:
    """The result, written as JSON to the last line of standard output."""

    rows: int
    seconds: float  # from the first byte read to the last byte written, without imports and loading the weights


def read_job() -> ScoreJob:
    """Read the job from standard input."""
    return ScoreJob(**json.load(sys.stdin))


def give(answer: ScoreAnswer) -> None:
    """Write the answer to standard output."""
    print(json.dumps(asdict(answer)))
