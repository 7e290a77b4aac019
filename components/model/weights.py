"""Checks that a file holds the weights of a given network."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from components.contract import DataContract, KnownRange
from components.errors import ModelError
from components.model.config import ModelConfig

PREFIX = "known."  # of the tensors that detect unknown inputs
EVERY = 4  # pixels, of which two are compared, see `components.model.known`
State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TensorSpec:
    """Shape and dtype of one weight array."""

    shape: tuple[int, ...]
    dtype: DTypeLike = np.float32

    def __str__(self) -> str:
        return f"{np.dtype(self.dtype)} {self.shape}"


def forms_of(config: ModelConfig, contract: DataContract, known: KnownRange | None = None) -> dict[str, TensorSpec]:
    """Return the expected arrays of a network: name to shape and dtype. Must match `MLP`; a test checks."""
    forms: dict[str, TensorSpec] = {}
    width = contract.input.size
    for number, units in enumerate(config.hidden, 1):
        forms[f"dense{number}.weight"] = TensorSpec((units, width))
        if config.batch_norm:
            forms |= {f"norm{number}.{name}": TensorSpec((units,)) for name in ("weight", "bias")}
            forms |= {f"norm{number}.running_{name}": TensorSpec((units,)) for name in ("mean", "var")}
            forms[f"norm{number}.num_batches_tracked"] = TensorSpec((), np.int64)
        else:
            forms[f"dense{number}.bias"] = TensorSpec((units,))
        width = units
    classes = len(contract.classes)
    if known:
        pooled = known.groups and not contract.embedding
        inputs = contract.compared // EVERY if pooled else contract.compared
        each = (known.groups, known.kept // known.groups) if known.groups else (known.kept,)
        forms[f"{PREFIX}basis"] = TensorSpec((inputs + width, known.rank), np.float16)
        forms[f"{PREFIX}sample"] = TensorSpec((*each, known.rank), np.float16)
        forms[f"{PREFIX}scale"] = TensorSpec((known.kept,))
    return forms | {"logits.weight": TensorSpec((classes, width)), "logits.bias": TensorSpec((classes,))}


def check_size(path: Path, config: ModelConfig, contract: DataContract, known: KnownRange | None) -> None:
    """Check a file's size against the network's weights. Reads only the first 8 bytes.

    A safetensors file consists of the header size (8 bytes), the header and the data.

    Raises:
        ModelError: The size differs.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        found = os.fstat(file.fileno()).st_size
    forms = forms_of(config, contract, known)
    data = sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in forms.values())
    if found != 8 + header + data:
        raise ModelError(f"{path.name} has {found:,} bytes, expected {8 + header + data:,}")


def decode_weights(content: bytes) -> State:
    """Decode a safetensors file to arrays.

    Raises:
        ModelError: The content is not a safetensors file, or has an unsupported dtype.
    """
    try:
        state: State = load(content)
    except SafetensorError as error:
        raise ModelError(f"the content is not a safetensors file: {error}") from error
    except KeyError as error:
        raise ModelError(f"unsupported dtype: {error}, expected {np.dtype(np.float32)}") from error
    return state


def check_fit(state: State, config: ModelConfig, contract: DataContract, known: KnownRange | None) -> None:
    """Check the name, shape and dtype of every array.

    Raises:
        ModelError: An array is missing, unknown, or has the wrong shape or dtype. The message names the first.
    """
    forms = forms_of(config, contract, known)
    for name, expected in forms.items():
        found = state.get(name)
        if found is None:
            raise ModelError(f"weight {name} is missing, expected {expected}")
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ModelError(f"weight {name} is {TensorSpec(found.shape, found.dtype)}, expected {expected}")
    if extra := state.keys() - forms.keys():
        raise ModelError(f"unknown weights {', '.join(sorted(extra))}")


def check_finite(state: State) -> None:
    """Check that every value is finite.

    Raises:
        ModelError: A value is infinite or NaN.
    """
    for name, weight in state.items():
        if not np.isfinite(weight).all():
            raise ModelError(f"weight {name} holds values that are not finite")
