"""What the gate and the canary said of a model, kept beside its weights."""

from dataclasses import asdict

import orjson

from components.contract import Verdict
from components.errors import ModelError, ModelNotFound
from components.files import write_whole
from components.records import read_file, read_record
from components.registry.store import VERDICT, store_lock, stored_folder


def write_verdict(verdict: Verdict) -> None:
    """Keep a verdict with the model it is of, in the place of an earlier one.

    Raises:
        ModelNotFound: the model is gone.
    """
    with store_lock():
        write_whole(stored_folder(verdict.challenger) / VERDICT, encode_verdict(verdict))


def encode_verdict(verdict: Verdict) -> bytes:
    """The JSON that is kept of a verdict."""
    return orjson.dumps({"outcome": verdict.outcome, **asdict(verdict)}, option=orjson.OPT_INDENT_2) + b"\n"


def read_verdict(tag: str) -> Verdict | None:
    """What the gate said of a model last; None where it was not asked, or there is no such model.

    Raises:
        ModelError: the file is damaged.
    """
    where = f"{tag}: {VERDICT}"
    try:
        content = read_file(stored_folder(tag) / VERDICT, ModelError)
    except (FileNotFoundError, ModelNotFound):
        return None
    verdict = read_record(Verdict, content, where, ModelError, extra="ignore")  # "outcome", for people
    if verdict.challenger != tag:
        raise ModelError(f"{where}: it is the verdict on {verdict.challenger[:80]!r}")
    return verdict
