"""List the models in the store with their state, and the reasons to keep them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import yaml

from components.contract import ModelCard
from components.errors import ModelError
from components.registry.bars import Bar, read_bar
from components.registry.champion import Move, check_live, current_move, live_move, previous_move, try_live
from components.registry.retention.pins import pinned
from components.registry.shadowed import read_shadow
from components.registry.store import EXACT_TAG, bentoml_home, check_stored, list_stored
from components.registry.verdicts import read_verdict

State = Literal["live", "previous", "candidate", "rejected", "damaged"]
T = TypeVar("T")


@dataclass(frozen=True)
class ModelState:
    """A model in the store."""

    tag: str
    state: State  # damaged takes precedence; `problem` says why
    pointed: Literal["live", "previous"] | None  # previous: the target of a rollback
    pinned: str | None  # reason
    barred: str | None  # why it is not promoted again
    verdict: str  # last outcome of the gate: passed, forced, rejected; "" if it has not run
    card: ModelCard | None  # None: unreadable
    problem: str  # what is wrong; only live and previous models are checked byte by byte


@dataclass(frozen=True)
class ModelListing:
    """All models in the store, as far as they can be read."""

    models: tuple[ModelState, ...]  # oldest first, damaged ones last
    problems: tuple[str, ...]  # errors while reading


def list_models() -> ModelListing:
    """List every model with its state. An unreadable file does not hide other models.

    Every byte of the live and the previous model is checked, which takes 0.05 s for a flagship model. For the others,
    everything but the content of the weights is checked; a promotion or a prune checks that.
    """
    problems: list[str] = []
    live: Move | None = _attempt(live_move, None, problems)
    previous = _attempt(previous_move, None, problems)
    pins: dict[str, str] = _attempt(pinned, {}, problems)
    stored = list_stored()
    if live and live.tag not in {one.tag for one in stored}:
        problems.append(f"{live.tag} is live, but not in the store")
    models = []
    for one in stored:
        verdict = _attempt(partial(_outcome_of, one.tag), "", problems)
        pointed = _pointer_to(one.tag, live, previous)
        move = live if pointed == "live" else previous if pointed else None
        problem = one.problem or (_error_of(partial(check_live, move)) if move else "")
        state: State = "damaged" if problem else pointed or ("rejected" if verdict == "rejected" else "candidate")
        bar: Bar | None = _attempt(partial(read_bar, one.tag), None, problems)
        barred = bar.why if bar else None
        models.append(ModelState(one.tag, state, pointed, pins.get(one.tag), barred, verdict, one.card, problem))
    return ModelListing(tuple(models), tuple(dict.fromkeys(problems)))


def find_live_damage() -> str:
    """Describe why the live model does not load; "" if it does, or if no model is live."""
    move = try_live()
    return _error_of(lambda: check_live(move)) if move else ""


def find_damage_of(tag: str) -> str:
    """Describe why a model does not load; "" if it does."""
    return _error_of(lambda: check_stored(tag))


def _error_of(check: Callable[[], object]) -> str:
    try:
        check()
    except ModelError as error:
        return str(error)
    return ""


def reasons_to_keep() -> dict[str, str]:
    """Return the models that are never removed: exact tag -> reason. It fails closed.

    Raises:
        NoLiveModel, ModelError: the pointer, the history, the pins, the shadow or a Bento cannot be read.
    """
    live, previous = current_move(), previous_move()
    shadow = read_shadow()
    reasons = {shadow.tag: "in shadow"} if shadow else {}
    reasons |= tags_in_bentos() | {tag: f"pinned: {reason}" for tag, reason in pinned().items()}
    if live and live.previous:
        reasons[live.previous] = "live before the last move"
    if previous:
        reasons[previous.tag] = "target of a rollback"
    if live:
        reasons[live.tag] = "live"
    return reasons


def tags_in_bentos() -> dict[str, str]:
    """Return the models that a Bento in the store refers to: exact tag -> Bento.

    Raises:
        ModelError: the description of a Bento cannot be read.
    """
    folders = [path for path in (bentoml_home() / "bentos").glob("*/*") if path.is_dir()]
    return {
        tag: f"in the Bento {folder.parent.name}:{folder.name}"
        for folder in folders
        for tag in _tags_in(folder / "bento.yaml")
    }


def _tags_in(path: Path) -> list[str]:
    """Find every model tag in a complete bento.yaml, in any field."""
    try:
        content = path.read_text(encoding="utf-8")
        described = yaml.safe_load(content)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: cannot be read ({reason}), so the models of that Bento are unknown") from error
    if not isinstance(described, dict) or not isinstance(described.get("models"), list):
        raise ModelError(f"{path}: lists no models, so the models of that Bento are unknown")
    return EXACT_TAG.findall(content)


def _pointer_to(tag: str, live: Move | None, previous: Move | None) -> Literal["live", "previous"] | None:
    if live and live.tag == tag:
        return "live"
    return "previous" if previous and previous.tag == tag else None


def _outcome_of(tag: str) -> str:
    verdict = read_verdict(tag)
    return verdict.outcome if verdict else ""


def _attempt(read: Callable[[], T], default: T, problems: list[str]) -> T:
    try:
        return read()
    except ModelError as error:
        problems.append(str(error))
        return default
