"""The live-model pointer: which model serves, since when, and why.

    BENTOML_HOME/fashion/live.json       the last move, replaced atomically; it names the live model
    BENTOML_HOME/fashion/history.jsonl   all moves, one per line, append-only

Each move is written to the pointer, then to the history, under a lock. If the process is killed in between, the next
move adds the missing line first. If the pointer is missing or damaged, the last move in the history applies.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from filelock import FileLock
from pydantic import Field

from components.contract import DESPITE, ModelCard, Positive, Sha256, Share, Time, Verdict
from components.errors import LiveModelChanged, ModelError, NoLiveModel, PromotionRefused
from components.files import user_name, write_whole
from components.records import read_file, read_record
from components.registry.store import EXACT_TAG, card_sha256, check_stored, copy_stored, home, load_stored, require_own

if TYPE_CHECKING:
    from components.model.classifier import Classifier

log = logging.getLogger(__name__)

LOCK_TIMEOUT = 60  # seconds to wait for a concurrent move

Tag = Annotated[str, Field(pattern=f"^{EXACT_TAG.pattern}$")]
PointerState = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Move:
    """One change of the live model."""

    number: Positive  # from 1, without gaps
    action: Literal["promote", "rollback"]
    tag: Tag  # live from now on
    previous: Tag | None  # live until now
    card_sha256: Sha256  # of the model card, which contains the hash of the weights
    who: str
    when: Time  # UTC
    why: str
    verdict: str = ""  # of a promotion: "passed", or "promoted despite: ..." with the failed checks
    accuracy: Share | None = None  # on the test split
    split_version: str = ""  # version of that split


def live_move() -> Move:
    """Return the move that made the live model live.

    Raises:
        NoLiveModel: no model has been promoted, or neither pointer nor history can be read.
    """
    path = home() / "live.json"
    try:
        return read_record(Move, read_file(path, ModelError), path.name, ModelError)
    except (FileNotFoundError, ModelError) as error:
        moves = _read_history()
        if moves:
            log.warning("%s is missing or damaged; using the last move of the history", path.name)
            return moves[-1]
        if isinstance(error, FileNotFoundError):
            raise NoLiveModel("no model is live; run 'fashion train' or 'fashion promote TAG'") from error
        raise NoLiveModel(
            f"{path.name} cannot be read ({error}); 'fashion promote TAG --force --reason ...' rewrites it"
        ) from error


def current_move() -> Move | None:
    """Return the current move, or None if no model was ever live.

    Raises:
        NoLiveModel: pointer and history exist but neither can be read.
    """
    if not (home() / "live.json").exists() and not _read_history():
        return None
    return live_move()


def load_model(tag: str | None = None) -> "Classifier":
    """Load a model for `predict`: the live one, or the one with an exact tag.

    Raises:
        NoLiveModel: no tag is given and no model is live.
        ModelNotFound, ModelError: see `load_stored`.
    """
    return load_live(live_move()) if tag is None else load_stored(tag)


def load_live(move: Move) -> "Classifier":
    """Load the model that a move made live.

    Raises:
        ModelNotFound, ModelError: see `load_stored`, or its files differ from the promoted ones.
    """
    model = load_stored(move.tag)
    _check_promoted(move)
    return model


def check_live(move: Move) -> ModelCard:
    """Check every byte of the model that a move made live.

    Raises:
        ModelNotFound, ModelError: as for `load_live`.
    """
    card = check_stored(move.tag)
    _check_promoted(move)
    return card


def pointer_state() -> PointerState:
    """Return a fingerprint that changes when the pointer or the history is written; takes microseconds."""
    return tuple(_stat_of(home() / name) for name in ("live.json", "history.jsonl"))


def history() -> tuple[Move, ...]:
    """Return all moves, oldest first.

    Raises:
        ModelError: a line is not a valid move; the message gives its number.
    """
    moves = _read_history()
    live = try_live()
    return (*moves, live) if live and (not moves or live.number > moves[-1].number) else moves


def _read_history() -> tuple[Move, ...]:
    """Read the moves in the file, without an incomplete last line."""
    path = home() / "history.jsonl"
    try:
        lines = read_file(path, ModelError).splitlines(keepends=True)
    except FileNotFoundError:
        return ()
    complete = [line for line in lines if line.endswith(b"\n")]
    named = (
        (f"{path.name}, line {number}: not a move of the live model", line) for number, line in enumerate(complete, 1)
    )
    return tuple(read_record(Move, line, where, ModelError) for where, line in named)


def _stat_of(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _check_promoted(move: Move) -> None:
    if card_sha256(move.tag) != move.card_sha256:
        raise ModelError(f"{move.tag}: not the model that was promoted; its files were replaced")


def make_live(tag: str, why: str, verdict: Verdict | None = None) -> Move:
    """Make a model live without running the gate; see `components.promotion.promote` for that.

    Args:
        tag: exact tag; the live model's tag changes nothing.
        why: reason stored in the history.
        verdict: verdict of the gate; champion and challenger must still be the models that it compared.

    Raises:
        ModelNotFound, ModelError: the model does not load, belongs to another catalogue, or is not the one that was
            evaluated. The live model does not change.
        LiveModelChanged: the live model has changed since the verdict.
    """
    require_own(tag)
    with live_lock():
        _repair()
        live = try_live()
        if live and live.tag == tag:
            return live
        outcome = ""
        if verdict:
            if (verdict.champion, verdict.champion_sha256) != ((live.tag, live.card_sha256) if live else (None, "")):
                raise LiveModelChanged(f"{tag} was compared with {verdict.champion}, which is no longer live")
            if verdict.challenger_sha256 != card_sha256(tag):
                raise ModelError(f"{tag}: not the model that was evaluated; its files were replaced")
            outcome = "passed" if verdict.passed else str(verdict)
        return _move("promote", tag, load_stored(tag).card, why, outcome)


def rollback(tag: str | None = None, why: str = "requested", expected: Move | None = None) -> Move:
    """Roll back to the previous live model, or to an earlier one by its exact tag.

    Rolling back twice goes back two models; a model that was rolled back is skipped. Rolling back to the live model
    changes nothing. The files must match the promoted ones byte for byte, so the model need not be loaded again.

    Args:
        tag: exact tag; None: the previous live model.
        why: reason stored in the history.
        expected: the move that must still be the last one; None: any.

    Raises:
        LiveModelChanged: `expected` is no longer the last move.
        PromotionRefused: there is no earlier model, or `tag` was never live.
        ModelNotFound, ModelError: the model is damaged or its files were replaced. The live model does not change.
    """
    with live_lock():
        _repair()
        live = try_live()
        if expected and live != expected:
            raise LiveModelChanged(f"{expected.tag}: move {expected.number} is no longer the last one; nothing changed")
        if live and live.tag == tag:
            return live
        earlier = earlier_moves()
        if tag is None and not earlier:
            raise PromotionRefused("nothing to roll back to: no other model was live before")
        target = next((move for move in reversed(earlier) if tag in (None, move.tag)), None)
        if target is None:
            raise PromotionRefused(f"{tag} was not live before the current model; use 'fashion promote {tag}' instead")
        return _move("rollback", target.tag, check_live(target), why)


def earlier_moves() -> list[Move]:
    """Return the moves of earlier live models, oldest first, without those that were rolled back."""
    stack: list[Move] = []
    for move in history():
        if move.action == "rollback":
            while stack and stack[-1].tag != move.tag:
                stack.pop()
        if not stack or stack[-1].tag != move.tag:
            stack.append(move)
    return stack[:-1]


def verdict_when_promoted(tag: str) -> str:
    """Return the outcome of the verdict of a model's last promotion: "passed", "forced", or "" if none."""
    found = [move.verdict for move in history() if move.tag == tag and move.action == "promote"]
    return read_verdict_of_move(found[-1])[0] if found else ""


