"""Parse text cells as numbers and labels."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contract import DataContract, Labels

UNLABELLED = 65_535  # marks an unreadable label: the largest uint16, never a class
DECIMAL = re.compile(r"[-+]?([0-9]{1,400}[.,]?[0-9]{0,400}|[.,][0-9]{1,400})([eE][-+]?[0-9]{1,3})?")
LARGEST_NUMBER = 2**53  # above it, floats are not exact integers
LONGEST_SHOWN = 20  # characters of a cell in a message
MAX_SHOWN = 5  # cells in a message


def number(cell: str) -> float | None:
    """Parse a decimal number such as 3, 3.0, 3e0 or 3,0; None if it is not one."""
    text = cell.strip(" \t")
    return float(text.replace(",", ".")) if DECIMAL.fullmatch(text) else None


def whole_number(cell: str, largest: int) -> int | None:
    """Parse a whole number from 0 to `largest` in any notation; None if it is not one."""
    text = cell.strip(" \t")
    if text.isascii() and text.isdigit():
        value: float | None = int(text) if len(text) < 400 else None
    else:
        value = number(text)
    return int(value) if value is not None and 0 <= value <= largest and value == int(value) else None


def is_pixels(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each number, (n,), is a whole number from 0 to 255."""
    found: NDArray[np.bool_] = (values >= 0) & (values <= 255)
    return found & (values == np.floor(values)) if values.dtype.kind == "f" else found


def read_label(cell: str, contract: DataContract) -> int:
    """Parse a label by class name or number; `UNLABELLED` if it matches no class."""
    text = cell.strip(" \t")
    label = contract.label_of(text)
    if label is None and (value := whole_number(text, LARGEST_NUMBER)) is not None:
        label = contract.label_of_number(value)
    return UNLABELLED if label is None else label


def read_labels(cells: pa.Array, contract: DataContract) -> tuple[Labels, Mapping[str, int]]:
    """Parse cells as labels, and count the unreadable ones.

    Args:
        cells: strings or numbers, dictionary-encoded or not; null is an empty cell.
        contract: of the classes.

    Returns:
        uint16 (n,), `UNLABELLED` if unreadable; and the counts of the most frequent unreadable cells, shortened.
    """
    coded = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    values = coded.dictionary.cast(pa.string()).to_pylist() if len(coded.dictionary) else []
    texts = [*("" if value is None else value for value in values), ""]  # the last stands for null
    known = np.array([read_label(text, contract) for text in texts], np.uint16)
    indices = coded.indices.cast(pa.int64()).fill_null(len(values)).to_numpy()
    labels: Labels = known[indices]
    counts = np.bincount(indices[labels == UNLABELLED], minlength=len(known))
    frequent = np.argsort(-counts, kind="stable")[:MAX_SHOWN].tolist()
    return labels, {texts[index][:LONGEST_SHOWN]: int(counts[index]) for index in frequent if counts[index]}


def describe_labels(contract: DataContract) -> str:
    """Describe valid labels, for errors: "x is not ..."."""
    if contract.are_numbers:
        return "the name of a class"
    return f"a whole number from 0 to {len(contract.classes) - 1}, nor the name of a class"
