"""What was measured of a model -> its README.md, a model card: Mitchell et al.'s sections (arXiv:1810.03993) and the
front matter that Hugging Face reads.

Every figure is the ModelCard's. What comes from outside, such as a dataset's name, is written so that it is text and
nothing else: no Markdown, no HTML, no link, no YAML.
"""

import json
import re
from collections.abc import Callable, Iterable

from components.catalogues import catalogue_of
from components.contract import Metrics, ModelCard
from components.model.cards import read_config
from components.model.readme_page import FRONT_MATTER, PAGE

WORST = 3  # classes
CONFUSED = 5  # pairs of classes
WHITE = 255
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")  # others are digits
MIT = re.compile(r"MIT\b[^;]*")  # this licence and no other beside it
SPECIAL = re.compile(r"[^\w ,.:+()/='%-]|_|(?<=:)/|(?<=www)\.", re.IGNORECASE)  # and where a link would begin by itself


def write_readme(tag: str, card: ModelCard) -> str:
    """A model's README, Markdown.

    Args:
        tag: exact.
        card: with the weights' SHA-256.
    """
    test = card.test
    sample = "**Sample**: trained on drawn stand-ins; the figures below say nothing about real clothes.\n\n"
    page = PAGE.format(
        tag=as_text(tag),
        exact=tag,
        **_words_of(card),
        details=_table(_details_of(card)),
        data=_table(_data_of(card)),
        target=f"{100 * card.calibration.target:.0f} %",
        figures=_table(_figures_of(card), ("", "test split", "training split")),
        classes=_table(_classes_of(card), ("test split", "precision", "recall", "F1", "images", "sure above")),
        worst=", ".join(
            f"{as_text(one.name)} (F1 {one.f1:.4f})" for one in sorted(test.classes, key=lambda one: one.f1)[:WORST]
        ),
        confused="".join(f"- {told}\n" for told in _most_confused(test)) or "- nothing: every test image is right\n",
        wrong=f"{1 - test.accuracy:.4f}",
        wrong_though_sure=f"{1 - test.sure_accuracy:.4f}" if test.coverage else "none",
        origin=_table(_origin_of(card)),
        training=_without_html(json.dumps(card.training, indent=2)),
    )
    return f"{_front_matter(tag, card)}\n{sample if card.is_sample else ''}{page}"


def as_text(value: object) -> str:
    """Anything as a piece of a line of Markdown that shows as it is."""
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", _printable(str(value)))


def as_yaml(value: str) -> str:
    """Any text as a YAML scalar on one line."""
    return _without_html(json.dumps(_printable(value), ensure_ascii=False))


