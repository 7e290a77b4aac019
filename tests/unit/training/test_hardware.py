"""Device and precision: bfloat16 only if requested or measured to be faster."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from trainings import QUICK, one_thread, weights_hash  # noqa: F401, one_thread: for every test here

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Validated
from components.errors import SettingsError
from components.model.mlp import MLP, ModelConfig
from components.settings import CHECKOUT
from components.training.config import Precision
from components.training.hardware import Hardware, pick_device, pick_precision
from components.training.train import train

WIDE = ModelConfig(hidden=(512, 512), dropout=0.1)
CPUINFO = Path("/proc/cpuinfo")
has_cuda = torch.cuda.is_available()
has_bfloat16_tiles = CPUINFO.is_file() and "amx_bf16" in CPUINFO.read_text()


def test_a_processor_that_emulates_bfloat16_multiplies_in_float32() -> None:
    """oneDNN limited to AVX2 emulates it, and PyTorch has no flag that says so."""
    code = f"""
import torch
from components.catalogues.fashion_mnist import CONTRACT
from components.model.mlp import MLP, ModelConfig
from components.training.hardware import pick_precision
torch.set_num_threads(1)
print(pick_precision("auto", MLP({WIDE}, CONTRACT), torch.rand(128, 784)))
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.skipif(not has_bfloat16_tiles, reason="needs a processor with AMX bfloat16")
def test_a_processor_with_bfloat16_tiles_uses_them() -> None:
    """At least once in three measurements, because the processor may be busy."""
    assert any(pick_precision("auto", MLP(WIDE, CONTRACT), torch.rand(512, 784)) for _ in range(3))


@pytest.mark.parametrize(("requested", "used"), [("float32", False), ("bfloat16", True)])
def test_a_requested_precision_is_used_without_measurement(requested: Precision, used: bool) -> None:
    assert pick_precision(requested, torch.nn.Identity(), torch.empty(0)) is used


def test_measuring_changes_neither_the_network_nor_the_random_state() -> None:
    torch.manual_seed(0)
    network = MLP(dataclasses.replace(WIDE, batch_norm=True), CONTRACT)
    before, random = weights_hash(network), torch.get_rng_state()
    pick_precision("auto", network, torch.rand(32, 784, generator=torch.Generator()))
    assert weights_hash(network) == before
    assert all(weight.grad is None for weight in network.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_measured_precision_trains_like_the_same_requested_one(validated: Validated) -> None:
    config = dataclasses.replace(QUICK, model=ModelConfig(hidden=(16,), dropout=0.3), epochs=1, precision="auto")
    measured = train(validated, config)
    requested: Precision = "bfloat16" if measured.hardware["precision"] == "bfloat16" else "float32"
    expected = train(validated, dataclasses.replace(config, precision=requested))
    assert weights_hash(measured.network) == weights_hash(expected.network)


def test_bfloat16_trains_to_about_the_same_loss_in_float32_weights(validated: Validated) -> None:
    config = dataclasses.replace(QUICK, epochs=4)
    coarse, fine = train(validated, dataclasses.replace(config, precision="bfloat16")), train(validated, config)
    assert (coarse.hardware["precision"], fine.hardware["precision"]) == ("bfloat16", "float32")
    assert weights_hash(coarse.network) != weights_hash(fine.network), "it was not used"
    assert coarse.history[-1].loss == pytest.approx(fine.history[-1].loss, rel=0.05)
    assert coarse.history[-1].validation_loss == pytest.approx(fine.history[-1].validation_loss, rel=0.05)
    assert {weight.dtype for weight in coarse.network.parameters()} == {torch.float32}


def test_the_description_has_the_hardware_that_was_used() -> None:
    described = {"device": "cpu", "precision": "bfloat16", "threads": 1}
    assert Hardware(torch.device("cpu"), bfloat16=True).describe() == described


@pytest.mark.skipif(has_cuda, reason="a CUDA device is available")
def test_a_missing_device_is_refused(validated: Validated) -> None:
    expected = "device: 'cuda', but PyTorch finds no CUDA device; expected auto or cpu"
    with pytest.raises(SettingsError, match=re.escape(expected)):
        train(validated, dataclasses.replace(QUICK, device="cuda"))
    assert (pick_device("auto"), pick_device("cpu")) == (torch.device("cpu"), torch.device("cpu"))


@pytest.mark.skipif(not has_cuda, reason="no CUDA device is available")
def test_cuda_is_used_if_available_and_the_network_is_returned_on_the_cpu(validated: Validated) -> None:
    trained, on_the_cpu = train(validated, QUICK), train(validated, dataclasses.replace(QUICK, device="cpu"))
    assert trained.hardware["device"] == torch.cuda.get_device_name()
    assert {weight.device.type for weight in trained.network.parameters()} == {"cpu"}
    assert trained.history[-1].loss == pytest.approx(on_the_cpu.history[-1].loss, rel=0.01)
    assert train(validated, dataclasses.replace(QUICK, shift=1, erase=0.5, average=0.9, precision="auto"))
