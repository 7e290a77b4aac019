"""Selects the device of a training and the precision of its matrix products."""

import copy
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from components.errors import SettingsError
from components.training.config import Device, Precision

TRIALS = 8  # timed steps per precision
MIN_SPEEDUP = 1.1  # of bfloat16 over float32


@dataclass(frozen=True)
class Hardware:
    """Device and precision of a training."""

    device: torch.device
    bfloat16: bool  # for the matrix products; weights and optimizer state stay float32

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context manager of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def describe(self) -> dict[str, str | int]:
        """Describe the hardware for the model's card."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        precision = "bfloat16" if self.bfloat16 else "float32"
        return {"device": name, "precision": precision, "threads": torch.get_num_threads()}


def pick_device(requested: Device) -> torch.device:
    """Return the requested device; for "auto", CUDA if available.

    Raises:
        SettingsError: CUDA was requested but is not available.
    """
    if requested == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device: 'cuda', but PyTorch finds no CUDA device; expected auto or cpu")
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(requested)


def use_threads(requested: int | None) -> int:
    """Set the number of PyTorch threads, unless None. Returns the previous number."""
    before = torch.get_num_threads()
    if requested is not None and requested != before:
        torch.set_num_threads(requested)
    return before


def pick_precision(requested: Precision, network: nn.Module, x: Tensor) -> bool:
    """Return whether to multiply in bfloat16.

    "auto" measures both: a processor that emulates bfloat16 is several times slower and has no flag that says so.

    Args:
        requested: The configured precision.
        network: The network, on its device. It is copied, not changed.
        x: A batch of inputs on the same device.
    """
    if requested != "auto":
        return requested == "bfloat16"
    fastest = {True: math.inf, False: math.inf}
    trial = copy.deepcopy(network).train()
    with torch.random.fork_rng():  # dropout must not advance the training's random generator
        for _ in range(TRIALS):  # alternate and take the minimum: other load only ever slows a step down
            for bfloat16 in fastest:
                fastest[bfloat16] = min(fastest[bfloat16], time_step(trial, x, bfloat16))
    return fastest[False] > MIN_SPEEDUP * fastest[True]


def time_step(network: nn.Module, x: Tensor, bfloat16: bool) -> float:
    """Return the duration of one forward and backward pass, in seconds."""
    began = time.perf_counter()
    with Hardware(x.device, bfloat16).autocast():
        logits = network(x)
    logits.float().square().sum().backward()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began
