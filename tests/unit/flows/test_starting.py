"""The model that a training starts from, by default and on request."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from handed_in import base, ready  # noqa: F401, fixtures
from prefect.logging import disable_run_logger
from trainings import QUICK, one_thread  # noqa: F401, for every test here

from components.contract import Dataset, Revision
from components.dataset.classes.changing import rename_class
from components.dataset.manifest import check_receipt, read_split
from components.errors import ModelError, SettingsError
from components.evaluation.card import write_card
from components.registry import champion, store
from components.settings import Settings
from components.training.data import divide_ids
from components.training.train import train
from flows.starting import find_start

WIDE = dataclasses.replace(QUICK, model=dataclasses.replace(QUICK.model, hidden=(24,)))


@pytest.fixture
def live(base: Dataset, bentoml_home: Path) -> str:
    """A live model of the dataset."""
    validated = check_receipt(base)
    trained = train(validated, QUICK)
    tag = store.save_model(trained.network, write_card("quick", validated, trained))
    champion.make_live(tag, "a test")
    return tag


def found(requested: str, dataset: Dataset, config: object = QUICK) -> str:
    with disable_run_logger():
        start = find_start(requested, dataset, config)  # type: ignore[arg-type]
    return start.tag if start else ""


def test_with_unchanged_classes_a_training_starts_from_scratch_unless_requested(live: str, base: Dataset) -> None:
    assert found("", base) == ""
    assert found("live", base) == found(live, base) == live


def test_with_changed_classes_a_training_starts_from_the_live_model(live: str, base: Dataset) -> None:
    changed = rename_class("Bag", "Handbag", "a test").dataset
    assert found("", changed) == live
    assert found("none", changed) == ""
    assert found("", changed, WIDE) == "", "its layers differ"
    with pytest.raises(SettingsError, match=f"start_from: {live} has hidden layers 16 relu; expected 24 relu"):
        found(live, changed, WIDE)


def test_the_validation_rows_are_traced_through_all_earlier_models(live: str, base: Dataset) -> None:
    rows = divide_ids(read_split(base, "train"), QUICK)
    changed = rename_class("Bag", "Handbag", "a test").dataset
    with disable_run_logger():
        start = find_start("", changed, QUICK)
    assert start
    assert start.rows == rows
    config = dataclasses.replace(QUICK, seed=9, start_from=live)
    validated = check_receipt(changed)
    second = train(validated, config, start=start)
    tag = store.save_model(second.network, write_card("quick", validated, second))
    with disable_run_logger():
        again = find_start(tag, changed, QUICK)
    assert again
    assert again.rows == rows, "not the rows that seed 9 would hold out"


def test_a_training_does_not_start_from_a_model_without_its_dataset(
    live: str, base: Dataset, settings: Settings
) -> None:
    changed = rename_class("Bag", "Handbag", "a test").dataset
    shutil.move(base.path, base.path.with_suffix(".gone"))
    assert found("", changed) == ""
    with pytest.raises(SettingsError, match=f"cannot determine the validation rows of {live}"):
        found(live, changed)


def test_a_missing_model_to_start_from_is_an_error(base: Dataset, bentoml_home: Path) -> None:
    with pytest.raises(SettingsError, match="found 'live', but no model is live"):
        found("live", base)
    with pytest.raises(ModelError):
        found("fashion-mlp:aaaaaaaaaaaaaaaa", base)
    assert found("", dataclasses.replace(base)) == ""


def test_impossible_revisions_in_a_card_are_refused(live: str) -> None:
    card = store.check_stored(live)
    wrong = dataclasses.replace(card, revisions=(Revision(card.classes, tuple(("hat",) for _ in card.classes)),))
    tag = store.save_model(champion.load_model(live).network, wrong)
    with pytest.raises(ModelError, match=r"revisions\.0\.became: 'hat' is not a class after this change"):
        store.check_stored(tag)
