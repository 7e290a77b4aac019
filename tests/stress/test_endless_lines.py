"""A table of line breaks only."""

import io
import resource
import sys

import pytest
from readings import PIXEL_COLUMNS, WANTED

from components.contract import ModelCard
from components.errors import InputError
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.readers.tables.csv import read_pixel_csv
from components.scoring.score import score_blocks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("measured")]
HEADER = ",".join(PIXEL_COLUMNS)


@pytest.fixture
def model(network: MLP, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:abcdefgh", card, network.to_numpy())


def test_endless_empty_lines_do_not_fill_the_memory(model: Classifier) -> None:
    """A million empty lines; as rejects, all in memory, they would take 250 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    empty = io.BytesIO(HEADER.encode() + b"\n" * (1 << 20))
    *_, count = score_blocks(model, read_pixel_csv(empty, "file", WANTED), [])
    assert count.rejected == (1 << 20) - 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 100e6
    empty.seek(0)
    with pytest.raises(InputError, match="more than 1,000 rows cannot be read"):
        list(score_blocks(model, read_pixel_csv(empty, "file", WANTED), [], max_rejects=1000))
