"""Whether a file holds the weights of a network, asked without torch, which takes two seconds to import."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from components.contract import DataContract
from components.errors import ModelError
from components.model.config import ModelConfig

State = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Form:
    """Of one array of weights."""

    shape: tuple[int, ...]
    dtype: DTypeLike = np.float32

    def __str__(self) -> str:
        return f"{np.dtype(self.dtype)} {self.shape}"


def forms_of(config: ModelConfig, contract: DataContract) -> dict[str, Form]:
    """What the state of such a network holds; a test compares it with that of a real one."""
    forms: dict[str, Form] = {}
    width = contract.image.size
    for number, units in enumerate(config.hidden, 1):
        forms[f"dense{number}.weight"] = Form((units, width))
        if config.batch_norm:
            forms |= {f"norm{number}.{name}": Form((units,)) for name in ("weight", "bias")}
            forms |= {f"norm{number}.running_{name}": Form((units,)) for name in ("mean", "var")}
            forms[f"norm{number}.num_batches_tracked"] = Form((), np.int64)
        else:
            forms[f"dense{number}.bias"] = Form((units,))
        width = units
    classes = len(contract.classes)
    return forms | {"logits.weight": Form((classes, width)), "logits.bias": Form((classes,))}


def check_size(path: Path, config: ModelConfig, contract: DataContract) -> None:
    """Compare a file's size with what the network's weights take; only its first bytes are read.

    A safetensors file is the length of its header in 8 bytes, the header, and the numbers.

    Raises:
        ModelError: it is shorter or longer.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        found = os.fstat(file.fileno()).st_size
    numbers = sum(math.prod(form.shape) * np.dtype(form.dtype).itemsize for form in forms_of(config, contract).values())
    if found != 8 + header + numbers:
        raise ModelError(f"{path.name} has {found:,} bytes, expected {8 + header + numbers:,}")


def decode_weights(content: bytes) -> State:
    """The arrays of a safetensors file.

    Raises:
        ModelError: it is none, or has a kind of number that no network here has.
    """
    try:
        state: State = load(content)
    except SafetensorError as error:
        raise ModelError(f"the content is not a safetensors file: {error}") from error
    except KeyError as error:
        raise ModelError(f"it has numbers of the kind {error}, expected {np.dtype(np.float32)}") from error
    return state


def check_fit(state: State, config: ModelConfig, contract: DataContract) -> None:
    """Compare every array with what the network has.

    Raises:
        ModelError: names the first that is missing, unknown or of another form.
    """
    forms = forms_of(config, contract)
    for name, expected in forms.items():
        found = state.get(name)
        if found is None:
            raise ModelError(f"weight {name} is missing, expected {expected}")
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ModelError(f"weight {name} is {Form(found.shape, found.dtype)}, expected {expected}")
    if extra := state.keys() - forms.keys():
        raise ModelError(f"unknown weights {', '.join(sorted(extra))}")


def check_finite(state: State) -> None:
    """Look at every number.

    Raises:
        ModelError: one is infinite or none at all.
    """
    for name, weight in state.items():
        if not np.isfinite(weight).all():
            raise ModelError(f"weight {name} holds values that are not finite")
