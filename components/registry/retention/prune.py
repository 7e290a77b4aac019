"""Remove models that are no longer needed, and the files that belong to them.

What to keep is decided twice: once for the plan, and again under the locks shared with promotions, pins and Bento
builds, just before models leave the store. A model is renamed out of the store atomically and deleted after the locks
are released, so no one waits for the deletion.
"""

from dataclasses import dataclass, field

from components.dataset.manifest import dataset_lock
from components.errors import DatasetError, ModelError, ModelNotFound, SettingsError
from components.files import age_of, remove, size_of
from components.registry.champion import live_lock
from components.registry.retention.datasets import find_unreferenced_datasets
from components.registry.retention.states import reasons_to_keep
from components.registry.retention.unreferenced import Unreferenced, What, find_leftovers, find_orphans, is_half_written
from components.registry.retention.withdraw import withdraw
from components.registry.store import (
    EXACT_TAG,
    Stored,
    check_stored,
    list_stored,
    store_lock,
    stored_folder,
)
from components.settings import Settings, load_settings

HOUR = 3600.0  # seconds
TRAINING = 2  # multiple of the grace period in which a training run may read a dataset that is no longer in use


@dataclass(frozen=True)
class Removed:
    """A file or folder that was removed, or would be."""

    what: What
    name: str
    bytes: int


@dataclass(frozen=True)
class Pruned:
    """What a prune did, or would do."""

    dry_run: bool
    removed: tuple[Removed, ...]
    kept: dict[str, str]  # model kept, newest first, or undecided item -> reason

    @property
    def bytes(self) -> int:
        """Total size of the removed items."""
        return sum(one.bytes for one in self.removed)


@dataclass
class Plan:
    """Models to keep, with reasons, and models to remove; both newest first."""

    kept: dict[str, str] = field(default_factory=dict)
    removable: dict[str, What] = field(default_factory=dict)


def prune(keep: int, dry_run: bool = False, settings: Settings | None = None, grace: float = HOUR) -> Pruned:
    """Remove all but the newest models, and everything that is no longer referenced.

    The live, previous and pinned models and those in a Bento always stay. So do damaged models, as evidence. Exports
    and raw archives belong to the user and are never removed.

    Args:
        keep: how many of the other models to keep.
        dry_run: only report what would be removed.
        settings: where reports and datasets are; None: from the environment.
        grace: minimum age of removable items, seconds. A new model is about to be evaluated.

    Raises:
        SettingsError: `keep` is negative.
        NoLiveModel, ModelError: the pointer, its history, the pins or a Bento cannot be read. Nothing is removed.
    """
    if keep < 0:
        raise SettingsError(f"keep: found {keep}, expected 0 or more")
    settings = settings or load_settings()
    plan = _plan(keep, grace)
    withdrawn = _withdraw(plan, grace, dry_run)
    removed = [_remove(one, dry_run) for one in withdrawn]
    with dataset_lock(settings.datasets_dir):
        stays = [one for one in list_stored() if one.tag not in plan.removable]
        found = [*find_orphans(settings, {one.tag for one in stays}, grace), *find_leftovers(settings, grace)]
        try:
            found += find_unreferenced_datasets(settings, _trained_on(stays), TRAINING * grace)
        except (ModelError, DatasetError) as error:
            plan.kept["every dataset"] = f"cannot determine which are needed: {error}"
        removed += [_remove(one, dry_run) for one in found]
    return Pruned(dry_run, tuple(removed), plan.kept)


def _plan(keep: int, grace: float) -> Plan:
    plan, reasons, others = Plan(), reasons_to_keep(), 0
    for one in sorted(list_stored(), key=lambda one: one.card.created_at if one.card else "", reverse=True):
        why = reasons.get(one.tag)
        if why is None and one.card:
            others += 1
            why = f"one of the newest {keep}" if others <= keep else None
        try:
            why = why or _reason_against(one, grace)
        except ModelNotFound:
            continue  # already removed
        if why is None:
            plan.removable[one.tag] = "model" if one.card else "leftover"
        else:
            damage = f"; damaged: {one.problem}" if one.problem and one.tag in reasons else ""
            plan.kept[one.tag] = f"{why}{damage}"
    return plan


def _reason_against(one: Stored, grace: float) -> str | None:
    """Return why a model must not be removed although nothing refers to it, or None."""
    if not EXACT_TAG.fullmatch(one.tag):
        return f"damaged: {one.problem}"
    folder = stored_folder(one.tag)
    if age_of(folder) < grace:
        return _describe_young(grace)
    if one.card is None:
        return None if is_half_written(folder) else f"damaged: {one.problem}"
    try:
        check_stored(one.tag)
    except ModelNotFound:
        raise
    except ModelError as error:
        return f"damaged: {error}"
    return None


def _describe_young(grace: float) -> str:
    return f"written less than {grace / HOUR:g} h ago"


def _withdraw(plan: Plan, grace: float, dry_run: bool) -> list[Unreferenced]:
    """Move the removable models out of the store, except those needed since the plan was made."""
    with live_lock(), store_lock():
        reasons = reasons_to_keep()
        for tag in tuple(plan.removable):
            try:
                why = reasons.get(tag) or (_describe_young(grace) if age_of(stored_folder(tag)) < grace else None)
            except ModelNotFound:
                del plan.removable[tag]  # a concurrent prune was faster
                continue
            if why:
                plan.kept[tag] = why
                del plan.removable[tag]
        where = {tag: stored_folder(tag) for tag in plan.removable} if dry_run else withdraw(plan.removable, plan.kept)
        return [Unreferenced(what, tag, where[tag]) for tag, what in plan.removable.items()]


def _trained_on(models: list[Stored]) -> set[str]:
    """Return the dataset versions that models need.

    Raises:
        ModelError: the card of a model cannot be read.
    """
    for one in models:
        if one.card is None:
            raise ModelError(one.problem)
    return {one.card.dataset_version for one in models if one.card}


def _remove(one: Unreferenced, dry_run: bool) -> Removed:
    size = size_of(one.path)
    if not dry_run:
        remove(one.path)
    return Removed(one.what, one.name, size)
