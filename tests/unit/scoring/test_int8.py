"""Integer products give nearly the probabilities of float32, and are used only where they do."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import Images, ModelCard
from components.dataset.manifest import Examples
from components.errors import InputError, SettingsError
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.scoring import int8, job, precision
from components.scoring.int8 import Factor, Int8Classifier, split
from components.scoring.job import run_job


@dataclass(frozen=True)
class ExactFactor(Factor):
    """The same products in float64, which has room for every sum."""

    @classmethod
    def pack(cls, weights: Tensor, scales: Tensor) -> Factor:
        return cls(weights.double(), scales, torch.empty(0))

    def multiply(self, x: Tensor, zero: int, bias: Tensor | None = None, sums: Tensor | None = None) -> Tensor:
        products = ((x.double() - zero) @ self.packed.T * self.scales).float()
        return products + sums if sums is not None else products if bias is None else products + bias


@pytest.fixture(autouse=True)
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processor has neither AMX nor VNNI, sums of two products of bytes saturate at 16 bits."""
    ones = torch.full((1, 64), 127, dtype=torch.int8)
    found = Factor.pack(ones, torch.ones(1)).multiply(torch.full((1, 64), 255, dtype=torch.uint8), 0)
    if found.item() != 64 * 127 * 255:
        monkeypatch.setattr(int8, "Factor", ExactFactor)


@pytest.fixture(params=["relu", "gelu"])
def wide(request: pytest.FixtureRequest, card: ModelCard) -> Classifier:
    """A network of three layers whose probabilities are spread out, without a measure of unknown inputs."""
    torch.manual_seed(0)
    network = MLP(ModelConfig(hidden=(300, 200, 100), activation=request.param), CONTRACT).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_({"relu": 2.5, "gelu": 3.5}[request.param])
    return Classifier("fashion-mlp:wide", replace(card, known=None), network.to_numpy())


def integers_of(model: Classifier) -> Int8Classifier:
    return Int8Classifier(model.tag, model.card, model.network)


def test_two_bytes_are_the_weights_to_15_bits() -> None:
    weights = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    weights[3] = 0
    high, low, scales = split(weights)
    assert (high.dtype, low.dtype) == (torch.int8, torch.int8)
    found = (256.0 * high + low) * scales[:, None]
    assert torch.all((found - weights).abs() <= weights.abs().amax(1, keepdim=True) / 65_000)


def test_probabilities_are_within_the_bound(wide: Classifier, test_split: Examples) -> None:
    expected, found = wide.judge(test_split.images)[0], integers_of(wide).judge(test_split.images)[0]
    assert 0.3 < expected.max(1).mean() < 0.999
    assert 0 < np.abs(found - expected).max() <= int8.MAX_DIFFERENCE
    assert (found.argmax(1) == expected.argmax(1)).all()


def test_a_row_does_not_depend_on_the_others(wide: Classifier, test_split: Examples) -> None:
    model, images = integers_of(wide), test_split.images[:20].copy()
    alone = model.judge(images[:1])[0]
    images[1:] = 255
    assert np.allclose(model.judge(images)[0][:1], alone, atol=1e-6)


def test_blank_images_and_no_images(wide: Classifier) -> None:
    model = integers_of(wide)
    for value in (0, 255):
        images: Images = np.full((3, 28, 28), value, np.uint8)
        assert model.is_close(images)
    assert model.judge(np.empty((0, 28, 28), np.uint8))[0].shape == (0, 10)


def test_distances_are_those_of_float32(network: MLP, card: ModelCard, test_split: Examples) -> None:
    model = Classifier("", card, network.to_numpy())
    expected, found = (one.judge(test_split.images)[1] for one in (model, integers_of(model)))
    assert expected is not None
    assert found is not None
    assert np.allclose(found, expected, atol=1e-2)


def test_a_part_whose_first_rows_differ_is_scored_in_float32(wide: Classifier, test_split: Examples) -> None:
    model = integers_of(wide)
    assert model.checked_with(test_split.images) is model
    first = wide.network.state["dense1.weight"]
    first[:, 0], first[:, 1] = 3e4, -3e4  # large and opposite: the rest of these rows is rounded away
    images = test_split.images.copy()
    images[:, 0, :2] = 255
    other = integers_of(Classifier(wide.tag, wide.card, wide.network))
    int8._pack.cache_clear()
    assert other.checked_with(images).arithmetic == "float32"


def test_a_small_network_and_float32_are_not_measured(wide: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "use", None)
    assert wide.weights < precision.SMALL
    assert precision.choose(wide, "auto") == "float32"
    monkeypatch.setattr(precision, "SMALL", 0)
    assert precision.choose(wide, "float32") == "float32"


def test_batch_norm_is_not_supported(card: ModelCard) -> None:
    network = MLP(ModelConfig(hidden=(8,), batch_norm=True), CONTRACT).eval()
    with pytest.raises(SettingsError, match="without batch norm"):
        precision.use(Classifier("", replace(card, known=None), network.to_numpy()), "int8")


# --- a job ---


@pytest.fixture
def table(tmp_path: Path, test_split: Examples) -> Path:
    path = tmp_path / "in.csv"
    names = ",".join(f"pixel{number}" for number in range(1, 785))
    np.savetxt(path, test_split.images.reshape(-1, 784), fmt="%d", delimiter=",", header=names, comments="")
    return path


def test_a_job_records_its_arithmetic(wide: Classifier, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "choose", lambda model, precision: "int8" if precision == "auto" else "float32")
    fast = run_job(wide, table, table.with_name("fast.csv"))
    exact = run_job(wide, table, table.with_name("exact.csv"), precision="float32")
    assert set(fast.arithmetic) == {"int8"}
    assert set(exact.to_json()["arithmetic"]) == {"float32"}
    rows = [path.read_text().splitlines() for path in (table.with_name("fast.csv"), table.with_name("exact.csv"))]
    differences = 0.0
    for one, other in zip(*([line.split(",") for line in lines[1:]] for lines in rows), strict=True):
        assert one[1:3] == other[1:3]
        differences = max(differences, abs(float(one[3]) - float(other[3])))
    assert 0 < differences <= int8.MAX_DIFFERENCE


def test_a_resumed_job_keeps_its_arithmetic(wide: Classifier, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = table.with_name("out.csv")
    monkeypatch.setattr(job, "choose", lambda model, precision: "int8")

    def stop(count: object, share: float | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(wide, table, output, progress=stop)
    monkeypatch.setattr(job, "choose", lambda model, precision: "float32")  # another measurement
    with pytest.raises(InputError, match="other options"):
        run_job(wide, table, output, resume=True, precision="float32")
    done = run_job(wide, table, output, resume=True)
    assert set(done.arithmetic) == {"int8"}


def test_a_machine_without_such_products_uses_float32(wide: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def saturate(self: Factor, x: Tensor, *arguments: object, **options: object) -> Tensor:
        return multiply(self, x, *arguments, **options).clamp(-1, 1)  # type: ignore[arg-type]

    multiply = int8.Factor.multiply
    monkeypatch.setattr(precision, "SMALL", 0)
    monkeypatch.setattr(int8.Factor, "multiply", saturate)
    int8._pack.cache_clear()
    assert precision.choose(wide, "auto") == "float32"
    with pytest.raises(SettingsError, match="cannot multiply"):
        precision.use(wide, "int8")
