"""The report of a model: sections and figures, self-contained and escaped, and in a browser at phone width."""

import dataclasses
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from pages import Page
from revised import ADDED, FIRST, Shown, became, model_of

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Dataset, GateCheck, ModelCard, Verdict
from components.dataset.manifest import Examples, dataset_of, read_split
from components.evaluation import figures
from components.evaluation.compare import find_flips
from components.evaluation.model_slices import slice_model
from components.evaluation.report import (
    EXAMPLES,
    FLIPS,
    LEAST_FAMILIAR,
    MISTAKES,
    find_mistakes,
    find_unfamiliar,
    report_path,
    write_report,
)
from components.evaluation.slices_page import FILE, read_slices
from components.model.classifier import Classifier
from components.model.mlp import MLP, ModelConfig, to_mlp
from components.settings import Settings
from components.training.train import Trained

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SECTIONS = [
    "classes",
    "confusion",
    "slices",
    "calibration",
    "unknown",
    "mistakes",
    "training",
    "network",
    "data",
    "reproduction",
]
SLICES_SHOWN = 12  # the others are folded
NAMESPACES = ("http://www.w3.org/",)  # SVG namespaces, not links


@pytest.fixture(scope="module")
def model(trained: Trained, card: ModelCard) -> Classifier:
    return Classifier("fashion-mlp:aaaaaaaa", card, trained.network.to_numpy())


@pytest.fixture(scope="module")
def other(card: ModelCard) -> Classifier:
    """An untrained network."""
    torch.manual_seed(5)
    return Classifier("fashion-mlp:bbbbbbbb", card, MLP(ModelConfig(hidden=(8,)), CONTRACT).to_numpy())


