"""Renders a model's README.md: a model card with the sections of Mitchell et al. (arXiv:1810.03993) and Hugging Face
front matter.

Every figure comes from the ModelCard. External text, such as a dataset's name, is escaped so that it renders as plain
text: no Markdown, HTML, links or YAML.
"""

import json
import re
from collections.abc import Callable, Iterable

from components.catalogues import catalogue_of
from components.contract import Metrics, ModelCard
from components.model.cards import read_config
from components.model.readme_page import FRONT_MATTER, NOT_DETECTED, PAGE, UNKNOWN

WORST_CLASSES = 3
TOP_CONFUSIONS = 5  # pairs of classes
WHITE = 255
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")  # above ten: digits
MIT = re.compile(r"MIT\b[^;]*")  # MIT as the only licence
SPECIAL = re.compile(r"[^\w ,.:+()/='%-]|_|(?<=:)/|(?<=www)\.", re.IGNORECASE)  # incl. the start of an autolink


def write_readme(tag: str, card: ModelCard) -> str:
    """Render a model's README as Markdown.

    Args:
        tag: The model's exact tag.
        card: The model's card, including the SHA-256 of the weights.
    """
    test = card.test
    sample = "**Sample**: trained on synthetic samples; the figures below say nothing about real clothes.\n\n"
    page = PAGE.format(
        tag=as_text(tag),
        exact=tag,
        **_words_of(card),
        details=_table(_details_of(card)),
        data=_table(_data_of(card)),
        target=f"{100 * card.calibration.target:.0f} %",
        figures=_table(_figures_of(card), ("", "test split", "training split")),
        classes=_table(_classes_of(card), ("test split", "precision", "recall", "F1", "images", "threshold")),
        worst=", ".join(
            f"{as_text(one.name)} (F1 {one.f1:.4f})"
            for one in sorted(test.classes, key=lambda one: one.f1)[:WORST_CLASSES]
        ),
        unknown=_describe_known(card),
        confused="".join(f"- {pair}\n" for pair in _most_confused(test))
        or "- none: every test image is classified correctly\n",
        error_rate=f"{1 - test.accuracy:.4f}",
        error_rate_above_threshold=f"{1 - test.sure_accuracy:.4f}" if test.coverage else "none",
        origin=_table(_origin_of(card)),
        training=_without_html(json.dumps(card.training, indent=2)),
    )
    return f"{_front_matter(tag, card)}\n{sample if card.is_sample else ''}{page}"


def as_text(value: object) -> str:
    """Escape a value so that it renders literally within a line of Markdown."""
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", _printable(str(value)))


def as_yaml(value: str) -> str:
    """Encode text as a YAML scalar on one line."""
    return _without_html(json.dumps(_printable(value), ensure_ascii=False))


