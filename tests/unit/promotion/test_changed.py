"""A challenger with other classes than the champion: compared on the common classes, with the changes reported."""

import dataclasses

import numpy as np
import pytest
from revised import ADDED, FIRST, ROWS, Shown, became, model_of

from components.contract import GateCheck, Verdict
from components.dataset.manifest import dataset_of, read_split
from components.model.classifier import Classifier
from components.promotion.bounds import GateBounds
from components.promotion.gate import Trial, judge
from components.promotion.trial import run_trial
from components.settings import Settings

RENAMED: Shown = {"boot": ["boot"], "jacket": ["coat"], "shirt": ["shirt"], "bag": ["bag"]}
MERGED: Shown = {"boot": ["boot"], "top": ["coat", "shirt"], "bag": ["bag"]}
REMOVED: Shown = {name: [name] for name in ("boot", "coat", "shirt")}
PARTS = ROWS["test"]  # test images per class


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the catalogue whose classes change in use."""
    monkeypatch.setenv("FASHION_CATALOGUE", "shop")
    return Settings()


@pytest.fixture
def live(settings: Settings) -> Classifier:
    return model_of(settings.datasets_dir, FIRST, tag="shop-mlp:livelive")


def judged(trial: Trial, **bounds: float) -> Verdict:
    return judge(trial, GateBounds(max_seconds=9, max_batch_seconds=99, **bounds))  # type: ignore[arg-type]


def check_of(verdict: Verdict, name: str) -> GateCheck:
    (found,) = (check for check in verdict.checks if check.name == name)
    return found


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_adding_a_class_passes_if_the_other_classes_do_not_get_worse(live: Classifier, settings: Settings) -> None:
    model = model_of(settings.datasets_dir, ADDED, became(FIRST, ADDED))
    trial = run_trial(model, live, None, settings)
    verdict = judged(trial)
    assert failed(verdict) == []
    basis = "compared on 240 test images of 4 common classes"
    assert check_of(verdict, "classes") == GateCheck(
        "classes", True, "hat is new", basis, f"classes: hat is new; {basis}"
    )
    assert check_of(verdict, "same test images").measured == "the same 240"
    assert [check.name for check in verdict.checks if check.name.startswith("F1 of")] == [
        f"F1 of {name}" for name in FIRST
    ]
    assert (verdict.rows, trial.challenger.metrics.rows) == (4 * PARTS, 5 * PARTS)
    assert "same test split" not in [check.name for check in verdict.checks]


def test_a_challenger_worse_on_an_old_class_is_rejected(live: Classifier, settings: Settings) -> None:
    model = model_of(settings.datasets_dir, ADDED, became(FIRST, ADDED), dull={"coat": 5.0})
    verdict = judged(run_trial(model, live, None, settings))
    assert {"F1 of coat", "change of accuracy"} <= set(failed(verdict))
    assert "F1 of bag" not in failed(verdict)


def test_old_images_misclassified_as_the_new_class_count_as_errors(live: Classifier, settings: Settings) -> None:
    greedy = model_of(settings.datasets_dir, ADDED, became(FIRST, ADDED), dull={"hat": -7.0})
    trial = run_trial(greedy, live, None, settings)
    assert trial.changed
    found = greedy.logits(read_split(dataset_of(settings.datasets_dir, greedy.card.dataset_version), "test").images)
    old = found[: 4 * PARTS].argmax(axis=1)
    assert (old == 4).mean() > 0.3, "many old images are predicted as hat"
    assert trial.changed.challenger.metrics.accuracy == (old == np.repeat(range(4), PARTS)).mean()
    assert "change of accuracy" in failed(judged(trial))


def test_a_new_class_that_is_never_predicted_fails_the_floor(live: Classifier, settings: Settings) -> None:
    blind = model_of(settings.datasets_dir, ADDED, became(FIRST, ADDED), dull={"hat": 50.0})
    verdict = judged(run_trial(blind, live, None, settings), max_loss=99, max_calibration_error=1)
    assert failed(verdict) == ["minimum F1 of hat"]
    assert failed(judged(run_trial(blind, live, None, settings), min_f1=0, max_loss=99, max_calibration_error=1)) == []


def test_renaming_a_class_does_not_change_the_metrics(live: Classifier, settings: Settings) -> None:
    model = model_of(settings.datasets_dir, RENAMED, became(FIRST, RENAMED))
    trial = run_trial(model, live, None, settings)
    assert trial.changed
    assert trial.champion
    names = ("boot", "jacket (coat before)", "shirt", "bag")
    assert tuple(one.name for one in trial.champion.metrics.classes) == names
    assert trial.changed.challenger.metrics == trial.champion.metrics
    alone = run_trial(live, live, None, settings).challenger
    assert trial.champion.metrics.accuracy == alone.metrics.accuracy
    assert trial.champion.metrics.calibrated == alone.metrics.calibrated
    assert [one.f1 for one in trial.champion.metrics.classes] == [one.f1 for one in alone.metrics.classes]
    assert trial.champion.robustness == alone.robustness
    verdict = judged(trial)
    assert failed(verdict) == []
    assert check_of(verdict, "classes").measured == "coat is jacket now"


def test_each_model_uses_its_own_temperature(live: Classifier, settings: Settings) -> None:
    hot = dataclasses.replace(live.card.calibration, temperature=2.5)
    tempered = dataclasses.replace(live, card=dataclasses.replace(live.card, calibration=hot))
    model = model_of(settings.datasets_dir, RENAMED, became(FIRST, RENAMED))
    trial = run_trial(model, tempered, None, settings)
    assert trial.champion
    expected = run_trial(tempered, tempered, None, settings).challenger.metrics.calibrated
    assert trial.champion.metrics.calibrated == expected != trial.challenger.metrics.calibrated


def test_merged_classes_are_evaluated_as_the_sum_of_their_parts(live: Classifier, settings: Settings) -> None:
    model = model_of(settings.datasets_dir, MERGED, became(FIRST, MERGED))
    trial = run_trial(model, live, None, settings)
    assert trial.champion
    test = read_split(dataset_of(settings.datasets_dir, model.card.dataset_version), "test")
    served = live.probabilities(test.images)
    joined = np.column_stack([served[:, 0], served[:, 1] + served[:, 2], served[:, 3]])
    assert trial.champion.metrics.accuracy == (joined.argmax(axis=1) == test.labels).mean()
    loss = -np.log(joined[np.arange(len(joined)), test.labels]).mean()
    assert trial.champion.metrics.calibrated.loss == pytest.approx(loss, rel=1e-5)
    verdict = judged(trial)
    assert failed(verdict) == []
    assert check_of(verdict, "classes").measured == "coat and shirt are top now"
    assert verdict.rows == 4 * PARTS


def test_a_merger_with_swapped_classes_is_rejected(live: Classifier, settings: Settings) -> None:
    swapped: Shown = {"boot": ["bag"], "top": ["coat", "shirt"], "bag": ["boot"]}
    model = model_of(settings.datasets_dir, MERGED, became(FIRST, MERGED))
    wrong = dataclasses.replace(model, network=model_of(settings.datasets_dir / "other", swapped).network)
    verdict = judged(run_trial(wrong, live, None, settings))
    assert {"F1 of boot", "F1 of bag", "change of accuracy"} <= set(failed(verdict))
    assert check_of(verdict, "F1 of top (coat and shirt before)").passed


def test_a_split_class_is_evaluated_as_one_group(settings: Settings) -> None:
    before = model_of(settings.datasets_dir, MERGED, tag="shop-mlp:livelive")
    after = model_of(settings.datasets_dir, FIRST, became(MERGED, FIRST))
    trial = run_trial(after, before, None, settings)
    verdict = judged(trial, margin=0.06)
    assert trial.changed
    assert failed(verdict) == []
    assert check_of(verdict, "classes").measured == "top is coat and shirt now"
    assert check_of(verdict, "F1 of coat and shirt (top before)").passed
    assert trial.changed.challenger.metrics.accuracy > trial.challenger.metrics.accuracy, (
        "confusions in a group are no errors"
    )


def test_images_of_a_removed_class_are_ignored(live: Classifier, settings: Settings) -> None:
    model = model_of(settings.datasets_dir, REMOVED, became(FIRST, REMOVED))
    verdict = judged(run_trial(model, live, None, settings))
    assert failed(verdict) == []
    assert check_of(verdict, "classes").measured == "bag is gone"
    assert verdict.rows == 3 * PARTS


def test_different_test_images_of_the_old_classes_are_rejected(live: Classifier, settings: Settings) -> None:
    model = model_of(settings.datasets_dir, ADDED, became(FIRST, ADDED), left_out=2)
    verdict = judged(run_trial(model, live, None, settings))
    assert failed(verdict) == ["same test images"]
    assert check_of(verdict, "same test images").message == (
        "in the common classes, the challenger's dataset lacks 8 test images of the live model"
        " shop-mlp:livelive and has 0 others"
    )


def test_relabelled_test_images_count_as_different(live: Classifier, settings: Settings) -> None:
    relabelled: Shown = {**FIRST, "coat": ["shirt"], "shirt": ["coat"], "hat": ["hat"]}
    model = model_of(settings.datasets_dir, relabelled, became(FIRST, ADDED))
    message = check_of(judged(run_trial(model, live, None, settings)), "same test images").message
    assert "lacks 120 test images" in message
    assert "has 120 others" in message


def test_a_missing_dataset_of_the_live_model_fails_the_check(live: Classifier, settings: Settings) -> None:
    model = model_of(settings.datasets_dir, ADDED, became(FIRST, ADDED))
    (settings.datasets_dir / f"{live.card.dataset_version}.json").unlink()
    verdict = judged(run_trial(model, live, None, settings))
    assert failed(verdict) == ["same test images"]
    message = check_of(verdict, "same test images").message
    assert message.startswith("the test images of the live model shop-mlp:livelive cannot be read: ")
    assert "no such dataset" in message


def test_per_class_margins_apply_to_classes_with_an_unchanged_name(live: Classifier, settings: Settings) -> None:
    both: Shown = {**RENAMED, "hat": ["hat"]}
    model = model_of(settings.datasets_dir, both, became(FIRST, both), dull={"jacket": 5.0, "shirt": 5.0})
    trial = run_trial(model, live, None, settings)
    bounds = GateBounds(f1_margins={"jacket": 1, "shirt": 1}, max_seconds=9, max_batch_seconds=99)
    assert {"F1 of jacket (coat before)", "F1 of shirt"} <= set(failed(judged(trial)))
    found = failed(judge(trial, bounds))
    assert "F1 of jacket (coat before)" in found
    assert "F1 of shirt" not in found


def test_non_finite_logits_raise(live: Classifier, settings: Settings) -> None:
    from components.errors import ModelError

    model = model_of(settings.datasets_dir, ADDED, became(FIRST, ADDED))
    live.network.state["logits.bias"][0] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        run_trial(model, live, None, settings)
