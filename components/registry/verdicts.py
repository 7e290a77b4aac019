"""What the gate and the canary said of a model, kept beside its weights."""

from dataclasses import asdict
from functools import cache

import orjson
import pydantic

from components.contract import Verdict
from components.errors import ModelError, ModelNotFound
from components.files import write_whole
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
    try:
        content = (stored_folder(tag) / VERDICT).read_bytes()
    except (FileNotFoundError, ModelNotFound):
        return None
    try:
        return _verdicts().validate_json(content)
    except pydantic.ValidationError as error:
        raise ModelError(f"{tag}: {VERDICT} is no verdict: {error.errors()[0]['msg']}") from error


@cache
def _verdicts() -> pydantic.TypeAdapter[Verdict]:
    return pydantic.TypeAdapter(Verdict)
