"""Images of a catalogue with a network as bytes."""

import numpy as np
import pytest
from networks import contract_with, draw_records, embedding_of, make_network

from components.errors import InputError, InputTooLarge
from components.readers.images.records import read_records

CONTRACT = contract_with(embedding_of(make_network()))
SIZE = 16 * 16 * 3 + 4 * 48  # bytes of a record


def test_records_are_read_as_they_were_sent() -> None:
    records = draw_records(CONTRACT, 3)
    found = read_records(records.tobytes(), CONTRACT)
    assert found.dtype == CONTRACT.dtype
    assert found.tobytes() == records.tobytes()


@pytest.mark.parametrize("size", [0, 1, SIZE - 1, SIZE + 1, 16 * 16 * 3])
def test_a_body_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"body: found {size:,} bytes, expected a multiple of a record's {SIZE:,}"):
        read_records(bytes(size), CONTRACT)


def test_too_many_records_are_refused() -> None:
    with pytest.raises(InputTooLarge, match="found 1,025 records, expected at most 1,024 per request"):
        read_records(bytes(1025 * SIZE), CONTRACT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused(value: float) -> None:
    records = draw_records(CONTRACT, 2)
    records["vector"][1, 7] = value
    with pytest.raises(InputError, match="found a vector that is not finite"):
        read_records(records.tobytes(), CONTRACT)
