"""Read and write verdicts of the gate and the canary, stored next to the model weights."""

from dataclasses import asdict

import orjson

from components.contract import Verdict
from components.errors import ModelError, ModelNotFound
from components.files import write_whole
from components.records import read_file, read_record
from components.registry.store import VERDICT, store_lock, stored_folder


def write_verdict(verdict: Verdict) -> None:
    """Store a verdict with its model, replacing an earlier one.

    Raises:
        ModelNotFound: the model has been removed.
    """
    with store_lock():
        write_whole(stored_folder(verdict.challenger) / VERDICT, encode_verdict(verdict))


def encode_verdict(verdict: Verdict) -> bytes:
    """Encode a verdict as JSON."""
    return orjson.dumps({"outcome": verdict.outcome, **asdict(verdict)}, option=orjson.OPT_INDENT_2) + b"\n"


def read_verdict(tag: str) -> Verdict | None:
    """Return the last verdict on a model; None if the gate has not run or the model does not exist.

    Raises:
        ModelError: the file is damaged.
    """
    where = f"{tag}: {VERDICT}"
    try:
        content = read_file(stored_folder(tag) / VERDICT, ModelError)
    except (FileNotFoundError, ModelNotFound):
        return None
    verdict = read_record(Verdict, content, where, ModelError, extra="ignore")  # "outcome" is for readers only
    if verdict.challenger != tag:
        raise ModelError(f"{where}: verdict on {verdict.challenger[:80]!r}, expected {tag!r}")
    return verdict