def _printable(text: str) -> str:
    """On one line, without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def _without_html(encoded: str) -> str:
    """JSON that means the same and has no angle bracket or ampersand."""
    return encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _words_of(card: ModelCard) -> dict[str, str]:
    """What the page calls the images and the classes."""
    image, catalogue, classes = card.contract.image, catalogue_of(card.contract), len(card.classes)
    background = " background" if catalogue.inputs.edge < WHITE else ""  # a bright edge is refused, or turned
    return {
        "subject": catalogue.subject,
        "outsider": catalogue.outsider,
        "size": f"{image.height} x {image.width} in {'grey' if image.channels == 1 else 'colour'}",
        "unseen": "colour, brand" if image.channels == 1 else "brand",
        "count": NUMBERS[classes] if classes < len(NUMBERS) else f"{classes:,}",
        "images": f"uint8 (n, {', '.join(map(str, image.shape))}), 0{background} to 255",
    }


def _front_matter(tag: str, card: ModelCard) -> str:
    test, catalogue = card.test, catalogue_of(card.contract)
    hub_name = catalogue.hub_name if card.source == card.contract.name else ""
    measured = (
        ("accuracy", "Accuracy", test.accuracy),
        ("f1", "F1, mean of the classes", _mean_f1(test)),
        ("log_loss", "Log loss of the served probabilities, nats", test.calibrated.loss),
        ("brier_score", "Brier score of the served probabilities, 0 to 2", test.calibrated.brier),
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
    temperature = f"the logits are divided by {card.calibration.temperature:.4f}"
    return [
        ("network", as_text(layers)),
        ("input", as_text(card.input)),
        ("output", f"a probability for each of {as_text(', '.join(card.classes))}"),
        ("calibration", f"{temperature}, fitted on {card.calibration.rows:,} validation images"),
        ("made", f"{as_text(card.created_at)}, with the recipe {as_text(card.preset)}, in {card.train_seconds:.1f} s"),
        ("licence", f"the code, MIT; the data, {_licence_of(card)}"),
    ]


def _data_of(card: ModelCard) -> list[tuple[str, str]]:
    held_out = f"{card.calibration.rows:,} of them held out to watch the training and fit the calibration"
    split = f"the test split, version {as_text(card.test.split_version)}, read once, after every choice"
    return [
        ("dataset", f"{as_text(card.source)}, version {as_text(card.dataset_version)}"),
        ("licence", _licence_of(card)),
        ("validation", f"{card.expectations} expectations, all of them met before the training"),
        ("training data", f"{card.train.rows:,} images, {held_out}"),
        ("evaluation data", f"{card.test.rows:,} images, {split}"),
    ]


def _licence_of(card: ModelCard) -> str:
    return as_text(card.licence) or "as its source says"


def _figures_of(card: ModelCard) -> list[tuple[str, ...]]:
    def row(name: str, format_metric: Callable[[Metrics], str]) -> tuple[str, ...]:
        return name, format_metric(card.test), format_metric(card.train)

    return [
        row("accuracy", lambda one: f"{one.accuracy:.4f}"),
        row("its 95 % interval, Wilson's", lambda one: "{:.4f} to {:.4f}".format(*one.accuracy_interval)),
        row("F1, mean of the classes", lambda one: f"{_mean_f1(one):.4f}"),
        row("log loss, nats", lambda one: f"{one.calibrated.loss:.4f}"),
        row("log loss before calibration, nats", lambda one: f"{one.uncalibrated.loss:.4f}"),
        row("Brier score, 0 to 2", lambda one: f"{one.calibrated.brier:.4f}"),
        row("expected calibration error", lambda one: f"{one.calibrated.calibration_error:.4f}"),
        row("the same before calibration", lambda one: f"{one.uncalibrated.calibration_error:.4f}"),
        row("coverage, the share it is sure of", lambda one: f"{one.coverage:.4f}"),
        row("accuracy on that", lambda one: f"{one.sure_accuracy:.4f}" if one.coverage else "none"),
    ]


def _classes_of(card: ModelCard) -> list[tuple[str, ...]]:
    return [
        (
            as_text(one.name),
            *(f"{value:.4f}" for value in (one.precision, one.recall, one.f1)),
            f"{one.support:,}",
            "never" if bar >= 1 else "always" if bar <= 0 else f"{bar:.4f}",
        )
        for one, bar in zip(card.test.classes, card.calibration.thresholds, strict=True)
    ]


def _most_confused(test: Metrics) -> list[str]:
    """The most frequent mistakes, most frequent first."""
    names = [as_text(one.name) for one in test.classes]
    mistakes = [
        (count, f"{names[true]} taken for {names[said]}: {count:,} of {sum(row):,}")
        for true, row in enumerate(test.confusion)
        for said, count in enumerate(row)
        if count and true != said
    ]
    return [told for _, told in sorted(mistakes, key=lambda one: -one[0])[:CONFUSED]]


def _origin_of(card: ModelCard) -> list[tuple[str, str]]:
    known = {
        "recipe": card.preset,
        "seed": card.training.get("seed", "unknown"),
        "epochs": f"{len(card.history)}, the weights are those of epoch {card.best_epoch}",
        "dataset": card.dataset_version,
        "data contract, SHA-256": card.contract.fingerprint,
        "git commit": card.git_commit,
        "weights, SHA-256": card.weights_sha256,
        **card.hardware,
        **card.packages,
    }
    return [(as_text(name), as_text(value)) for name, value in known.items()]


def _mean_f1(metrics: Metrics) -> float:
    return sum(one.f1 for one in metrics.classes) / len(metrics.classes)


def _table(rows: Iterable[tuple[str, ...]], headings: tuple[str, ...] = ("", "")) -> str:
    """A Markdown table of cells that are Markdown already; figures stand to the right."""
    rule = ("---", *(("---",) if len(headings) == 2 else ("---:",) * (len(headings) - 1)))
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, rule, *rows))
