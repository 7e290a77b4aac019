"""A layer's float32 weights -> whole numbers from -63 to 63, chosen so that its outputs change least.

Rounding each weight by itself is not enough for the flagship: its first layers start as convolutions, so that most of
a row is small beside the largest weight and would be rounded to zero. GPTQ (Frantar et al., arXiv:2210.17323) rounds
one input's weights after another and makes good in those still to come what was lost so far, as far as the inputs are
correlated. docs/edge.md has what it is worth.
"""

import torch
from torch import Tensor

# int8 holds 127, but the fast instruction of x86 processors without VNNI adds two products of a byte and a weight in 16
# bits and saturates: 2 * 255 * 63 is the most that fits with room. So every processor gives the same numbers.
# (onnxruntime.ai/docs/performance/model-optimizations/quantization.html calls it reduce_range)
TOP = 63
DAMPING = 0.01  # of the mean squared input, added to each input's own: as in the paper
TINY = 1e-12  # where all inputs, or all weights of a row, are zero
BLOCK = 128  # inputs whose corrections reach the rest of the matrix in one product


def quantize_weights(weight: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Round the weights of one dense layer.

    Args:
        weight: float32 (out, in).
        inputs: float32 (n, in), what the layer is given for n typical images. A matrix of (in, in) float64 is made of
            them four times: 80 MB each for 3,136 inputs.

    Returns:
        int8 (out, in), -63 to 63, and float32 (out,), by which a row is multiplied to be the weights again.
    """
    step = (weight.abs().amax(dim=1) / TOP).clamp_min(TINY)
    root = _inverse_root(inputs)
    left, rounded = weight.clone(), torch.empty_like(weight)
    for start in range(0, weight.shape[1], BLOCK):
        end = min(start + BLOCK, weight.shape[1])
        lost = torch.zeros(len(weight), end - start)
        for column in range(start, end):
            rounded[:, column] = (left[:, column] / step).round().clamp(-TOP, TOP)
            error = (left[:, column] - rounded[:, column] * step) / root[column, column]
            left[:, column:end] -= error.outer(root[column, column:end])
            lost[:, column - start] = error
        left[:, end:] -= lost @ root[start:end, end:]
    return rounded.to(torch.int8), step


def _inverse_root(inputs: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of the inputs' damped second moments, float32 (in, in)."""
    exact = inputs.double()
    moments = exact.T @ exact / len(exact)
    moments.diagonal().add_(DAMPING * moments.diagonal().mean() + TINY)
    root: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(moments)), upper=True)
    return root.float()


def quantize_range(values: Tensor) -> tuple[float, int]:
    """How activations become bytes: byte = round(value / step) + zero.

    Args:
        values: float32, of typical images.

    Returns:
        The step, and the byte that stands for zero. What lies outside the range seen is clipped to its ends.
    """
    low, high = min(0.0, values.min().item()), max(0.0, values.max().item())
    step = max((high - low) / 255, TINY)
    return step, round(-low / step)