def _printable(text: str) -> str:
    """Collapse whitespace and replace control characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def _without_html(encoded: str) -> str:
    """Escape angle brackets and ampersands in JSON."""
    return encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _words_of(card: ModelCard) -> dict[str, str]:
    """Return the words that the page uses for the images and the classes."""
    image, catalogue = card.contract.image, catalogue_of(card.contract)
    background = " background" if catalogue.inputs.edge < WHITE else ""  # a bright edge is refused or inverted
    size, color = f"{image.height} x {image.width}", "grey" if image.channels == 1 else "colour"
    call = f"predict(model, images)  # uint8 (n, {', '.join(map(str, image.shape))}), 0{background} to 255"
    if embedding := card.contract.embedding:
        size, color = f"{embedding.side} x {embedding.side}", "colour"
        call = 'classify("photo.jpg", model=model)  # one picture or more, of any size'
    return {
        "subject": catalogue.subject,
        "outside": _outside_of(card, catalogue.outsider),
        "reviewed": " or that are unknown" if card.known else "",
        "size": f"{size} in {color}",
        "unseen": "colour, brand" if color == "grey" else "brand",
        "count": _count_of(card),
        "call": call,
    }


def _count_of(card: ModelCard) -> str:
    classes = len(card.classes)
    return NUMBERS[classes] if classes < len(NUMBERS) else f"{classes:,}"


def _outside_of(card: ModelCard, outsider: str) -> str:
    """Say what the model answers for an image of none of its classes; `outsider` is an example."""
    if card.known is None:
        return f'the model has no "other" class, so {outsider} gets one of the {_count_of(card)}'
    return f"{outsider} also gets one of the {_count_of(card)}; `known` is false for many such images, not for all"


def _describe_known(card: ModelCard) -> str:
    known = card.known
    if known is None:
        return NOT_DETECTED
    rows = [
        ("stated share of known images that count as unknown, at most", f"{known.refused:.4f}"),
        ("measured share of the test images that count as unknown", f"{known.test_refused:.4f}"),
        ("validation images that the threshold was fitted on", f"{known.rows:,}"),
        ("training images that distances are measured to", f"{known.kept:,}"),
    ]
    return UNKNOWN.format(count=_count_of(card), figures=_table(rows), share=f"{100 * (1 - known.refused):.0f} %")


def _front_matter(tag: str, card: ModelCard) -> str:
    test, catalogue = card.test, catalogue_of(card.contract)
    hub_name = catalogue.hub_name if card.source == card.contract.name else ""
    measured = (
        ("accuracy", "Accuracy", test.accuracy),
        ("f1", "Macro F1", _macro_f1(test)),
        ("log_loss", "Log loss of the calibrated probabilities, nats", test.calibrated.loss),
        ("brier_score", "Brier score of the calibrated probabilities, 0 to 2", test.calibrated.brier),
        ("expected_calibration_error", "Expected calibration error, 15 bins", test.calibrated.calibration_error),
    )
    return FRONT_MATTER.format(
        license="mit" if MIT.fullmatch(card.licence) else "other\nlicense_name: stated-by-the-owner-of-the-data",
        hub_name=as_yaml(hub_name or card.source),
        tag=as_yaml(tag),
        source=as_yaml(card.source),
        revision=as_yaml(card.dataset_version),
        metrics="".join(
            f"    - type: {kind}\n      name: {name}\n      value: {value:.6f}\n" for kind, name, value in measured
        ),
    )


def _details_of(card: ModelCard) -> list[tuple[str, str]]:
    widths = read_config(card, "card").widths(card.contract)
    layers = f"{len(widths) - 1} dense layers, {'-'.join(map(str, widths))}, {card.model.get('activation', 'relu')}"
    temperature = f"temperature scaling, T = {card.calibration.temperature:.4f}"
    return [
        ("network", as_text(layers)),
        ("input", as_text(card.input)),
        ("output", f"a probability for each of {as_text(', '.join(card.classes))}"),
        ("calibration", f"{temperature}, fitted on {card.calibration.rows:,} validation images"),
        ("trained", f"{as_text(card.created_at)}, preset {as_text(card.preset)}, in {card.train_seconds:.1f} s"),
        ("licence", f"code: MIT; data: {_licence_of(card)}"),
    ]


def _data_of(card: ModelCard) -> list[tuple[str, str]]:
    held_out = f"{card.calibration.rows:,} of them held out for validation and calibration"
    split = f"the test split, version {as_text(card.test.split_version)}, read once, after all model selection"
    return [
        ("dataset", f"{as_text(card.source)}, version {as_text(card.dataset_version)}"),
        ("licence", _licence_of(card)),
        ("validation", f"{card.expectations} expectations, all met before training"),
        ("training data", f"{card.train.rows:,} images, {held_out}"),
        ("evaluation data", f"{card.test.rows:,} images, {split}"),
    ]


def _licence_of(card: ModelCard) -> str:
    return as_text(card.licence) or "as stated by its source"


def _figures_of(card: ModelCard) -> list[tuple[str, ...]]:
    def row(name: str, format_metric: Callable[[Metrics], str]) -> tuple[str, ...]:
        return name, format_metric(card.test), format_metric(card.train)

    return [
        row("accuracy", lambda one: f"{one.accuracy:.4f}"),
        row("accuracy, 95 % Wilson interval", lambda one: "{:.4f} to {:.4f}".format(*one.accuracy_interval)),
        row("macro F1", lambda one: f"{_macro_f1(one):.4f}"),
        row("log loss, nats", lambda one: f"{one.calibrated.loss:.4f}"),
        row("log loss before calibration, nats", lambda one: f"{one.uncalibrated.loss:.4f}"),
        row("Brier score, 0 to 2", lambda one: f"{one.calibrated.brier:.4f}"),
        row("expected calibration error", lambda one: f"{one.calibrated.calibration_error:.4f}"),
        row("expected calibration error before calibration", lambda one: f"{one.uncalibrated.calibration_error:.4f}"),
        row("coverage: share of predictions above the threshold", lambda one: f"{one.coverage:.4f}"),
        row("accuracy above the threshold", lambda one: f"{one.sure_accuracy:.4f}" if one.coverage else "none"),
    ]


def _classes_of(card: ModelCard) -> list[tuple[str, ...]]:
    return [
        (
            as_text(one.name),
            *(f"{value:.4f}" for value in (one.precision, one.recall, one.f1)),
            f"{one.support:,}",
            "never" if threshold >= 1 else "always" if threshold <= 0 else f"{threshold:.4f}",
        )
        for one, threshold in zip(card.test.classes, card.calibration.thresholds, strict=True)
    ]


def _most_confused(test: Metrics) -> list[str]:
    """Describe the most frequent confusions, most frequent first."""
    names = [as_text(one.name) for one in test.classes]
    mistakes = [
        (count, f"{names[true]} classified as {names[predicted]}: {count:,} of {sum(row):,}")
        for true, row in enumerate(test.confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return [pair for _, pair in sorted(mistakes, key=lambda one: -one[0])[:TOP_CONFUSIONS]]


def _origin_of(card: ModelCard) -> list[tuple[str, str]]:
    known = {
        "preset": card.preset,
        "seed": card.training.get("seed", "unknown"),
        "epochs": f"{len(card.history)}{_describe_phases(card)}, weights from epoch {card.best_epoch}",
        "dataset": card.dataset_version,
        "data contract, SHA-256": card.contract.fingerprint,
        "git commit": card.git_commit,
        "weights, SHA-256": card.weights_sha256,
        **card.hardware,
        **card.packages,
    }
    return [(as_text(name), as_text(value)) for name, value in known.items()]


def _describe_phases(card: ModelCard) -> str:
    """The two phases of a training that first tied its layers; nothing for any other, or if one ended early."""
    tied, untied = card.training.get("epochs", 0), card.training.get("untied_epochs", 0)
    is_both = untied and len(card.history) == tied + untied
    return f" ({tied} tied, then {untied} untied)" if is_both else ""


def _macro_f1(metrics: Metrics) -> float:
    return sum(one.f1 for one in metrics.classes) / len(metrics.classes)


def _table(rows: Iterable[tuple[str, ...]], headings: tuple[str, ...] = ("", "")) -> str:
    """Format a Markdown table. Cells must be escaped; columns of figures are right-aligned."""
    rule = ("---", *(("---",) if len(headings) == 2 else ("---:",) * (len(headings) - 1)))
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, rule, *rows))
