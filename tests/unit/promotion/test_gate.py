"""The evaluation gate: each check on both sides of its bound, with measurements of real small models."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from trainings import QUICK

from components.catalogues.fashion_mnist import CLASSES
from components.contract import SAMPLE, Calibration, GateCheck, KnownRange, ModelCard, Probed, Validated, Verdict
from components.dataset.archives import ARCHIVES, declare_source
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split, receipt_path
from components.dataset.validate import validate
from components.errors import DatasetError, ModelError, SettingsError
from components.evaluation.card import write_card
from components.model.classifier import Classifier
from components.model.mlp import to_mlp
from components.promotion.bounds import GateBounds, load_bounds
from components.promotion.gate import Performance, Trial, bound_difference, judge, tango_score
from components.promotion.margins import max_unknown
from components.promotion.robustness import DISTURBANCES
from components.promotion.trial import run_trial
from components.readers.images.idx import encode_idx, read_idx
from components.scoring.predict import predict
from components.settings import Settings
from components.training.train import Trained, train

SANDAL, SHIRT, TSHIRT = CLASSES.index("Sandal"), CLASSES.index("Shirt"), CLASSES.index("T-shirt/top")
EASY: dict[str, Any] = {  # bounds that every model meets
    "margin": 1,
    "f1_margin": 1,
    "f1_margins": {},
    "loss_margin": 99,
    "calibration_margin": 1,
    "robustness_margin": 1,
    "unknown_margin": 1,
    "min_accuracy": 0,
    "min_f1": 0,
    "max_loss": 99,
    "max_calibration_error": 1,
    "max_seconds": 9,
    "max_batch_seconds": 99,
}
SHOP = "a shop"  # a source other than the synthetic sample


def bounded(**changed: Any) -> GateBounds:
    return GateBounds(**{**EASY, **changed})


@pytest.fixture(scope="session")
def live(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:livelive", dataclasses.replace(card, source=SHOP), trained.network.to_numpy())


def changed(model: Classifier, change: Callable[[dict[str, torch.Tensor]], object]) -> Classifier:
    """Return a challenger: the model with changed weights."""
    network = to_mlp(model.network)
    state = network.state_dict()
    change(state)
    network.load_state_dict(state)
    return Classifier("fashion-mlp:challenge", model.card, network.to_numpy())


def shake(state: dict[str, torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(1)
    for weight in state.values():
        weight.add_(torch.randn(weight.shape, generator=generator) * weight.std() * 0.8)


@pytest.fixture(scope="session")
def worse(live: Classifier, shared_settings: Settings, validated: Validated) -> Trial:
    """A challenger that is worse in every respect, after a better model was live."""
    trial = run_trial(changed(live, shake), live, None, shared_settings)
    return dataclasses.replace(trial, best=0.9, probe_error=0.0)


@pytest.fixture(scope="session")
def equal(live: Classifier, shared_settings: Settings, validated: Validated) -> Trial:
    return run_trial(dataclasses.replace(live, tag="fashion-mlp:theequal"), live, None, shared_settings)


def check_of(verdict: Verdict, name: str) -> GateCheck:
    (found,) = (check for check in verdict.checks if check.name.startswith(name))
    return found


def champion_of(trial: Trial) -> Performance:
    assert trial.champion
    return trial.champion


def lost_f1(trial: Trial) -> float:
    ours, theirs = trial.challenger.metrics.classes[SANDAL], champion_of(trial).metrics.classes[SANDAL]
    return theirs.f1 - ours.f1


def extra_cost(trial: Trial) -> float:
    costs = [one.robustness["with noise"] for one in (trial.challenger, champion_of(trial))]
    (under, clean), (live_under, live_clean) = costs
    return (clean - under) - (live_clean - live_under)


def excess_unknown(trial: Trial) -> float:
    card, unknown = trial.challenger.card, trial.challenger.unknown
    assert card.known is not None
    assert unknown is not None
    return unknown - max_unknown(card.known, trial.challenger.metrics, GateBounds(unknown_margin=0))


def added(trial: Trial, figure: str) -> float:
    ours, theirs = (getattr(one.metrics.calibrated, figure) for one in (trial.challenger, champion_of(trial)))
    return float(ours - theirs)


# check -> its setting, the measured value, and the sign: -1 for a lower bound, 1 for an upper bound
BOUNDS: dict[str, tuple[str, Callable[[Trial], float], int]] = {
    "minimum accuracy": ("min_accuracy", lambda trial: trial.challenger.metrics.accuracy, -1),
    "minimum F1": ("min_f1", lambda trial: min(one.f1 for one in trial.challenger.metrics.classes), -1),
    "maximum log loss": ("max_loss", lambda trial: trial.challenger.metrics.calibrated.loss, 1),
    "maximum calibration error": (
        "max_calibration_error",
        lambda trial: trial.challenger.metrics.calibrated.calibration_error,
        1,
    ),
    "known test images refused": ("unknown_margin", excess_unknown, 1),
    "bytes of weights": ("max_bytes", lambda trial: trial.challenger.bytes, 1),
    "milliseconds for an image": ("max_seconds", lambda trial: trial.seconds, 1),
    "milliseconds for 1,024": ("max_batch_seconds", lambda trial: trial.batch_seconds, 1),
    "accuracy vs. best champion": ("margin", lambda trial: trial.best - trial.challenger.metrics.accuracy, 1),
    "F1 of Sandal": ("f1_margin", lost_f1, 1),
    "log loss": ("loss_margin", lambda trial: added(trial, "loss"), 1),
    "calibration error": ("calibration_margin", lambda trial: added(trial, "calibration_error"), 1),
    "accuracy lost, with noise": ("robustness_margin", extra_cost, 1),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_each_check_passes_inside_its_bound_and_fails_outside(worse: Trial, name: str) -> None:
    field, read, sign = BOUNDS[name]
    if name == "minimum F1":  # the worst class of so bad a model has an F1 of 0
        classes = tuple(dataclasses.replace(one, f1=one.f1 + 0.1) for one in worse.challenger.metrics.classes)
        metrics = dataclasses.replace(worse.challenger.metrics, classes=classes)
        worse = dataclasses.replace(worse, challenger=dataclasses.replace(worse.challenger, metrics=metrics))
    measured = read(worse)
    assert measured > 0, "else another check would apply"
    step = 1 if field == "max_bytes" else 1e-9
    inside = judge(worse, bounded(**{field: measured + sign * step}))
    outside = judge(worse, bounded(**{field: measured - sign * step}))
    assert check_of(inside, name).passed
    assert not check_of(outside, name).passed
    assert check_of(outside, name).message in str(outside)


def test_the_table_covers_every_setting() -> None:
    tested = {field for field, _, _ in BOUNDS.values()} | {
        "confidence",
        "min_gain",
        "f1_margins",
    }
    of_the_canary = {"max_request_seconds"}
    of_the_shadow = {"shadow_requests", "max_shadow_flips", "max_shadow_flips_per_class"}  # see test_shadowed
    assert tested | of_the_canary | of_the_shadow == set(GateBounds.model_fields)


def test_accuracy_is_compared_on_the_discordant_images(worse: Trial) -> None:
    worse = dataclasses.replace(worse, best=0.0)
    low, _ = bound_difference(worse.fixed, worse.regressed, worse.challenger.metrics.rows, 0.95)
    assert check_of(judge(worse, bounded(margin=-low + 1e-9)), "change of accuracy").passed
    failed = check_of(judge(worse, bounded(margin=-low - 1e-9)), "change of accuracy")
    assert not failed.passed
    assert f"{worse.fixed} fixed, {worse.regressed} regressed, McNemar p" in failed.message


@pytest.mark.parametrize("share", [0.006, 0.01, 0.03, 0.1])
def test_a_challenger_that_is_worse_by_the_margin_passes_once_in_forty(share: float) -> None:
    """Independent of the share of discordant images: 4,000 draws of 10,000 images each."""
    lost, limit = 0.005, norm.ppf(0.975)
    draws = np.random.default_rng(0).multinomial(10_000, [(share - lost) / 2, (share + lost) / 2, 1 - share], 4_000)
    passed = [tango_score(fixed, regressed, 10_000, -lost) >= limit for fixed, regressed, _ in draws]
    assert 0.015 < np.mean(passed) < 0.035


def test_flips_are_counted_by_whether_the_champion_is_sure_and_by_its_class(
    worse: Trial, equal: Trial, live: Classifier, validated: Validated
) -> None:
    test = read_split(validated.dataset, "test")
    before = predict(live, test.images)
    flips = worse.flips
    assert flips
    assert flips.sure[0] == before.sure.sum()
    assert flips.sure[0] + flips.not_sure[0] == len(test.labels)
    changed = flips.sure[1] + flips.not_sure[1]
    assert worse.fixed + worse.regressed <= changed == sum(one for _, one in flips.by_class.values())
    assert flips.by_class["Bag"][0] == (before.labels == before.classes.index("Bag")).sum()
    assert judge(worse, GateBounds()).flips == flips
    assert equal.flips
    assert equal.flips.sure[1] == equal.flips.not_sure[1] == 0


@pytest.mark.parametrize(("fixed", "regressed", "rows"), [(10, 25, 500), (3, 0, 40), (0, 7, 100), (60, 60, 10_000)])
def test_the_interval_ends_at_the_critical_score(fixed: int, regressed: int, rows: int) -> None:
    low, high = bound_difference(fixed, regressed, rows, 0.95)
    assert low < (fixed - regressed) / rows < high
    assert tango_score(fixed, regressed, rows, low) == pytest.approx(norm.ppf(0.975), abs=1e-6)
    assert tango_score(fixed, regressed, rows, high) == pytest.approx(-norm.ppf(0.975), abs=1e-6)
    mcnemar = (fixed - regressed) / (fixed + regressed) ** 0.5  # the square root of the test statistic
    assert tango_score(fixed, regressed, rows, 0.0) == pytest.approx(mcnemar)


@pytest.mark.parametrize(
    ("fixed", "regressed", "passes"),
    [
        (0, 0, True),  # identical answers
        (300, 300, True),  # equally good, 600 discordant
        (280, 300, False),  # 20 fewer right; the interval ends at 67 fewer
        (400, 330, True),
        (0, 30, True),  # 30 fewer right of 10,000; the interval ends at 43 fewer
        (0, 49, False),  # 49 fewer right; the interval ends at 65 fewer
    ],
)
def test_the_lower_end_of_the_interval_decides(equal: Trial, fixed: int, regressed: int, passes: bool) -> None:
    metrics = dataclasses.replace(equal.challenger.metrics, rows=10_000)
    challenger = dataclasses.replace(equal.challenger, metrics=metrics)
    trial = dataclasses.replace(equal, challenger=challenger, fixed=fixed, regressed=regressed)
    assert check_of(judge(trial, bounded(margin=0.005)), "change of accuracy").passed is passes


def test_a_lower_confidence_level_accepts_more_challengers(equal: Trial) -> None:
    metrics = dataclasses.replace(equal.challenger.metrics, rows=10_000)
    challenger = dataclasses.replace(equal.challenger, metrics=metrics)
    trial = dataclasses.replace(equal, challenger=challenger, fixed=280, regressed=300)
    for confidence, passes in ((0.6, True), (0.95, False)):
        assert judge(trial, bounded(margin=0.005, confidence=confidence)).passed is passes


def test_an_accuracy_gain_is_required_only_if_configured(equal: Trial) -> None:
    assert not check_of(judge(equal, bounded(min_gain=1e-9)), "accuracy gain").passed
    assert "accuracy gain" not in {check.name for check in judge(equal, bounded()).checks}
    better = dataclasses.replace(equal.challenger.metrics, accuracy=equal.challenger.metrics.accuracy + 0.1)
    gained = dataclasses.replace(equal, challenger=dataclasses.replace(equal.challenger, metrics=better))
    assert check_of(judge(gained, bounded(min_gain=0.0999)), "accuracy gain").passed


def test_equal_models_pass(equal: Trial) -> None:
    floors = {name: EASY[name] for name in ("min_accuracy", "min_f1", "max_loss", "max_calibration_error")}
    verdict = judge(equal, GateBounds(**floors))
    assert verdict.passed, str(verdict)
    assert verdict.outcome == "passed"
    assert len([check for check in verdict.checks if check.name.startswith("F1 of")]) == len(CLASSES)
    assert sum(check.name.startswith("accuracy lost") for check in verdict.checks) == len(DISTURBANCES)


def test_a_challenger_better_overall_but_worse_on_shirts_is_rejected(
    shared_settings: Settings, validated: Validated
) -> None:
    """The challenger is trained three times as long but hardly ever predicts shirt."""
    short, long = (train(validated, dataclasses.replace(QUICK, epochs=epochs)) for epochs in (10, 30))
    champion, better = (
        Classifier(tag, write_card("quick", validated, trained), trained.network.to_numpy())
        for tag, trained in (("fashion-mlp:livelive", short), ("fashion-mlp:thebetter", long))
    )
    shy = changed(better, lambda state: state["logits.bias"][SHIRT].sub_(6))
    trial = run_trial(shy, champion, None, shared_settings)
    ours, theirs = trial.challenger.metrics, champion_of(trial).metrics
    assert ours.accuracy > theirs.accuracy
    assert ours.classes[SHIRT].f1 < theirs.classes[SHIRT].f1 - 0.03
    verdict = judge(dataclasses.replace(trial, probe_error=0.0), bounded(f1_margin=0.03))
    assert [check.name for check in verdict.checks if not check.passed] == ["F1 of Shirt"]
    assert str(verdict).startswith("F1 of Shirt: ")


def test_swapped_training_labels_pass_validation_but_fail_the_gate(archives: Path, tmp_path: Path) -> None:
    """T-shirts and shirts are swapped in the training split: rejected with and without a champion."""
    settings = Settings(data_dir=tmp_path / "data")
    good = train_on(declared(archives, tmp_path / "good"), settings)
    wrong = train_on(declared(archives, tmp_path / "wrong", exchanged=(TSHIRT, SHIRT)), settings)
    floors = ["minimum accuracy", "minimum F1 of "]
    names = {f"F1 of {CLASSES[TSHIRT]}", f"F1 of {CLASSES[SHIRT]}"}
    assert all(check_of(judge(run_trial(good, None, None, settings), GateBounds()), name).passed for name in floors)
    for champion in (None, good):
        verdict = judge(run_trial(wrong, champion, None, settings), GateBounds())
        assert verdict.outcome == "rejected"
        failed = {check.name for check in verdict.checks if not check.passed}
        assert failed & {f"minimum F1 of {CLASSES[label]}" for label in (TSHIRT, SHIRT)}
        assert champion is None or names <= failed


def declared(archives: Path, folder: Path, exchanged: tuple[int, int] | None = None) -> Path:
    """Copy the synthetic archives under another source name, so that they count as real data."""
    shutil.copytree(archives, folder)
    if exchanged:
        path = folder / ARCHIVES["train"].labels
        labels = read_idx(path, ()).copy()
        first, second = labels == exchanged[0], labels == exchanged[1]
        labels[first], labels[second] = exchanged[1], exchanged[0]
        path.write_bytes(encode_idx(labels))
    declare_source(folder, folder.name, "MIT")
    return folder


def train_on(folder: Path, settings: Settings) -> Classifier:
    validated = validate(ingest(str(folder), settings=settings).dataset, settings=settings)
    assert validated.expectations == 46
    trained = train(validated, dataclasses.replace(QUICK, epochs=30))
    card = write_card("quick", validated, trained)
    return Classifier(f"fashion-mlp:{folder.name}data", card, trained.network.to_numpy())


@pytest.mark.parametrize(("f1", "passes"), [(0.02, True), (0.0, False)])
def test_the_f1_floor_of_a_catalogue_does_not_apply_to_new_classes(equal: Trial, f1: float, passes: bool) -> None:
    """Added and renamed classes only need one correct prediction."""
    challenger = equal.challenger
    classes = ("hat", *CLASSES[1:])
    contract = dataclasses.replace(challenger.card.contract, classes=classes, aliases=())
    shown = tuple(
        dataclasses.replace(one, name=name, f1=f1 if name == "hat" else 0.6)
        for one, name in zip(challenger.metrics.classes, classes, strict=True)
    )
    metrics = dataclasses.replace(challenger.metrics, classes=shown)
    card = dataclasses.replace(challenger.card, contract=contract)
    trial = dataclasses.replace(
        equal, challenger=dataclasses.replace(challenger, card=card, metrics=metrics), champion=None, noise=None
    )
    verdict = judge(trial, bounded(min_f1=None))
    assert check_of(verdict, "minimum F1 of hat").passed is passes
    assert check_of(verdict, "minimum F1 of Trouser").passed
    assert not check_of(judge(trial, bounded(min_f1=0.5)), "minimum F1 of hat").passed


def test_a_larger_loss_under_a_disturbance_passes_if_more_accuracy_is_left(equal: Trial) -> None:
    costs = dict.fromkeys(DISTURBANCES, (0.85, 0.95))
    live_costs = dict.fromkeys(DISTURBANCES, (0.8, 0.81))
    challenger = dataclasses.replace(equal.challenger, robustness=costs)
    trial = dataclasses.replace(equal, challenger=challenger, champion=dataclasses.replace(
        champion_of(equal), robustness=live_costs))  # fmt: skip
    assert judge(trial, bounded(robustness_margin=0.03)).passed


def with_known(trial: Trial, challenger: KnownRange | None, champion: KnownRange | None) -> Trial:
    """Return the trial with other cards."""
    ours, theirs = trial.challenger, champion_of(trial)
    return dataclasses.replace(
        trial,
        challenger=dataclasses.replace(ours, card=dataclasses.replace(ours.card, known=challenger)),
        champion=dataclasses.replace(theirs, card=dataclasses.replace(theirs.card, known=champion)),
    )


def test_the_share_of_unknown_test_images_is_measured(equal: Trial, live: Classifier) -> None:
    assert live.card.known is not None
    assert equal.challenger.unknown == pytest.approx(live.card.known.test_refused)
    assert check_of(judge(equal, bounded(unknown_margin=0.02)), "known test images refused").passed
    unmeasured = dataclasses.replace(equal, challenger=dataclasses.replace(equal.challenger, unknown=None))
    assert not judge(unmeasured, bounded()).passed


def test_a_challenger_that_no_longer_tells_unknown_inputs_is_rejected(equal: Trial) -> None:
    known = equal.challenger.card.known
    verdict = judge(with_known(equal, None, known), bounded())
    assert [check.name for check in verdict.checks if not check.passed] == ["unknown inputs"]
    assert str(verdict).startswith("does not detect unknown inputs, but the live model does: train with at least 20")
    assert "known test images refused" not in {check.name for check in verdict.checks}
    for challenger, champion in ((known, None), (None, None), (known, known)):
        assert judge(with_known(equal, challenger, champion), bounded()).passed


def test_a_verdict_without_checks_does_not_pass() -> None:
    assert not Verdict("fashion-mlp:nochecks", None, "", "", 0, (), {}).passed


def test_the_best_champion_so_far_counts_whatever_is_live(equal: Trial) -> None:
    """Forcing a sample model live does not lower the bar."""
    trial = dataclasses.replace(with_source(equal, SHOP, SAMPLE), best=0.99)
    verdict = judge(trial, bounded(margin=0.005))
    assert [check.name for check in verdict.checks if not check.passed] == ["accuracy vs. best champion so far"]


# --- soundness of the evaluation ---


def with_source(trial: Trial, challenger: str, champion: str) -> Trial:
    ours, theirs = (
        dataclasses.replace(one, card=dataclasses.replace(one.card, source=source))
        for one, source in ((trial.challenger, challenger), (champion_of(trial), champion))
    )
    return dataclasses.replace(trial, challenger=ours, champion=theirs)


def test_a_sample_model_never_replaces_a_model_trained_on_real_data(equal: Trial) -> None:
    rejected = judge(with_source(equal, SAMPLE, "fashion-mnist"), bounded())
    assert "never replaces one trained on real data" in str(rejected)
    assert not rejected.passed
    assert judge(with_source(equal, "fashion-mnist", SAMPLE), bounded()).passed
    assert judge(with_source(equal, SAMPLE, SAMPLE), GateBounds()).passed, "no floors apply to it"
    assert judge(dataclasses.replace(with_source(equal, SAMPLE, SAMPLE), champion=None), GateBounds()).passed


def test_a_different_test_split_is_rejected(equal: Trial) -> None:
    champion = champion_of(equal)
    other = dataclasses.replace(champion.card, test=dataclasses.replace(champion.card.test, split_version="0" * 16))
    verdict = judge(dataclasses.replace(equal, champion=dataclasses.replace(champion, card=other)), bounded())
    assert [check.name for check in verdict.checks if not check.passed] == ["same test split"]


def test_test_images_in_the_training_data_are_rejected(equal: Trial) -> None:
    verdict = judge(dataclasses.replace(equal, leaked=1), bounded())
    assert str(verdict) == "test images in the training data: 1, not at most 0"


@pytest.mark.parametrize("error", [2e-5, float("inf"), float("nan")])
def test_predictions_that_changed_since_training_are_rejected(equal: Trial, error: float) -> None:
    assert "since training" in str(judge(dataclasses.replace(equal, probe_error=error), bounded()))


def test_predictions_are_compared_with_those_recorded_after_training(
    live: Classifier, shared_settings: Settings, validated: Validated
) -> None:
    assert run_trial(live, None, None, shared_settings).probe_error < 1e-6
    permuted = changed(live, lambda state: state.update({"logits.bias": state["logits.bias"].flip(0)}))
    assert run_trial(permuted, None, None, shared_settings).probe_error > 0.01
    for probes in ((), (Probed("test-99999", (0.1,) * 10), *live.card.probes)):
        card = dataclasses.replace(live.card, probes=probes)
        found = run_trial(dataclasses.replace(live, card=card), None, None, shared_settings).probe_error
        assert found == float("inf")


def test_a_dataset_without_a_receipt_is_rejected(
    live: Classifier, shared_settings: Settings, validated: Validated
) -> None:
    path = receipt_path(validated.dataset)
    kept = path.read_bytes()
    try:
        for content in (b"", b"{}", None):
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            verdict = judge(run_trial(live, None, None, shared_settings), bounded())
            assert "no receipt of a passed validation" in str(verdict)
            path.touch()
    finally:
        path.write_bytes(kept)
    assert judge(run_trial(live, None, None, shared_settings), bounded()).passed


def test_a_dataset_that_met_fewer_expectations_than_claimed_is_rejected(
    live: Classifier, shared_settings: Settings, validated: Validated
) -> None:
    for claimed in (0, validated.expectations + 1):
        card = dataclasses.replace(live.card, expectations=claimed)
        verdict = judge(run_trial(dataclasses.replace(live, card=card), None, None, shared_settings), bounded())
        assert "expectations" in str(verdict)


def test_a_missing_dataset_raises(live: Classifier, tmp_path: Path, validated: Validated) -> None:
    with pytest.raises(DatasetError, match="no such dataset"):
        run_trial(live, None, None, Settings(data_dir=tmp_path))


def test_non_finite_logits_raise(live: Classifier, shared_settings: Settings, validated: Validated) -> None:
    wild = changed(live, lambda state: [weight.fill_(3e38) for weight in state.values()])
    with pytest.raises(ModelError, match="not finite"):
        run_trial(wild, live, None, shared_settings)


def test_metrics_use_the_served_probabilities(
    live: Classifier, shared_settings: Settings, validated: Validated
) -> None:
    """Overconfident: same weights, other served probabilities."""
    calibration = Calibration(live.card.calibration.temperature / 4, live.card.calibration.thresholds)
    bold = dataclasses.replace(live, tag="fashion-mlp:boldbold", card=dataclasses.replace(
        live.card, calibration=calibration))  # fmt: skip
    trial = run_trial(bold, live, None, shared_settings)
    assert (trial.fixed, trial.regressed) == (0, 0)
    failed = {check.name for check in judge(trial, bounded(loss_margin=0.02)).checks if not check.passed}
    assert "log loss" in failed


# --- the settings ---


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_GATE_MARGIN", "0.02")
    monkeypatch.setenv("FASHION_GATE_F1_MARGINS", '{"Bag": 0.5}')
    assert (load_bounds().margin, load_bounds().f1_margins) == (0.02, {"Bag": 0.5})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MARGIN", "-1"),
        ("MARGIN", "much"),
        ("MARGIN", "nan"),
        ("LOSS_MARGIN", "inf"),
        ("F1_MARGINS", '{"Shirt": NaN}'),
        ("F1_MARGINS", '{"Shirt": 7}'),
        ("F1_MARGINS", "{"),
    ],
)
def test_an_invalid_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"FASHION_GATE_{name}", value)
    with pytest.raises(SettingsError, match=name):
        load_bounds()


def test_a_margin_for_an_unknown_class_is_named(monkeypatch: pytest.MonkeyPatch, worse: Trial) -> None:
    """Checked by the gate, because the settings are shared by all catalogues."""
    monkeypatch.setenv("FASHION_GATE_F1_MARGINS", '{"Hat": 1}')
    with pytest.raises(SettingsError, match="FASHION_GATE_F1_MARGINS: unknown class Hat; expected T-shirt/top, "):
        judge(worse, load_bounds())


def test_disturbances_are_small_and_deterministic(validated: Validated) -> None:
    images = read_split(validated.dataset, "test").images[:8]
    before = images.copy()
    for name, disturb in DISTURBANCES.items():
        disturbed = disturb(images)
        assert disturbed.dtype == np.uint8, name
        assert disturbed.shape == images.shape
        assert np.array_equal(disturbed, disturb(images))
        assert (disturbed != images).any()
        assert np.abs(disturbed.mean() - images.mean()) < 0.35 * images.mean()
    assert np.array_equal(images, before)
    moved = DISTURBANCES["moved by 2 pixels"](images)
    for row, (up, right) in enumerate([(2, 0), (0, 2), (-2, 0), (0, -2)]):
        rolled = np.roll(images[row], (-up, right), (0, 1))
        assert np.array_equal(moved[row][2:-2, 2:-2], rolled[2:-2, 2:-2])