@pytest.fixture(scope="module")
def page(model: Classifier, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The model's report, without a comparison."""
    return Page(write_report(model, dataset, settings=Settings(data_dir=tmp_path_factory.mktemp("page"))))


@pytest.fixture(scope="module")
def comparison(
    model: Classifier, other: Classifier, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Page:
    """The model's report, compared with the other model."""
    return Page(write_report(model, dataset, other, Settings(data_dir=tmp_path_factory.mktemp("comparison"))))


def with_thresholds(model: Classifier, thresholds: tuple[float, ...]) -> Classifier:
    calibration = dataclasses.replace(model.card.calibration, thresholds=thresholds)
    return dataclasses.replace(model, card=dataclasses.replace(model.card, calibration=calibration))


def test_every_section_exists_once_and_is_linked(page: Page) -> None:
    assert page.sections == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert [reference for reference in page.references if reference[:1] == "#" and reference[1:] in SECTIONS] == [
        f"#{section}" for section in SECTIONS
    ]
    assert page.tags.count("svg") == 6, "two curves, confusion, reliability, coverage, architecture"
    assert page.tags.count("img") == len(page.captions) + EXAMPLES * len(CLASSES)


def test_the_figures_match_the_card(model: Classifier, page: Page) -> None:
    test, (low, high) = model.card.test, model.card.test.accuracy_interval
    assert f"{100 * test.accuracy:.2f} %" in page.text
    assert f"interval {100 * low:.1f} % to {100 * high:.1f} %" in page.text
    assert f"{test.calibrated.loss:.4f}test log loss, calibrated" in page.text
    assert f"{100 * test.coverage:.1f} %coverage: predictions above the threshold" in page.text
    before, after = page.table("probabilities")[:2]
    assert before[1:3] == [f"{test.uncalibrated.loss:.4f}", f"{test.uncalibrated.brier:.4f}"]
    assert after[3] == f"{100 * test.calibrated.calibration_error:.2f} %"
    assert f"fitted on {model.card.calibration.rows:,} validation images" in page.text
    for name in ("seed", "torch", "device", "git commit", "great-expectations"):
        assert name in page.text


def test_the_classes_are_listed_with_their_thresholds(model: Classifier, dataset: Dataset, settings: Settings) -> None:
    thresholds = (0.0, 1.0, 0.876, *model.card.calibration.thresholds[3:])
    changed = with_thresholds(model, thresholds)
    rows = Page(write_report(changed, dataset, settings=settings)).table("precision", "recall", "F1")[: len(CLASSES)]
    assert [row[-1] for row in rows[:3]] == ["always", "never", "87.6 %"]
    assert [row[:-1] for row in rows] == [
        [one.name, f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}", str(one.support)]
        for one in model.card.test.classes
    ]


def test_predictions_above_the_threshold_are_counted_by_class(
    other: Classifier, dataset: Dataset, settings: Settings
) -> None:
    test = read_split(dataset, "test")
    probabilities = other.probabilities(test.images).tolist()
    threshold = float(np.median([max(row) for row in probabilities]))
    expected = {name: [0, 0, 0] for name in CLASSES}
    for label, row in zip(test.labels.tolist(), probabilities, strict=True):
        predicted, sure = row.index(max(row)), max(row) > np.float32(threshold)
        for place, counts in enumerate((True, sure, sure and predicted == label)):
            expected[CLASSES[predicted]][place] += int(counts)
    assert 0 < sum(right for _, _, right in expected.values()) < sum(sure for _, sure, _ in expected.values())
    changed = with_thresholds(other, (threshold,) * len(CLASSES))
    for name, count, sure, right in Page(write_report(changed, dataset, settings=settings)).table("predictions")[:10]:
        share = 0 if right == "none" else float(right.removesuffix(" %")) / 100
        assert [int(count), int(sure), round(share * int(sure))] == expected[name]


def test_every_epoch_is_listed_with_its_time(model: Classifier, page: Page) -> None:
    history, best = model.card.history, model.card.best_epoch
    rows = page.table("epoch")[: len(history)]
    assert [row[0] for row in rows] == [f"{n.number}, selected" if n.number == best else str(n.number) for n in history]
    assert [row[1] for row in rows] == [f"{epoch.loss:.4f}" for epoch in history]
    assert [row[5] for row in rows] == [f"{epoch.seconds:.2f}" for epoch in history]


def test_layers_are_listed_with_their_parameters(page: Page) -> None:
    rows = page.table("layer")[:4]
    assert rows == [
        ["dense1", "Linear", "784", "16", f"{784 * 16 + 16:,}"],
        ["relu1", "ReLU", "16", "16"],
        ["logits", "Linear", "16", "10", f"{16 * 10 + 10}"],
        ["total", f"{784 * 16 + 16 + 16 * 10 + 10:,}"],
    ]


def test_the_dataset_is_described(model: Classifier, dataset: Dataset, page: Page) -> None:
    train, test = read_split(dataset, "train").images, read_split(dataset, "test").images
    assert page.table("split")[:2] == [
        ["train", "600", f"{train.mean():.1f}", f"{train.std():.1f}"],
        ["test", "200", f"{test.mean():.1f}", f"{test.std():.1f}"],
    ]
    parts = page.table("part")[:2]
    assert {count for _, count, _ in parts} == {"600", "200"}
    assert "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz" in {inputs for _, _, inputs in parts}
    assert f"dataset {dataset.version} met all {model.card.expectations} expectations" in page.text


def test_the_newest_validation_page_is_linked_if_any(model: Classifier, dataset: Dataset, settings: Settings) -> None:
    path = write_report(model, dataset, settings=settings)
    assert "validation page" not in Page(path).text
    docs = settings.validation_dir / f"{dataset.version}-00000000" / "index.html"
    docs.parent.mkdir(parents=True)
    docs.touch()
    write_report(model, dataset, settings=settings)
    link = next(reference for reference in Page(path).references if reference.endswith("index.html"))
    assert (path.parent / link).resolve() == docs


def test_a_page_on_other_data_says_so(model: Classifier, dataset: Dataset, settings: Settings, page: Page) -> None:
    notice = f"evaluates the model on dataset {dataset.version}"
    assert notice not in page.text
    moved = dataclasses.replace(model, card=dataclasses.replace(model.card, dataset_version="0123456789abcdef"))
    assert notice in Page(write_report(moved, dataset, settings=settings)).text


def test_the_page_is_self_contained(comparison: Page) -> None:
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in comparison.references)
    assert not {"script", "link", "iframe", "object"} & set(comparison.tags)
    addresses = re.findall(r"https?://[^\s\"'<)]*", re.sub(r">[^<]*<", "><", comparison.path.read_text()))
    assert all(address.startswith(NAMESPACES) for address in addresses), addresses
    assert "@import" not in comparison.path.read_text()


def test_the_values_are_escaped(model: Classifier, other: Classifier, dataset: Dataset, settings: Settings) -> None:
    hostile = dataclasses.replace(
        model.card, preset="<script>alert(1)</script>", source='"><img src=x onerror=alert(1)>'
    )
    path = write_report(
        dataclasses.replace(model, card=hostile), dataset, dataclasses.replace(other, card=hostile), settings
    )
    page = Page(path)
    assert "script" not in page.tags
    assert "x" not in page.references
    assert page.text.count("<script>alert(1)</script>") == 4, "header, comparison twice, settings"


def test_a_sample_is_marked(model: Classifier, dataset: Dataset, settings: Settings, page: Page) -> None:
    warning = "These figures say nothing about real clothes"
    assert warning in page.text
    real = dataclasses.replace(model, card=dataclasses.replace(model.card, source="acme"))
    assert warning not in Page(write_report(real, dataset, settings=settings)).text


def test_the_same_model_gives_the_same_page(
    model: Classifier, dataset: Dataset, settings: Settings, page: Page
) -> None:
    path = write_report(model, dataset, model, settings)
    assert path == report_path(model.tag, settings)
    assert path.read_bytes() == page.path.read_bytes(), "it is not compared with itself"


def test_the_mistakes_are_the_most_confident_ones(other: Classifier, dataset: Dataset, settings: Settings) -> None:
    test = read_split(dataset, "test")
    rows = zip(other.probabilities(test.images).tolist(), test.labels.tolist(), strict=True)
    wrong = [(max(probabilities), label, probabilities.index(max(probabilities))) for probabilities, label in rows]
    wrong = sorted((one for one in wrong if one[1] != one[2]), key=lambda one: -one[0])[:MISTAKES]
    assert len(wrong) == MISTAKES
    expected = [(CLASSES[label], CLASSES[predicted], confidence) for confidence, label, predicted in wrong]
    assert [(one.true, one.predicted, one.confidence) for one in find_mistakes(other, test)] == expected
    page = Page(write_report(other, dataset, settings=settings))
    assert page.captions == [[true, predicted, f"{100 * confidence:.1f} %"] for true, predicted, confidence in expected]


def test_a_model_without_errors_has_no_mistakes(model: Classifier, test_split: Examples) -> None:
    predicted = model.probabilities(test_split.images).argmax(axis=1).astype(np.uint8)
    assert not find_mistakes(model, dataclasses.replace(test_split, labels=predicted))


def test_flips_are_split_by_which_model_is_right() -> None:
    labels, predictions, others = np.array(
        [  # fixed, regressed, moved, both wrong with the same label, both right, fixed with higher confidence
            [0, 1, 2, 3, 4, 5],
            [0, 9, 8, 9, 4, 5],
            [9, 1, 9, 9, 4, 9],
        ],
        np.uint8,
    )
    flips = find_flips(labels, predictions, np.array([0.6, 0.9, 0.9, 0.9, 0.9, 0.7]), others)
    assert (flips.fixed, flips.regressed, flips.moved) == ((5, 0), (1,), (2,))
    assert flips.chance == 1.0, "two to one is not significant"


def test_an_uneven_split_has_a_small_p_value() -> None:
    labels = np.zeros(10, np.uint8)
    flips = find_flips(labels, labels, np.ones(10), np.ones(10, np.uint8))
    assert flips.chance == pytest.approx(2 * 0.5**10)
    assert find_flips(labels, labels, np.ones(10), labels).chance == 1.0


def test_the_comparison_counts_and_shows_the_flips(
    model: Classifier, other: Classifier, dataset: Dataset, comparison: Page
) -> None:
    test = read_split(dataset, "test")
    new, old = (one.logits(test.images).argmax(1).tolist() for one in (model, other))
    predictions = list(zip(new, old, test.labels.tolist(), strict=True))
    fixed = sum(a == label != b for a, b, label in predictions)
    regressed = sum(b == label != a for a, b, label in predictions)
    moved = sum(a != b and a != label != b for a, b, label in predictions)
    assert comparison.sections == ["comparison", *SECTIONS]
    assert "#comparison" in comparison.references
    assert fixed > 0
    assert f"{fixed} fixed (only this model is right)" in comparison.text
    assert f"{regressed} regressed (only the other is right)" in comparison.text
    assert f"{moved} moved (both are wrong, with different labels)" in comparison.text
    shown = [caption for caption in comparison.captions if len(caption) == 4]
    assert len(shown) == sum(min(count, FLIPS) for count in (fixed, regressed, moved))
    for true, this, _, _ in shown[: min(fixed, FLIPS)]:
        assert this == f"this: {true}"
    confidences = [float(caption[3].removesuffix(" %")) for caption in shown[: min(fixed, FLIPS)]]
    assert confidences == sorted(confidences, reverse=True)


def test_the_other_model_is_evaluated_on_these_test_images_regardless_of_its_card(
    model: Classifier, other: Classifier, dataset: Dataset, settings: Settings
) -> None:
    elsewhere = dataclasses.replace(other.card.test, accuracy=0.123, split_version="fedcba9876543210")
    card = dataclasses.replace(other.card, test=elsewhere, dataset_version="fedcba9876543210")
    test = read_split(dataset, "test")
    right = other.logits(test.images).argmax(1) == test.labels
    page = Page(write_report(model, dataset, dataclasses.replace(other, card=card), settings))
    new, old = 100 * model.card.test.accuracy, 100 * right.mean()
    change = f"{new - old:+.2f}"
    assert page.table("this", "other", "change")[0] == ["accuracy", f"{new:.2f} %", f"{old:.2f} %", change]
    recalls = [right[test.labels == label].mean() for label in range(len(CLASSES))]
    rows = page.table("precision", "recall", "F1")[1 : 1 + len(CLASSES)]
    assert [row[5] for row in rows] == [f"{recall:.3f}" for recall in recalls]
    for row in rows:
        assert float(row[6]) == pytest.approx(float(row[4]) - float(row[5]), abs=1e-9)


def test_the_comparison_counts_label_changes_by_class(
    model: Classifier, other: Classifier, dataset: Dataset, comparison: Page
) -> None:
    test = read_split(dataset, "test")
    after, before = (one.logits(test.images).argmax(1) for one in (model, other))
    rows = comparison.table("before", "after", "gained", "lost", "fixed", "regressed", "moved")
    for label, row in enumerate(rows[: len(CLASSES)]):
        gained, lost = (after == label) & (before != label), (before == label) & (after != label)
        assert row[:5] == [
            CLASSES[label],
            *(f"{one.sum():,}" for one in (before == label, after == label, gained, lost)),
        ]
    flips = int((before != after).sum())
    assert rows[len(CLASSES)][:5] == ["total", "200", "200", str(flips), str(flips)]
    shirts = comparison.table("from (rows) to (columns)")[6]
    counts = [int(((before == 6) & (after == label)).sum()) for label in range(len(CLASSES)) if label != 6]
    assert [cell for cell in shirts[1:] if cell != "\u00b7"] == [str(count) for count in counts if count]
    assert f"{flips / 2:.2f} % of the test images change label" in comparison.text


def verdict_of(model: Classifier, *failed: str, forced: str = "") -> Verdict:
    checks = [GateCheck(name, True, "0.9", "at least 0.8", f"{name}: all is well") for name in ("one", "two")]
    checks += [GateCheck(name, False, "0.1", "at least 0.8", f"{name}: too little") for name in failed]
    when = "2026-01-02T03:04:05.678+00:00"
    return Verdict(model.tag, "fashion-mlp:bbbbbbbb", when, "0123456789abcdef", 200, tuple(checks), {}, forced=forced)


@pytest.mark.parametrize(
    ("failed", "forced", "outcome"),
    [
        ((), "", "passed"),
        (("three",), "", "rejected"),
        (("three",), "<b>a sale</b>", "forced"),
        ((), "why not", "passed"),
    ],
)
def test_the_verdict_lists_every_check(
    model: Classifier, dataset: Dataset, settings: Settings, failed: tuple[str, ...], forced: str, outcome: str
) -> None:
    verdict = verdict_of(model, *failed, forced=forced)
    page = Page(write_report(model, dataset, settings=settings, verdict=verdict))
    assert page.sections == ["verdict", *SECTIONS]
    assert "#verdict" in page.references
    assert f"Verdict: {outcome}" in page.text
    rows = page.table("check", "outcome", "measured", "bound")[: len(verdict.checks)]
    expected = [[name, "failed", "0.1", "at least 0.8"] for name in failed]
    assert rows == expected + [[name, "passed", "0.9", "at least 0.8"] for name in ("one", "two")]
    assert ("three: too little" in page.text) == bool(failed)
    assert ("All 2 checks passed" in page.text) == (not failed)
    assert "Compared with the live model, fashion-mlp:bbbbbbbb, on 200 test images" in page.text
    assert "2026-01-02 03:04 UTC" in page.text
    assert (f"Promoted despite the failed checks, with --force. Reason: {forced}" in page.text) == (outcome == "forced")


def test_a_verdict_without_a_live_model_says_so(model: Classifier, dataset: Dataset, settings: Settings) -> None:
    alone = dataclasses.replace(verdict_of(model), champion=None)
    assert "No model was live" in Page(write_report(model, dataset, settings=settings, verdict=alone)).text


def test_without_a_verdict_the_page_has_no_verdict_section(page: Page) -> None:
    assert "Verdict" not in page.text


def test_figures_take_the_colour_of_the_page(card: ModelCard) -> None:
    drawn = figures.draw_curves(card.history, card.best_epoch)
    assert drawn.startswith("<svg")
    assert drawn.count('role="img"') == 2
    assert "currentColor" in drawn
    assert figures.INK not in drawn


def test_the_confusion_matrix_has_every_count(card: ModelCard) -> None:
    drawn = figures.draw_confusion(card.test)
    found = sorted(int(count) for count in re.findall(r">(\d+)</text>", drawn))
    assert found == sorted(count for row in card.test.confusion for count in row if count)


def test_the_architecture_has_every_layer() -> None:
    drawn = figures.draw_architecture(ModelConfig(hidden=(300, 20), activation="gelu"), CONTRACT)
    for number in ("784", "300", "20", "10", f"{784 * 300 + 300:,}", f"{300 * 20 + 20:,}", f"{20 * 10 + 10}"):
        assert f">{number}<" in drawn
    assert drawn.count(">gelu<") == 2


def test_the_reliability_diagram_shows_the_calibration_errors() -> None:
    right = np.array([True] * 70 + [False] * 30)
    drawn = figures.draw_reliability(np.full(100, 0.95), np.full(100, 0.7), right)
    assert "uncalibrated, ECE 25.00 %" in drawn
    assert ">calibrated, ECE 0.00 %" in drawn


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_page_does_not_scroll_sideways_and_fetches_nothing(
    browser: "Browser", comparison: Page, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    messages: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(comparison.path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("[...document.images].every(image => image.naturalWidth == 28)")
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert page.evaluate("getComputedStyle(document.querySelector('svg text')).fill") == ink
    assert not messages
    assert [url for url in requested if not url.startswith("data:")] == [comparison.path.as_uri()]


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_no_figure_label_is_cut_off(browser: "Browser", comparison: Page, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(comparison.path.as_uri())
    cut_off = page.evaluate("""[...document.querySelectorAll('svg text')].filter(text => {
        const label = text.getBoundingClientRect(), figure = text.closest('svg').getBoundingClientRect()
        return label.left < figure.left - 1 || label.right > figure.right + 1
            || label.top < figure.top - 1 || label.bottom > figure.bottom + 1
    }).map(text => text.textContent)""")
    assert cut_off == []


@pytest.mark.slow
def test_print_is_dark_on_white_and_shows_all_details(browser: "Browser", comparison: Page) -> None:
    page = browser.new_page(viewport={"width": 718, "height": 1047}, color_scheme="dark")
    page.goto(comparison.path.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.querySelector('details td').getBoundingClientRect().height") > 0
    assert page.evaluate("document.documentElement.scrollWidth") == 718


# --- unknown inputs ---


def test_the_least_familiar_test_images_are_shown(model: Classifier, test_split: Examples, page: Page) -> None:
    known = model.card.known
    found = find_unfamiliar(model, test_split)
    assert known
    assert found
    assert found.refused == pytest.approx(known.test_refused)
    assert len(found.pictures) == LEAST_FAMILIAR
    distances = model.judge(test_split.images)[1]
    assert distances is not None
    least = np.argsort(-distances, kind="stable")[:LEAST_FAMILIAR]
    assert [one.true for one in found.pictures] == [CLASSES[label] for label in test_split.labels[least]]
    assert f"{100 * found.refused:.2f} % of the 200 test images count as unknown" in page.text
    assert "at most 5 %, on average, of images like the validation images" in page.text


def test_the_report_of_a_model_that_cannot_tell_unknown_inputs_says_so(
    model: Classifier, dataset: Dataset, test_split: Examples, settings: Settings
) -> None:
    network = to_mlp(model.network)
    network.known = None
    plain = Classifier(model.tag, dataclasses.replace(model.card, known=None), network.to_numpy())
    assert find_unfamiliar(plain, test_split) is None
    page = Page(write_report(plain, dataset, settings=settings))
    assert "This model cannot tell images that are unlike its training images." in page.text


# --- another model with other classes ---


def test_models_with_different_classes_are_compared_by_their_common_classes(settings: Settings) -> None:
    merged: Shown = {"boot": ["boot"], "top": ["coat", "shirt"], "hat": ["hat"]}
    live = model_of(settings.datasets_dir, FIRST, tag="shop-mlp:livelive")
    model = model_of(settings.datasets_dir, merged, became(FIRST, merged))
    dataset = dataset_of(settings.datasets_dir, model.card.dataset_version)
    page = Page(write_report(model, dataset, live, settings))
    assert page.sections == ["comparison", *SECTIONS]
    assert "The classes differ: coat and shirt are top now; hat is new; bag is gone." in page.text
    assert "Both models classified the same 180 test images" in page.text
    test = read_split(dataset, "test")
    rows = test.labels != 2
    said = live.probabilities(test.images[rows])
    joined = np.column_stack([said[:, 0], said[:, 1] + said[:, 2], said[:, 3]]).argmax(axis=1)
    taken = page.table("before", "after", "gained", "lost", "fixed", "regressed", "moved")[:4]
    before = [(joined == answer).sum() for answer in (0, 1, 9, 2)]
    names = ["boot", "top (coat and shirt before)", "hat", "bag (gone)"]
    assert before[3] > 0
    assert [(row[0], int(row[1])) for row in taken] == list(zip(names, before, strict=True))
    accuracy = f"{100 * (joined == test.labels[rows]).mean():.2f}"
    assert page.table("this", "other", "change")[0][2] == f"{accuracy} %"
    assert [row[0] for row in page.table("precision", "recall", "F1")[1:3]] == names[:2]


def test_a_model_of_unrelated_data_is_left_out_with_the_reason(settings: Settings) -> None:
    live = model_of(settings.datasets_dir, FIRST, tag="shop-mlp:livelive")
    model = model_of(settings.datasets_dir, ADDED)
    dataset = dataset_of(settings.datasets_dir, model.card.dataset_version)
    page = Page(write_report(model, dataset, live, settings))
    assert page.sections == SECTIONS
    reason = "because the data contracts differ: found 4 classes, expected 5."
    assert f"Not compared with shop-mlp:livelive, {reason}" in page.text


# --- slices ---


def test_the_report_lists_the_slices_and_keeps_them_as_json(model: Classifier, dataset: Dataset, page: Page) -> None:
    expected = slice_model(model, dataset)
    assert read_slices(page.path.with_name(FILE)) == expected
    (found,) = expected.found
    rows = page.table("slice", "images", "accuracy")
    assert [row[0] for row in rows[:SLICES_SHOWN]] == [one.name for one in found.slices[:SLICES_SHOWN]]
    assert "Of 200 test images" in page.text
    verdict = f"{len(found.weaker)} of" if found.weaker else "None of"
    assert f"{verdict} {len(found.slices)} slices" in page.text
