"""An MLP for inference, in NumPy.

PyTorch multiplies no faster, and importing it takes two seconds and 370 MB, which a service does not need
(docs/decisions/0038-inference-in-numpy.md).
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from components.contract import DataContract
from components.model.config import ModelConfig
from components.model.known import KnownInputs, KnownMeasure
from components.model.weights import PREFIX, State

Rows = NDArray[np.float32]

NORM_EPSILON = np.float32(1e-5)  # as in `nn.BatchNorm1d`
CHUNK = 65_536  # values that fit a processor's cache with a copy of them
# x (1 - Phi(x)) is x / P(x)^32 to 1.2e-7, for x of 0 or more. Fitted by least squares; the coefficients of P, rising:
TAIL = np.array([1.02189736, 2.54782774e-2, 1.04851944e-2, 1.41917203e-3, -8.11312628e-5, 2.02148590e-5], np.float32)


class NumpyMLP:
    """Maps flattened images or vectors, float32 (n, `contract.input.size`), to logits, float32 (n, classes)."""

    def __init__(self, config: ModelConfig, contract: DataContract, state: State) -> None:
        """Arrange the weights so that products with few rows are fast.

        Args:
            config: the architecture.
            contract: of the images.
            state: the arrays that `forms_of` lists, checked by `check_fit`.
        """
        self.config, self.contract = config, contract
        self.state: State = {name: _arrange(array) for name, array in state.items()}
        *self.layers, self.last = self._find_layers()
        self.activate = ACTIVATIONS[config.activation]

    def _find_layers(self) -> Iterator[tuple[Rows, Rows]]:
        """Weights, (inputs, outputs), and bias, (outputs,), of each layer, with batch norm folded in."""
        state = cast(dict[str, Rows], self.state)
        for number in range(1, len(self.config.hidden) + 1):
            weights = state[f"dense{number}.weight"].T
            if self.config.batch_norm:
                norm = f"norm{number}"
                scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + NORM_EPSILON)
                bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
                yield weights * scale, bias
            else:
                yield weights, state[f"dense{number}.bias"]
        yield state["logits.weight"].T, state["logits.bias"]

    def hidden(self, inputs: Rows) -> Rows:
        """The last hidden layer, float32 (n, units), of float32 (n, inputs)."""
        x = inputs
        for weights, bias in self.layers:
            x = x @ weights
            x += bias
            x = self.activate(x)
        return x

    def output(self, hidden: Rows) -> Rows:
        """The logits, float32 (n, classes), of the last hidden layer, float32 (n, units)."""
        weights, bias = self.last
        x: Rows = hidden @ weights
        x += bias
        return x

    @cached_property
    def measure(self) -> KnownMeasure | None:
        """Measures how far inputs are from the training images; None if the model does not detect unknown inputs."""
        known = {name.removeprefix(PREFIX): one for name, one in self.state.items() if name.startswith(PREFIX)}
        return KnownMeasure(KnownInputs(**known), self.contract) if known else None

    @property
    def parameters(self) -> list[NDArray[Any]]:
        """The arrays that training changes."""
        return [array for name, array in self.state.items() if name.endswith((".weight", ".bias"))]


def _arrange(array: NDArray[Any]) -> NDArray[Any]:
    """A matrix transposed in memory, but not in its indices; other arrays as they are."""
    return np.ascontiguousarray(array.T).T if array.ndim == 2 else array


def softmax(logits: Rows) -> Rows:
    """Probabilities, float32 (n, classes), in the place of logits, float32 (n, classes)."""
    logits -= logits.max(1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(1, keepdims=True)
    return logits


def _relu(x: Rows) -> Rows:
    return np.maximum(x, 0, out=x)


def _gelu(x: Rows) -> Rows:
    flat = x.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        _gelu_chunk(flat[start : start + CHUNK])
    return x


def _gelu_chunk(x: Rows) -> None:
    """In place: x Phi(x) is max(x, 0) less a tail that is the same for x and -x."""
    tail = np.abs(x)
    root = tail * TAIL[-1]
    for coefficient in TAIL[-2:0:-1]:
        root += coefficient
        root *= tail
    root += TAIL[0]
    for _ in range(5):  # to the power 32
        np.multiply(root, root, out=root)
    tail /= root
    np.maximum(x, 0, out=x)
    x -= tail


ACTIVATIONS: dict[str, Callable[[Rows], Rows]] = {"relu": _relu, "gelu": _gelu}
