"""Warm starts from a stored model, even with other classes."""

import dataclasses

import numpy as np
import pytest
import torch
from trainings import QUICK, one_thread, train_split  # noqa: F401, for every test here

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Revision, Validated
from components.dataset.manifest import Examples
from components.errors import SettingsError
from components.model.mlp import MLP
from components.revisions import Lineage
from components.training.config import CONTINUED
from components.training.data import RowsBefore, divide_ids
from components.training.presets import PRESETS
from components.training.starting import Start
from components.training.train import Trained, build, train

ADDED = dataclasses.replace(CONTRACT, classes=(*CLASSES, "hat", "scarf"))
MERGED = dataclasses.replace(CONTRACT, classes=("Top", *CLASSES[1:6], "Ankle boot", *CLASSES[7:9]), aliases=())
NEW = Revision(CLASSES, tuple((name,) for name in CLASSES))
MERGER = Revision(CLASSES, tuple(("Top",) if name in {"T-shirt/top", "Shirt"} else (name,) for name in CLASSES))
NOWHERE = RowsBefore(frozenset(), frozenset())


def start_of(trained: Trained, rows: RowsBefore = NOWHERE) -> Start:
    return Start("fashion-mlp:before", trained.network, Lineage(CLASSES), rows)


def test_a_larger_output_layer_starts_with_the_model_s_weights(trained: Trained) -> None:
    torch.manual_seed(1)
    network = build(QUICK, ADDED)
    fresh = network.state_dict()["logits.weight"][10:].clone()
    start_of(trained).copy_weights(network, ADDED, QUICK, Lineage(ADDED.classes, (NEW,)))
    before, now = trained.network.state_dict(), network.state_dict()
    assert torch.equal(now["dense1.weight"], before["dense1.weight"])
    assert torch.equal(now["logits.weight"][:10], before["logits.weight"])
    assert torch.equal(now["logits.bias"][:10], before["logits.bias"])
    assert torch.equal(now["logits.weight"][10:], fresh)


def test_a_merged_class_starts_with_the_mean_of_its_parts(trained: Trained) -> None:
    network = build(QUICK, MERGED)
    start_of(trained).copy_weights(network, MERGED, QUICK, Lineage(MERGED.classes, (MERGER,)))
    before, now = trained.network.state_dict()["logits.weight"], network.state_dict()["logits.weight"]
    assert torch.allclose(now[0], (before[0] + before[6]) / 2)
    assert torch.equal(now[6], before[9])


def test_a_training_starts_from_the_model_s_weights(validated: Validated, trained: Trained) -> None:
    config = dataclasses.replace(QUICK, start_from="fashion-mlp:before", learning_rate=1e-9, epochs=1)
    examples = train_split(validated)
    rows = divide_ids(examples, QUICK)
    continued = train(validated, config, start=start_of(trained, rows))
    for name, weight in trained.network.state_dict().items():
        assert torch.allclose(continued.network.state_dict()[name], weight, atol=1e-6), name
    assert sorted(continued.validation_labels.tolist()) == sorted(trained.validation_labels.tolist())


def test_validation_rows_stay_held_out_and_new_rows_join_them(validated: Validated) -> None:
    before = train_split(validated)
    rows = divide_ids(before, QUICK)
    labels = np.concatenate([before.labels, np.full(40, 10, np.uint16)])
    images = np.concatenate([before.images, before.images[:40]])
    grown = Examples([*before.ids, *(f"new-{number}" for number in range(40))], images, labels, ADDED)
    other = dataclasses.replace(QUICK, seed=5)
    now = divide_ids(grown, other, rows)
    assert rows.held_out <= now.held_out
    assert rows.trained_on <= now.trained_on
    assert len(now.held_out - rows.held_out) == 4


def test_divide_ids_returns_the_split_of_a_training(validated: Validated, trained: Trained) -> None:
    examples = train_split(validated)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    rows = divide_ids(examples, QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    labels = dict(zip(examples.ids, examples.labels.tolist(), strict=True))
    assert sorted(labels[one] for one in rows.held_out) == sorted(trained.validation_labels.tolist())
    assert rows.held_out | rows.trained_on == set(examples.ids)


def test_a_warm_start_with_tied_layers_trains_dense_layers() -> None:
    tied = dataclasses.replace(
        QUICK, model=dataclasses.replace(QUICK.model, hidden=(196,), batch_norm=True), tied=(3,), untied_epochs=3
    )
    (phase,) = dataclasses.replace(tied, start_from="fashion-mlp:before").phases()
    assert (phase.tied, phase.model.batch_norm, phase.epochs) == ((), False, 3)
    assert phase.learning_rate == tied.untied_learning_rate
    (phase,) = dataclasses.replace(tied, untied_epochs=0, start_from="fashion-mlp:before").phases()
    assert (phase.tied, phase.epochs, phase.learning_rate) == ((), tied.epochs, tied.learning_rate)
    assert dataclasses.replace(tied, start_from="fashion-mlp:before").total_epochs == 3


def test_a_warm_start_of_layers_trained_with_muon_is_short_and_slow() -> None:
    config = dataclasses.replace(PRESETS["flagship"].config, start_from="fashion-mlp:before")
    (phase,) = config.phases()
    assert (phase.tied, phase.strides, phase.muon) == ((), (), 0.0)
    assert (phase.epochs, phase.learning_rate) == (CONTINUED, config.untied_learning_rate)


def test_a_model_that_does_not_fit_is_refused(validated: Validated, trained: Trained) -> None:
    start = start_of(trained)
    wide = dataclasses.replace(QUICK, model=dataclasses.replace(QUICK.model, hidden=(64, 32)))
    assert "has hidden layers" in start.find_misfit(CONTRACT, wide, Lineage(CLASSES))
    assert "has unrelated classes" in start.find_misfit(CONTRACT, QUICK, Lineage(("cat", "dog")))
    other = dataclasses.replace(CONTRACT, preparation="letterbox")
    assert "takes images of another format" in start.find_misfit(other, QUICK, Lineage(CLASSES))
    with pytest.raises(SettingsError, match="start_from: fashion-mlp:before has unrelated classes"):
        start.copy_weights(MLP(QUICK.model, CONTRACT), CONTRACT, QUICK, Lineage(("cat", "dog")))
    with pytest.raises(
        SettingsError, match="start_from: ''; expected the tag of the model passed, 'fashion-mlp:before'"
    ):
        train(validated, QUICK, start=start)
    with pytest.raises(SettingsError, match="start_from: 'a:b'; expected the tag of the model passed, ''"):
        train(validated, dataclasses.replace(QUICK, start_from="a:b"))
