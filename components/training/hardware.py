"""Which device a training runs on, and in which precision it multiplies."""

import copy
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from components.errors import SettingsError
from components.training.config import Device, Precision

TRIALS = 8  # steps in each precision
GAIN = 1.1  # how many times as fast bfloat16 must be


@dataclass(frozen=True)
class Hardware:
    """What a training runs on."""

    device: torch.device
    bfloat16: bool  # in the matrix products; weights and optimizer stay float32

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def describe(self) -> dict[str, str | int]:
        """For the model's card."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        precision = "bfloat16" if self.bfloat16 else "float32"
        return {"device": name, "precision": precision, "threads": torch.get_num_threads()}


def pick_device(wanted: Device) -> torch.device:
    """The device asked for, or CUDA where there is one.

    Raises:
        SettingsError: CUDA was asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device: 'cuda', but PyTorch finds no CUDA device; expected auto or cpu here")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def use_threads(wanted: int | None) -> int:
    """Have matrix products use so many threads; None leaves it as it is. Returns how many they used before."""
    before = torch.get_num_threads()
    if wanted is not None and wanted != before:
        torch.set_num_threads(wanted)
    return before


def pick_precision(wanted: Precision, network: nn.Module, x: Tensor) -> bool:
    """Whether to multiply in bfloat16.

    A processor may emulate it: then it is several times slower, and no flag says so. So `auto` measures.

    Args:
        wanted: what the configuration says.
        network: on its device; it is copied and not changed.
        x: a batch of its input, on the same device.
    """
    if wanted != "auto":
        return wanted == "bfloat16"
    fastest = {True: math.inf, False: math.inf}
    trial = copy.deepcopy(network).train()
    with torch.random.fork_rng():  # dropout draws; the training's own draws stay the same
        for _ in range(TRIALS):  # in turns, and the fastest counts: other work on the machine only ever slows one
            for bfloat16 in fastest:
                fastest[bfloat16] = min(fastest[bfloat16], time_step(trial, x, bfloat16))
    return fastest[False] > GAIN * fastest[True]


def time_step(network: nn.Module, x: Tensor, bfloat16: bool) -> float:
    """Seconds of a forward and backward pass."""
    began = time.perf_counter()
    with Hardware(x.device, bfloat16).autocast():
        logits = network(x)
    logits.float().square().sum().backward()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began
