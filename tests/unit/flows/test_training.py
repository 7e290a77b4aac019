"""The form of the training flow, its final message, and steps that must not fail it."""

from dataclasses import replace
from pathlib import Path

from prefect.logging import disable_run_logger
from prefect.utilities.callables import parameter_schema
from revised import ADDED, FIRST, model_of

from components.dataset.manifest import dataset_of
from components.evaluation.report import report_path
from components.settings import Settings
from components.training.presets import PRESETS
from flows.training import TrainingResult, _write_impact, describe, training

RESULT = TrainingResult(
    tag="fashion-mlp:abc",
    preset="quick",
    source="sample",
    dataset_version="0" * 16,
    train_accuracy=0.9,
    train_loss=0.1,
    test_accuracy=0.88341,
    test_macro_f1=None,
    epochs=1,
    train_seconds=1.0,
    promoted=True,
    verdict="",
    docs=Path("index.html"),
    report=Path("index.html"),
)


def test_the_preset_is_a_choice_in_the_form() -> None:
    assert parameter_schema(training).properties["preset"]["enum"] == list(PRESETS)


def test_the_final_message_has_the_model_and_its_accuracy() -> None:
    assert describe(RESULT) == "fashion-mlp:abc live, test accuracy 0.8834"
    assert describe(replace(RESULT, promoted=False, test_macro_f1=0.5)) == (
        "fashion-mlp:abc not live, test accuracy 0.8834, macro F1 0.5000"
    )
    assert describe(replace(RESULT, promoted=False, skipped=True)).startswith("fashion-mlp:abc skipped, already live")


def test_a_live_model_without_common_classes_gives_no_impact_page_and_fails_no_run(settings: Settings) -> None:
    live = model_of(settings.datasets_dir, FIRST, tag="shop-mlp:livelive")
    model = model_of(settings.datasets_dir, ADDED)
    with disable_run_logger():
        _write_impact(model, live, dataset_of(settings.datasets_dir, model.card.dataset_version))
    assert not (report_path(model.tag, settings).parent / "impact.html").exists()