def read_verdict_of_move(verdict: str) -> tuple[str, str]:
    """The outcome of a promotion, and what it was promoted despite; "" unless it was forced."""
    if verdict.startswith("forced: "):  # written by an earlier version
        reason, _, failed = verdict.removeprefix("forced: ").partition("; past: ")
        verdict = f"{DESPITE}{failed}; reason: {reason}"
    return ("forced", verdict) if verdict.startswith(DESPITE) else (verdict, "")


def previous_move() -> Move | None:
    """Return the move that a rollback would restore, or None.

    Raises:
        ModelError: the history is damaged.
    """
    earlier = earlier_moves()
    return earlier[-1] if earlier else None


def try_live() -> Move | None:
    """Return the move that made the live model live, or None if none can be read."""
    try:
        return live_move()
    except NoLiveModel:
        return None


def live_lock() -> FileLock:
    """Return the lock for changes of the live model. Acquire `store_lock` inside it, never around it."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "live.lock", timeout=LOCK_TIMEOUT)


def make_home(folder: Path, tag: str) -> None:
    """Create a BENTOML_HOME with a copy of one model, which is live there.

    Raises:
        ModelNotFound: no such tag.
    """
    copy_stored(tag, folder)
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    move = Move(1, "promote", tag, None, card_sha256(tag), user_name(), when, "canary deployment")
    write_whole(home(folder) / "live.json", _encode(move))


def _move(action: Literal["promote", "rollback"], tag: str, card: ModelCard, why: str, verdict: str = "") -> Move:
    """Write a move. The caller holds `live_lock`."""
    moves = history()
    move = Move(
        number=moves[-1].number + 1 if moves else 1,
        action=action,
        tag=tag,
        previous=moves[-1].tag if moves else None,
        card_sha256=card_sha256(tag),
        who=user_name(),
        when=datetime.now(UTC).isoformat(timespec="milliseconds"),
        why=why,
        verdict=verdict,
        accuracy=card.test.accuracy,
        split_version=card.test.split_version,
    )
    _point(move)
    _append(home() / "history.jsonl", move)
    return move


def _point(move: Move) -> None:
    write_whole(home() / "live.json", _encode(move))


def _encode(move: Move) -> bytes:
    return json.dumps(asdict(move), indent=2).encode() + b"\n"


def _repair() -> None:
    """Drop an incomplete last line of the history, and write the last move to pointer or history if one lacks it."""
    path = home() / "history.jsonl"
    if path.exists():
        content = path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if complete != content:
            write_whole(path, complete)
    moves, live = _read_history(), try_live()
    if live and (not moves or live.number > moves[-1].number):
        _append(path, live)
    elif live and live == moves[-1]:
        _point(live)  # in case the pointer was missing or damaged


def _append(path: Path, move: Move) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(asdict(move)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
