"""What stands where: every model of the store, with what is known of it and why it is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import yaml

from components.contract import ModelCard
from components.errors import ModelError
from components.registry.champion import Move, check_live, current_move, live_move, previous_move, try_live
from components.registry.retention.pins import pinned
from components.registry.store import EXACT_TAG, bentoml_home, check_stored, list_stored
from components.registry.verdicts import read_verdict

State = Literal["live", "previous", "candidate", "refused", "damaged"]
T = TypeVar("T")


@dataclass(frozen=True)
class ModelState:
    """A model of the store."""

    tag: str
    state: State  # damaged: `problem` says why, whatever points to it
    pointed: Literal["live", "previous"] | None  # previous: what a rollback would go back to
    pinned: str | None  # the reason
    verdict: str  # of the gate, last: passed, forced, refused; "" where it was not asked
    card: ModelCard | None  # None: it cannot be read
    problem: (
        str  # what is wrong with it; of models that are neither live nor previous, only the weights' size is checked
    )


@dataclass(frozen=True)
class ModelListing:
    """Every model, as far as it can be told."""

    models: tuple[ModelState, ...]  # oldest first, damaged ones last
    problems: tuple[str, ...]  # what could not be read


def list_models() -> ModelListing:
    """Every model of the store with its state; what cannot be read hides no other.

    Every byte of the live and the previous model is read and checked, 0.05 s for a flagship model. Of the others, all
    but the content of the weights is checked; a promotion and a prune check that.
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
        pointed = _who_points(one.tag, live, previous)
        move = live if pointed == "live" else previous if pointed else None
        problem = one.problem or (_damage_told_by(partial(check_live, move)) if move else "")
        state: State = "damaged" if problem else pointed or ("refused" if verdict == "refused" else "candidate")
        models.append(ModelState(one.tag, state, pointed, pins.get(one.tag), verdict, one.card, problem))
    return ModelListing(tuple(models), tuple(dict.fromkeys(problems)))


def find_live_damage() -> str:
    """What keeps the live model from being loaded; "" where nothing does, or none is live."""
    move = try_live()
    return _damage_told_by(lambda: check_live(move)) if move else ""


def find_damage_of(tag: str) -> str:
    """What keeps any model from being loaded; "" where nothing does."""
    return _damage_told_by(lambda: check_stored(tag))


def _damage_told_by(check: Callable[[], object]) -> str:
    try:
        check()
    except ModelError as error:
        return str(error)
    return ""


def reasons_to_keep() -> dict[str, str]:
    """The models that are never removed: exact tag -> why. It fails closed.

    Raises:
        NoLiveModel, ModelError: the pointer, the history, the pins or a Bento cannot be read.
    """
    live, previous = current_move(), previous_move()
    reasons = tags_in_bentos() | {tag: f"pinned: {reason}" for tag, reason in pinned().items()}
    if live and live.previous:
        reasons[live.previous] = "live until the last move"
    if previous:
        reasons[previous.tag] = "what a rollback goes back to"
    if live:
        reasons[live.tag] = "live"
    return reasons


def tags_in_bentos() -> dict[str, str]:
    """The models that a Bento of the store refers to: exact tag -> which Bento.

    Raises:
        ModelError: a Bento whose description cannot be read.
    """
    folders = [path for path in (bentoml_home() / "bentos").glob("*/*") if path.is_dir()]
    return {
        tag: f"in the Bento {folder.parent.name}:{folder.name}"
        for folder in folders
        for tag in _tags_in(folder / "bento.yaml")
    }


def _tags_in(path: Path) -> list[str]:
    """Every tag in the file, in whatever field, once it is seen to be a whole one."""
    try:
        content = path.read_text(encoding="utf-8")
        described = yaml.safe_load(content)
    except (OSError, ValueError, yaml.YAMLError) as error:
        told = str(error).splitlines()[0]
        raise ModelError(f"{path}: cannot be read ({told}), so nobody knows which models that Bento needs") from error
    if not isinstance(described, dict) or not isinstance(described.get("models"), list):
        raise ModelError(f"{path}: lists no models, so nobody knows which of them that Bento needs")
    return EXACT_TAG.findall(content)


def _who_points(tag: str, live: Move | None, previous: Move | None) -> Literal["live", "previous"] | None:
    if live and live.tag == tag:
        return "live"
    return "previous" if previous and previous.tag == tag else None


def _outcome_of(tag: str) -> str:
    verdict = read_verdict(tag)
    return verdict.outcome if verdict else ""


def _attempt(read: Callable[[], T], otherwise: T, problems: list[str]) -> T:
    try:
        return read()
    except ModelError as error:
        problems.append(str(error))
        return otherwise
