"""Quantizes a layer's float32 weights to integers from -63 to 63 with GPTQ (Frantar et al., arXiv:2210.17323).

Rounding each weight independently is not enough for the flagship: its first layers start as convolutions, so most
weights of a row are small compared with the largest and would round to zero. GPTQ rounds the weights of one input at a
time and compensates the error in the remaining weights, as far as the inputs are correlated. See docs/edge.md for the
effect.
"""

import torch
from torch import Tensor

# int8 allows 127, but x86 processors without VNNI add two uint8 * int8 products in 16 bits with saturation. With
# weights up to 63, 2 * 255 * 63 does not saturate, so every processor computes the same result. onnxruntime calls this
# reduce_range (onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
MAX_WEIGHT = 63
DAMPING = 0.01  # share of the mean squared input that is added to the diagonal, as in the paper
TINY = 1e-12  # avoids division by zero if all inputs, or all weights of a row, are zero
BLOCK = 128  # inputs per block; a block's corrections are applied to the rest of the matrix in one product


def quantize_weights(weight: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize the weights of one dense layer.

    Args:
        weight: float32 (out, in).
        inputs: The layer's inputs for n calibration images, float32 (n, in). Needs four float64 matrices of (in, in):
            80 MB each for 3,136 inputs.

    Returns:
        The quantized weights, int8 (out, in), -63 to 63, and the scale of each row, float32 (out,).
    """
    step = (weight.abs().amax(dim=1) / MAX_WEIGHT).clamp_min(TINY)
    root = _inverse_root(inputs)
    left, rounded = weight.clone(), torch.empty_like(weight)
    for start in range(0, weight.shape[1], BLOCK):
        end = min(start + BLOCK, weight.shape[1])
        lost = torch.zeros(len(weight), end - start)
        for column in range(start, end):
            rounded[:, column] = (left[:, column] / step).round().clamp(-MAX_WEIGHT, MAX_WEIGHT)
            error = (left[:, column] - rounded[:, column] * step) / root[column, column]
            left[:, column:end] -= error.outer(root[column, column:end])
            lost[:, column - start] = error
        left[:, end:] -= lost @ root[start:end, end:]
    return rounded.to(torch.int8), step


def _inverse_root(inputs: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the inverse of the damped second moments, float32 (in, in)."""
    exact = inputs.double()
    moments = exact.T @ exact / len(exact)
    moments.diagonal().add_(DAMPING * moments.diagonal().mean() + TINY)
    root: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(moments)), upper=True)
    return root.float()


def quantize_range(values: Tensor) -> tuple[float, int]:
    """Return scale and zero point of the uint8 quantization of activations: byte = round(value / step) + zero.

    Args:
        values: Activations for the calibration images, float32 of any shape.

    Returns:
        The step (scale) and the zero point, 0 to 255. Values outside the observed range are clipped.
    """
    low, high = min(0.0, values.min().item()), max(0.0, values.max().item())
    step = max((high - low) / 255, TINY)
    return step, round(-low / step)
