"""Reads a model card from JSON and validates it: every field is in range, every list has one item per class."""

import contextlib
import json
from collections.abc import Iterator

from components.catalogues.fashion_mnist import FIRST_CONTRACT
from components.contract import Metrics, ModelCard
from components.errors import FashionError, ModelError
from components.model.config import ModelConfig
from components.records import read_record
from components.revisions import Lineage


def read_card(content: bytes | str, where: str) -> ModelCard:
    """Read and validate a model card.

    Args:
        content: JSON.
        where: File name, for error messages.

    Raises:
        ModelError: A field is invalid; the message names it.
    """
    card = read_record(ModelCard, _with_contract(content), where, ModelError)
    if problem := next(_find_misfits(card), ""):
        raise ModelError(f"{where}: {problem}")
    read_config(card, where)
    return card


def _with_contract(content: bytes | str) -> bytes | str:
    """Add the Fashion-MNIST contract to a card written before cards had one; its class names identify it."""
    with contextlib.suppress(ValueError, RecursionError):  # `read_record` reports these
        card = json.loads(content)
        if isinstance(card, dict) and "contract" not in card and card.get("classes") == list(FIRST_CONTRACT.classes):
            del card["classes"]
            card.pop("input", None)
            return json.dumps({**card, "contract": FIRST_CONTRACT.fields()})
    return content


def read_config(card: ModelCard, where: str) -> ModelConfig:
    """Return the network configuration of a card.

    Raises:
        ModelError: The configuration is invalid.
    """
    try:
        return read_record(ModelConfig, json.dumps(card.model), f"{where}: model", ModelError)
    except ModelError:
        raise
    except FashionError as error:
        raise ModelError(f"{where}: model: {error}") from error


def _find_misfits(card: ModelCard) -> Iterator[str]:
    """Yield a message for each inconsistency in the card."""
    count = len(card.classes)
    for name, metrics in (("train", card.train), ("test", card.test)):
        yield from _find_misfits_of(name, metrics, card.classes)
    lengths = {"calibration.thresholds": len(card.calibration.thresholds or card.classes)}
    lengths |= {f"probes.{probe.id}": len(probe.probabilities) for probe in card.probes}
    if card.profile:
        lengths["profile.not_sure"] = len(card.profile.not_sure)
        lengths |= {f"profile.counts.{measure}": len(found) for measure, found in card.profile.counts.items()}
        for measure, counts in card.profile.counts.items():
            bins = len(card.profile.limits.get(measure, ())) + 1
            if any(len(found) != bins for found in counts):
                yield f"profile.counts.{measure}: expected {bins} bins for each class"
    yield from (f"{name}: {found} values, expected {count}" for name, found in lengths.items() if found != count)
    if problem := Lineage(card.classes, card.revisions).find_misfit():
        yield problem
    if card.history and not 1 <= card.best_epoch <= len(card.history):
        yield f"best_epoch: found {card.best_epoch}, expected 1 to {len(card.history)}"


def _find_misfits_of(name: str, metrics: Metrics, classes: tuple[str, ...]) -> Iterator[str]:
    if metrics.split != name:
        yield f"{name}.split: found {metrics.split!r}, expected {name!r}"
    if tuple(one.name for one in metrics.classes) != classes:
        yield f"{name}.classes: expected one of each class, in the order of the classes"
    if [len(row) for row in metrics.confusion] != [len(classes)] * len(classes):
        yield f"{name}.confusion: expected {len(classes)} rows of {len(classes)} counts"
