"""Helpers for the tests of promotions."""

import contextlib
from pathlib import Path

import psutil
import torch

from components.contract import GateCheck, Verdict
from components.model.classifier import Classifier
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds

# Strict enough to reject a broken model, lenient enough for a model trained for two epochs.
LENIENT = GateBounds(max_loss=3, max_calibration_error=0.5, min_accuracy=0.1, min_f1=0)
SERVED = GateCheck("canary: a test", True, "served", "served", "it was served")  # the check of a passing canary


def change_bias(network: MLP, change: torch.Tensor) -> MLP:
    with torch.no_grad():
        network.state_dict()["logits.bias"].add_(change)
    return network


def break_a_pixel(model: Classifier) -> Classifier:
    """Return the model with finite weights that give NaN for images whose first pixel is bright, and only for them."""
    model.network.state["dense1.weight"][:, 0] = 3e38
    return model


def failed(verdict: Verdict | None) -> list[str]:
    assert verdict
    return [check.name for check in verdict.checks if not check.passed]


def nothing_is_left(home: Path) -> None:
    """Check that no canary server and no copy of a model remain."""
    running = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            running.append(process.environ().get("BENTOML_HOME", ""))
    assert not [other for other in running if other.startswith(f"{home}/fashion/staging/.canary")]
    assert not list((home / "fashion" / "staging").glob(".canary*"))
