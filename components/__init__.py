"""What is done: ingest, validate, train, evaluate, store, predict. Knows neither Prefect nor HTTP."""

from pkgutil import resolve_name
from typing import Any


def __getattr__(name: str) -> Any:
    """`load_model` and `predict`, which the READMEs of models stored before `fashion` had them take from here."""
    known = {"load_model": "components.registry.champion:load_model", "predict": "components.scoring.predict:predict"}
    if name not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(known[name])
