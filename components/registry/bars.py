"""Models that live traffic has shown to be worse: barred from promotion, with the reason stored next to the weights.

    BENTOML_HOME/models/NAME-mlp/<version>/barred.json

Only a forced promotion ignores a bar; it starts a probation of its own.
"""

from dataclasses import asdict, dataclass

import orjson

from components.contract import Positive, Time
from components.errors import ModelError, ModelNotFound
from components.files import write_whole
from components.records import read_file, read_record
from components.registry.champion import Tag
from components.registry.store import BARRED, describe_stored, list_stored, store_lock, stored_folder


@dataclass(frozen=True)
class Bar:
    """Why a model is not promoted again."""

    model: Tag
    move: Positive  # number of the promotion whose probation it failed
    when: Time  # UTC
    why: str  # the measure, what was found and what is allowed


def write_bar(bar: Bar) -> None:
    """Bar a model, replacing an earlier bar.

    Raises:
        ModelNotFound: the model has been removed.
    """
    with store_lock():
        write_whole(stored_folder(bar.model) / BARRED, orjson.dumps(asdict(bar), option=orjson.OPT_INDENT_2) + b"\n")


def read_bar(tag: str) -> Bar | None:
    """Return the bar of a model; None if it has none or does not exist.

    Raises:
        ModelError: the file is damaged. It fails closed: the model cannot be promoted without --force.
    """
    where = f"{tag}: {BARRED}"
    try:
        bar = read_record(Bar, read_file(stored_folder(tag) / BARRED, ModelError), where, ModelError)
    except (FileNotFoundError, ModelNotFound):
        return None
    if bar.model != tag:
        raise ModelError(f"{where}: about {bar.model[:80]!r}, expected {tag!r}")
    return bar


def find_bar(tag: str) -> Bar | None:
    """Return the bar of a model, or of a model in the store with the same weights, temperature and thresholds.

    A nightly training on unchanged data makes the same model again, with another tag.

    Raises:
        ModelNotFound: no such model.
        ModelError: a bar is damaged.
    """
    card = describe_stored(tag)
    for other in (tag, *(one.tag for one in list_stored() if one.card and one.tag != tag)):
        bar = read_bar(other)
        if bar is None:
            continue
        its = describe_stored(other)
        if (its.weights_sha256, its.calibration) == (card.weights_sha256, card.calibration):
            return bar
    return None
