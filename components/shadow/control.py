"""Start and stop a shadow."""

import re
import secrets
from dataclasses import replace
from datetime import UTC, datetime

from filelock import FileLock

from components.contract import ModelCard
from components.errors import ModelError, SettingsError
from components.files import remove
from components.registry.champion import live_move
from components.registry.shadowed import (
    FOLDER,
    MOST_IMAGES,
    RECORD,
    Shadow,
    read_shadow,
    shadow_path,
    write_shadow,
)
from components.registry.store import card_sha256, check_stored, describe_stored, home, require_own

KEPT = 8  # shadows whose counts are kept, with the current one
LOCK_TIMEOUT = 60  # seconds to wait for a concurrent start or stop
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")


def start_shadow(
    tag: str,
    *,
    share: float,
    who: str,
    why: str,
    keep_images: int = 0,
    until: datetime | None = None,
    images: int | None = None,
) -> Shadow:
    """Let a model classify a share of the live traffic. It replaces any other shadow.

    If the model is already in shadow, it goes on counting, with the new share and limits. After `stop_shadow`, or after
    another model was in shadow, it counts from 0.

    Args:
        tag: exact tag of the candidate.
        share: probability that an image is mirrored, above 0, at most 1.
        who: the person or the job that starts it.
        why: reason, kept in the record.
        keep_images: how many pictures to keep of each pair of labels, 0 to 100; 0 keeps only their hashes.
        until: when it ends, with a time zone; None: when it is stopped.
        images: about how many mirrored images it ends after; None: when it is stopped.

    Raises:
        SettingsError: a number is out of range, or the candidate is the live model.
        NoLiveModel: no model is live.
        ModelNotFound, ModelError: the candidate is damaged, belongs to another catalogue, or takes other images than
            the live model; or the current record is damaged.
    """
    _check_numbers(share, keep_images, images)
    require_own(tag)
    live = live_move()
    if live.tag == tag:
        raise SettingsError(f"{tag} is live; a shadow needs another model. 'fashion models' lists them")
    _require_same_input(tag, check_stored(tag), live.tag, describe_stored(live.tag))
    with _lock():
        now, sha256 = datetime.now(UTC), card_sha256(tag)
        shadow = Shadow(
            id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
            tag=tag,
            card_sha256=sha256,
            share=share,
            since=now.isoformat(timespec="milliseconds"),
            who=who,
            why=why,
            keep_images=keep_images,
            until=until.astimezone(UTC).isoformat(timespec="milliseconds") if until else None,
            images=images,
        )
        current = read_shadow()
        if current and (current.tag, current.card_sha256) == (tag, sha256):
            shadow = replace(shadow, id=current.id, since=current.since)
        write_shadow(shadow.folder / RECORD, shadow)
        write_shadow(shadow_path(), shadow)
        _remove_old(shadow)
    return shadow


def stop_shadow() -> Shadow | None:
    """End the current shadow. Its counts stay.

    Returns:
        The shadow that ended; None if there was none.

    Raises:
        ModelError: the record is damaged. It is removed nevertheless.
    """
    with _lock():
        try:
            return read_shadow()
        finally:
            shadow_path().unlink(missing_ok=True)


def current_shadow() -> Shadow | None:
    """Return the current shadow; None if there is none.

    Raises:
        ModelError: the record is damaged.
    """
    return read_shadow()


def _check_numbers(share: float, keep_images: int, images: int | None) -> None:
    if not 0 < share <= 1:
        raise SettingsError(f"share: found {share}, expected more than 0 and at most 1")
    if not 0 <= keep_images <= MOST_IMAGES:
        raise SettingsError(f"keep_images: found {keep_images}, expected 0 to {MOST_IMAGES}")
    if images is not None and images < 1:
        raise SettingsError(f"images: found {images}, expected at least 1")


def _require_same_input(tag: str, candidate: ModelCard, live: str, champion: ModelCard) -> None:
    """Classes may differ, images may not."""
    difference = replace(champion.contract, classes=candidate.classes, aliases=()).difference(candidate.contract)
    if difference:
        raise ModelError(f"{tag} cannot classify the images of the live model {live}: {difference}")


def _remove_old(current: Shadow) -> None:
    """Remove the counts of all but the newest shadows."""
    folders = sorted(
        path for path in (home() / FOLDER).iterdir() if ID.fullmatch(path.name) and path.name != current.id
    )
    for folder in folders[: max(0, len(folders) - KEPT + 1)]:
        remove(folder)


def _lock() -> FileLock:
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "shadow.lock", timeout=LOCK_TIMEOUT)
