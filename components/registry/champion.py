"""The live-model pointer: which model serves, since when, and why.

    BENTOML_HOME/fashion/live.json       the last move, replaced atomically; the model it names is live
    BENTOML_HOME/fashion/history.jsonl   every move, a line each, only ever added to

A move is written to the pointer first and then to the history, under a lock. A kill between the two is mended by the
next move, which finds the pointer's number missing from the history and adds it first. Where the pointer is missing or
damaged, the last move of the history is in force.
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

from components.contract import ModelCard, Positive, Sha256, Share, Time, Verdict
from components.errors import LiveModelChanged, ModelError, NoLiveModel, PromotionRefused
from components.files import user_name, write_whole
from components.records import read_file, read_record
from components.registry.store import EXACT_TAG, card_sha256, check_stored, copy_stored, home, load_stored, require_own

if TYPE_CHECKING:
    from components.model.classifier import Classifier

log = logging.getLogger(__name__)

LOCK_TIMEOUT = 60  # seconds to wait for another move

Tag = Annotated[str, Field(pattern=f"^{EXACT_TAG.pattern}$")]
PointerState = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Move:
    """One change of the live model."""

    number: Positive  # from 1, without a gap
    action: Literal["promote", "rollback"]
    tag: Tag  # live from here on
    previous: Tag | None  # live until here
    card_sha256: Sha256  # of its card, which has that of its weights: a model with another is not the one promoted
    who: str
    when: Time  # UTC
    why: str
    verdict: str = ""  # of a promotion: "passed", or "forced" and past what
    accuracy: Share | None = None  # on the test split
    split_version: str = ""  # of that split


def live_move() -> Move:
    """The move that made the live model live.

    Raises:
        NoLiveModel: nothing was promoted yet, or neither pointer nor history can be read.
    """
    path = home() / "live.json"
    try:
        return read_record(Move, read_file(path, ModelError), path.name, ModelError)
    except (FileNotFoundError, ModelError) as error:
        moves = _read_history()
        if moves:
            log.warning("%s is missing or damaged; the last move of the history is in force", path.name)
            return moves[-1]
        if isinstance(error, FileNotFoundError):
            raise NoLiveModel("no model is live; 'fashion train' or 'fashion promote TAG' makes one so") from error
        raise NoLiveModel(
            f"{path.name} cannot be read ({error}); 'fashion promote TAG --force --reason ...' writes it anew"
        ) from error


def current_move() -> Move | None:
    """The move in force, or None where nothing was ever live.

    Raises:
        NoLiveModel: something was, but neither pointer nor history can be read.
    """
    if not (home() / "live.json").exists() and not _read_history():
        return None
    return live_move()


def load_model(tag: str | None = None) -> "Classifier":
    """Load a model for `predict`: the live one, or the one with this exact tag.

    Raises:
        NoLiveModel: no tag given and nothing is live.
        ModelNotFound, ModelError: see `load_stored`.
    """
    return load_live(live_move()) if tag is None else load_stored(tag)


def load_live(move: Move) -> "Classifier":
    """Load the model that a move made live.

    Raises:
        ModelNotFound, ModelError: see `load_stored`; or it is not the model that was promoted.
    """
    model = load_stored(move.tag)
    _check_promoted(move)
    return model


def check_live(move: Move) -> ModelCard:
    """Check every byte of the model that a move made live, without loading it.

    Raises:
        ModelNotFound, ModelError: as for `load_live`.
    """
    card = check_stored(move.tag)
    _check_promoted(move)
    return card


def pointer_state() -> PointerState:
    """What differs once the pointer or its history was written: a look that costs microseconds."""
    return tuple(_stat_of(home() / name) for name in ("live.json", "history.jsonl"))


def history() -> tuple[Move, ...]:
    """Every move, oldest first.

    Raises:
        ModelError: a line that is no move, by its number.
    """
    moves = _read_history()
    live = try_live()
    return (*moves, live) if live and (not moves or live.number > moves[-1].number) else moves


def _read_history() -> tuple[Move, ...]:
    """The moves in the file; a half-written last line is none."""
    path = home() / "history.jsonl"
    try:
        lines = read_file(path, ModelError).splitlines(keepends=True)
    except FileNotFoundError:
        return ()
    whole = [line for line in lines if line.endswith(b"\n")]
    named = (
        (f"{path.name}, line {number}: not a move of the live model", line) for number, line in enumerate(whole, 1)
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
        raise ModelError(f"{move.tag}: it is not the model that was promoted; its files were exchanged")


def make_live(tag: str, why: str, verdict: Verdict | None = None) -> Move:
    """Put a model live, whatever the gate would say of it; `components.promotion.promote` asks first.

    Args:
        tag: exact; the live model's changes nothing.
        why: kept in the history.
        verdict: what the gate said; the model it compared with must be the live one still, and both what they were.

    Raises:
        ModelNotFound, ModelError: it does not load, is another catalogue's or not what was judged; the live model is as
            it was.
        LiveModelChanged: another model went live since the verdict.
    """
    require_own(tag)
    with live_lock():
        _mend()
        live = try_live()
        if live and live.tag == tag:
            return live
        told = ""
        if verdict:
            if (verdict.champion, verdict.champion_sha256) != ((live.tag, live.card_sha256) if live else (None, "")):
                raise LiveModelChanged(f"{tag} was compared with {verdict.champion}, which is not live any more")
            if verdict.challenger_sha256 != card_sha256(tag):
                raise ModelError(f"{tag}: it is not the model that was judged; its files were exchanged")
            told = "passed" if verdict.passed else str(verdict)
        return _move("promote", tag, load_stored(tag).card, why, told)


def rollback(tag: str | None = None, why: str = "asked for") -> Move:
    """Put the model that was live before back, or an earlier one by its exact tag.

    Rolling back twice goes back twice; it does not return to what was taken back. Rolling back to the live model
    changes nothing. The model's files must be, byte for byte, those that loaded when it was promoted; so torch, whose
    import takes two seconds, is not asked again.

    Raises:
        PromotionRefused: nothing to go back to, or `tag` was never live.
        ModelNotFound, ModelError: it is damaged, or not the model that was live; the live model is as it was.
    """
    with live_lock():
        _mend()
        live = try_live()
        if live and live.tag == tag:
            return live
        earlier = earlier_moves()
        if tag is None and not earlier:
            raise PromotionRefused("nothing to roll back to: no other model was live before")
        target = next((move for move in reversed(earlier) if tag in (None, move.tag)), None)
        if target is None:
            raise PromotionRefused(f"{tag} was not live before the present model; 'fashion promote {tag}' may do it")
        return _move("rollback", target.tag, check_live(target), why)


def earlier_moves() -> list[Move]:
    """The moves that made earlier models live, oldest first, without those that were taken back since."""
    stack: list[Move] = []
    for move in history():
        if move.action == "rollback":
            while stack and stack[-1].tag != move.tag:
                stack.pop()
        if not stack or stack[-1].tag != move.tag:
            stack.append(move)
    return stack[:-1]


def verdict_when_promoted(tag: str) -> str:
    """What the history has of the verdict under which a model went live last: "passed", "forced", or "" for none."""
    found = [move.verdict for move in history() if move.tag == tag and move.action == "promote"]
    return found[-1].partition(":")[0] if found else ""


def previous_move() -> Move | None:
    """The move that a rollback would go back to, or None where there is none.

    Raises:
        ModelError: the history is damaged.
    """
    earlier = earlier_moves()
    return earlier[-1] if earlier else None


def try_live() -> Move | None:
    """The move that made the live model live, or None where there is none that can be read."""
    try:
        return live_move()
    except NoLiveModel:
        return None


def live_lock() -> FileLock:
    """Held while the live model changes; who needs `store_lock` too takes it inside this one, never around it."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "live.lock", timeout=LOCK_TIMEOUT)


def make_home(folder: Path, tag: str) -> None:
    """Make a BENTOML_HOME in which one model, copied from this one's store, is live, and nothing else is there.

    Raises:
        ModelNotFound: no such tag.
    """
    copy_stored(tag, folder)
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    move = Move(1, "promote", tag, None, card_sha256(tag), user_name(), when, "to try it")
    write_whole(home(folder) / "live.json", _encode(move))


def _move(action: Literal["promote", "rollback"], tag: str, card: ModelCard, why: str, verdict: str = "") -> Move:
    """Write a move. The caller holds the lock."""
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


def _mend() -> None:
    """Cut a half-written last line off the history, add the pointer's move where it is missing, and the other way."""
    path = home() / "history.jsonl"
    if path.exists():
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            write_whole(path, whole)
    moves, live = _read_history(), try_live()
    if live and (not moves or live.number > moves[-1].number):
        _append(path, live)
    elif live and live == moves[-1]:
        _point(live)  # written again as it was, in case it was missing or damaged


def _append(path: Path, move: Move) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(asdict(move)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
