"""The steps: ingest, validate, train, evaluate, store, predict. Independent of Prefect and HTTP."""

from pkgutil import resolve_name
from typing import Any


def __getattr__(name: str) -> Any:
    """Resolve `load_model` and `predict`, which READMEs of older stored models import from here."""
    known = {"load_model": "components.registry.champion:load_model", "predict": "components.scoring.predict:predict"}
    if name not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(known[name])
