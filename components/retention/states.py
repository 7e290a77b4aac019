"""What stands where: every model of the store, with what is known of it and why it is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import yaml

from components.contract import ModelCard
from components.errors import ModelError
from components.registry.champion import current_move, live_move, previous_move
from components.registry.store import EXACT_TAG, Stored, home, list_stored
from components.registry.verdicts import read_verdict
from components.retention.pins import pinned

State = Literal["live", "previous", "candidate", "refused", "damaged"]
T = TypeVar("T")


@dataclass(frozen=True)
class ModelState:
    """A model of the store."""

    tag: str
    state: State  # previous: what a rollback would go back to
    pinned: str | None  # the reason
    verdict: str  # of the gate, last: passed, forced, refused; "" where it was not asked
    card: ModelCard | None
    problem: str  # why there is no card


@dataclass(frozen=True)
class Listing:
    """Every model, as far as it can be told."""

    models: tuple[ModelState, ...]  # oldest first, damaged ones last
    problems: tuple[str, ...]  # what could not be read


def list_models() -> Listing:
    """Every model of the store with its state; what cannot be read hides no other."""
    problems: list[str] = []
    live = _attempt(lambda: live_move().tag, None, problems)
    previous = _attempt(previous_move, None, problems)
    pins: dict[str, str] = _attempt(pinned, {}, problems)
    stored = list_stored()
    if live and live not in {one.tag for one in stored}:
        problems.append(f"{live} is live, but not in the store")
    models = []
    for one in stored:
        verdict = _attempt(partial(_outcome_of, one.tag), "", problems)
        state = _state_of(one, live, previous.tag if previous else None, verdict)
        models.append(ModelState(one.tag, state, pins.get(one.tag), verdict, one.card, one.problem))
    return Listing(tuple(models), tuple(dict.fromkeys(problems)))


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
    folders = [path for path in (home().parent / "bentos").glob("*/*") if path.is_dir()]
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


def _state_of(one: Stored, live: str | None, previous: str | None, verdict: str) -> State:
    if one.tag in (live, previous):
        return "live" if one.tag == live else "previous"
    if one.card is None:
        return "damaged"
    return "refused" if verdict == "refused" else "candidate"


def _outcome_of(tag: str) -> str:
    verdict = read_verdict(tag)
    return verdict.outcome if verdict else ""


def _attempt(read: Callable[[], T], otherwise: T, problems: list[str]) -> T:
    try:
        return read()
    except ModelError as error:
        problems.append(str(error))
        return otherwise
