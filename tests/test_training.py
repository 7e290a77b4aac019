"""Configuration, the loop, the metrics, the report."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK
from torch import nn

from components.contract import CLASSES, Epoch, ModelCard, Validated
from components.errors import DatasetError, ModelError, SettingsError, TrainingError
from components.manifest import Examples, read_manifest, read_split
from components.model.checkpoint import read_checkpoint, write_checkpoint
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig
from components.model.tensors import to_input
from components.settings import Settings
from components.training.evaluate import measure
from components.training.optimizer import FusedAdam
from components.training.presets import PRESETS, configure
from components.training.report import find_mistakes, write_report
from components.training.train import TrainConfig, Trained, train


def weights_hash(network: MLP) -> str:
    content = b"".join(weight.numpy().tobytes() for weight in network.state_dict().values())
    return hashlib.sha256(content).hexdigest()


# --- configuration ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", 1.5),
        ("validation_share", 0.0),
        ("validation_share", 0.5),
        ("patience", 0),
        ("seed", -1),
        ("hidden", (0,)),
        ("hidden", (100_000,)),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("momentum", 0.9),
    ],
)
def test_a_bad_setting_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=name):
        configure("dense-128", {name: value})


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="dense-128"):
        configure("dense-129")


def test_overrides_replace_only_what_is_given() -> None:
    config = configure("dense-128", {"epochs": 3, "hidden": (8,), "seed": None})
    preset = PRESETS["dense-128"].config
    assert config == dataclasses.replace(preset, epochs=3, model=ModelConfig(hidden=(8,)))


def test_dense_128_has_the_published_number_of_parameters() -> None:
    assert sum(weight.numel() for weight in MLP(PRESETS["dense-128"].config.model).parameters()) == 101_770


# --- the loop ---


def test_the_same_seed_gives_the_same_weights_to_the_bit(validated: Validated, trained: Trained) -> None:
    assert weights_hash(train(validated, QUICK).network) == weights_hash(trained.network)
    other = train(validated, dataclasses.replace(QUICK, seed=1))
    assert weights_hash(other.network) != weights_hash(trained.network)


def test_it_learns(validated: Validated, test_split: Examples) -> None:
    trained = train(validated, dataclasses.replace(QUICK, epochs=8))
    with torch.inference_mode():
        predicted = trained.network(to_input(test_split.images)).argmax(1).numpy()
    assert (predicted == test_split.labels).mean() > 0.6
    assert trained.history[-1].loss < trained.history[0].loss / 2


def test_every_epoch_is_reported_as_it_ends(validated: Validated) -> None:
    seen: list[Epoch] = []
    trained = train(validated, QUICK, seen.append)
    assert [epoch.number for epoch in seen] == [1, 2]
    assert tuple(seen) == trained.history


def test_the_loop_is_adam_on_the_rows_that_are_not_held_out(validated: Validated) -> None:
    """One epoch, computed again with PyTorch's own optimizer and no code of ours but the transform."""
    examples = read_split(validated.dataset, "train")
    torch.manual_seed(QUICK.seed)
    order = torch.randperm(len(examples.labels))
    rows = order[round(0.1 * len(order)) :].sort().values
    x, y = to_input(examples.images)[rows], torch.tensor(examples.labels, dtype=torch.int64)[rows]
    network = nn.Sequential(nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for batch in torch.randperm(len(y)).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
        optimizer.step()
    ours = train(validated, dataclasses.replace(QUICK, epochs=1)).network
    for expected, found in zip(network.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_fused_adam_is_pytorch_s_to_the_bit() -> None:
    torch.manual_seed(0)
    ours = [torch.randn(5, 3, requires_grad=True), torch.randn(3, requires_grad=True)]
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    fused, reference = FusedAdam(ours, 0.01), torch.optim.Adam(theirs, lr=0.01, fused=True)
    for _ in range(5):
        fused.zero_grad()
        reference.zero_grad()
        for weights in (ours, theirs):
            (weights[0] @ weights[1]).square().sum().backward()
        fused.step()
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_weights_kept_are_those_of_the_lowest_validation_loss(validated: Validated) -> None:
    """At a rate this high the loss jumps about; the epochs after the best one must leave no trace."""
    config = dataclasses.replace(QUICK, epochs=6, learning_rate=0.3)
    trained = train(validated, config)
    losses = [epoch.validation_loss for epoch in trained.history]
    assert trained.best_epoch == int(np.argmin(losses)) + 1 < 6
    again = train(validated, dataclasses.replace(config, epochs=trained.best_epoch))
    assert weights_hash(again.network) == weights_hash(trained.network)


def test_patience_ends_a_training_that_no_longer_improves(validated: Validated) -> None:
    trained = train(validated, dataclasses.replace(QUICK, epochs=50, learning_rate=0.3, patience=2))
    assert len(trained.history) == trained.best_epoch + 2 < 50


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_fails_the_training(validated: Validated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.functional, "cross_entropy", lambda logits, y: logits.sum() * torch.nan)
    with pytest.raises(TrainingError, match="epoch 1: the loss is nan"):
        train(validated, QUICK)


def test_too_few_images_are_refused(validated: Validated) -> None:
    with pytest.raises(TrainingError, match="too few"):
        train(validated, dataclasses.replace(QUICK, batch_size=10_000))


def test_data_that_changed_after_its_validation_is_not_trained_on(archives: Path, settings: Settings) -> None:
    from components.dataset.ingest import ingest

    dataset = ingest(str(archives), settings=settings).dataset
    receipt = Validated(dataset, 1, Path("docs"), "now")
    part = settings.datasets_dir / read_manifest(dataset).of("train")[0].file
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(DatasetError, match="changed since it was written"):
        train(receipt, QUICK)


# --- the metrics ---


def test_metrics_against_a_count_by_hand() -> None:
    logits = torch.full((4, 10), -9.0)
    for row, predicted in enumerate((0, 0, 1, 9)):
        logits[row, predicted] = 9.0
    metrics = measure(logits, np.array([0, 1, 1, 9], np.uint8), "test", "v")
    first, second = metrics.classes[:2]
    assert (metrics.accuracy, metrics.rows) == (0.75, 4)
    assert (first.precision, first.recall, first.support) == (0.5, 1.0, 1)
    assert (second.precision, second.recall, second.support) == (1.0, 0.5, 2)
    assert second.f1 == pytest.approx(2 / 3)
    assert metrics.confusion[1][:2] == (1, 1)
    assert sum(map(sum, metrics.confusion)) == 4
    expected = -np.log(np.exp(9) / (np.exp(9) + 9 * np.exp(-9)))
    assert metrics.loss == pytest.approx((3 * expected + 18) / 4, abs=1e-5)


def test_the_card_says_what_happened(card: ModelCard, trained: Trained, validated: Validated) -> None:
    assert card.training["seed"] == QUICK.seed
    assert card.training["best_epoch"] == trained.best_epoch
    assert card.dataset_version == validated.dataset.version
    assert card.is_sample
    assert card.packages["torch"] == torch.__version__.partition("+")[0]
    assert [row.name for row in card.test.classes] == list(CLASSES)


# --- what is handed on, and what is shown ---


def test_a_checkpoint_gives_back_what_was_written(tmp_path: Path, network: MLP, card: ModelCard) -> None:
    checkpoint = write_checkpoint(tmp_path, network, card)
    again, card_again = read_checkpoint(checkpoint)
    assert weights_hash(again) == weights_hash(network)
    assert card_again.test == card.test
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="changed"):
        read_checkpoint(checkpoint)


def test_the_report_is_one_file_that_escapes_what_it_shows(
    settings: Settings, validated: Validated, network: MLP, card: ModelCard
) -> None:
    model = Classifier("fashion-mlp:abcdefgh", dataclasses.replace(card, preset="<script>alert(1)"), network)
    page = write_report(model, validated.dataset, settings).read_text()
    assert "<script" not in page
    assert "&lt;script" in page
    for heading in ("Class by class", "What is taken for what", "Training", "mistakes", "How it was made"):
        assert heading in page
    assert f"{100 * card.test.accuracy:.2f} %" in page
    assert "sample" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert page.count("<svg") == 2


def test_the_mistakes_shown_are_the_most_confident_ones(network: MLP, card: ModelCard, test_split: Examples) -> None:
    model = Classifier("fashion-mlp:abcdefgh", card, network)
    mistakes = find_mistakes(model, test_split)
    assert len(mistakes) == min(50, round((1 - card.test.accuracy) * card.test.rows))
    confidences = [mistake.confidence for mistake in mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert all(mistake.true != mistake.predicted for mistake in mistakes)


def test_dropout_and_depth_come_from_the_configuration() -> None:
    network = MLP(ModelConfig(hidden=(32, 16), dropout=0.25))
    kinds = [type(layer) for layer in network]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert isinstance(network.dropout1, nn.Dropout)
    assert network.dropout1.p == 0.25
    assert TrainConfig(model=ModelConfig(hidden=[4])) == TrainConfig(model=ModelConfig(hidden=(4,)))  # type: ignore[arg-type]
