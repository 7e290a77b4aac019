"""Remove the models that nobody needs any more, and what belonged to them.

What stays is decided twice: for a plan, and again under the locks that a promotion, a pin and a Bento's build hold too,
just before models leave the store. A model leaves by a rename and is deleted after the locks were let go: whoever looks
sees all of it or nothing, and nobody waits for the deletion.
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
TRAINING = 2  # times the grace: so long may a training read a dataset that is not in use any more


@dataclass(frozen=True)
class Removed:
    """One thing that is gone, or would be."""

    what: What
    name: str
    bytes: int


@dataclass(frozen=True)
class Pruned:
    """What a prune did, or would do."""

    dry_run: bool
    removed: tuple[Removed, ...]
    kept: dict[str, str]  # every model that stays, newest first -> why; and what could not be decided

    @property
    def bytes(self) -> int:
        """What was freed."""
        return sum(one.bytes for one in self.removed)


@dataclass
class Plan:
    """Which models stay, and why, and which do not; both newest first."""

    kept: dict[str, str] = field(default_factory=dict)
    doomed: dict[str, What] = field(default_factory=dict)


def prune(keep: int, dry_run: bool = False, settings: Settings | None = None, grace: float = HOUR) -> Pruned:
    """Remove all but the newest models, and what nothing refers to any more.

    The live model, the one before, pinned ones and those in a Bento always stay, and so does what is damaged: it is
    evidence. Exports and raw archives are the user's.

    Args:
        keep: how many of the other models stay.
        dry_run: decide, and remove nothing.
        settings: where reports and datasets are; None: from the environment.
        grace: seconds in which nothing is removed; a model that was just saved is about to be judged.

    Raises:
        SettingsError: `keep` is negative.
        NoLiveModel, ModelError: the pointer, its history, the pins or a Bento cannot be read. Nothing was removed.
    """
    if keep < 0:
        raise SettingsError(f"keep: found {keep}, expected 0 or more")
    settings = settings or load_settings()
    plan = _plan(keep, grace)
    withdrawn = _withdraw(plan, grace, dry_run)
    removed = [_remove(one, dry_run) for one in withdrawn]
    with dataset_lock(settings.datasets_dir):
        stays = [one for one in list_stored() if one.tag not in plan.doomed]
        found = [*find_orphans(settings, {one.tag for one in stays}, grace), *find_leftovers(settings, grace)]
        try:
            found += find_unreferenced_datasets(settings, _trained_on(stays), TRAINING * grace)
        except (ModelError, DatasetError) as error:
            plan.kept["every dataset"] = f"nobody knows which are needed: {error}"
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
            why = why or _demur(one, grace)
        except ModelNotFound:
            continue  # it went meanwhile
        if why is None:
            plan.doomed[one.tag] = "model" if one.card else "leftover"
        else:
            damage = f"; damaged: {one.problem}" if one.problem and one.tag in reasons else ""
            plan.kept[one.tag] = f"{why}{damage}"
    return plan


def _demur(one: Stored, grace: float) -> str | None:
    """What speaks against removing a model that nothing needs."""
    if not EXACT_TAG.fullmatch(one.tag):
        return f"damaged: {one.problem}"
    folder = stored_folder(one.tag)
    if age_of(folder) < grace:
        return _young(grace)
    if one.card is None:
        return None if is_half_written(folder) else f"damaged: {one.problem}"
    try:
        check_stored(one.tag)
    except ModelNotFound:
        raise
    except ModelError as error:
        return f"damaged: {error}"
    return None


def _young(grace: float) -> str:
    return f"written less than {grace / HOUR:g} h ago"


def _withdraw(plan: Plan, grace: float, dry_run: bool) -> list[Unreferenced]:
    """Take the doomed out of the store, but for those that something needs by now."""
    with live_lock(), store_lock():
        reasons = reasons_to_keep()
        for tag in tuple(plan.doomed):
            try:
                why = reasons.get(tag) or (_young(grace) if age_of(stored_folder(tag)) < grace else None)
            except ModelNotFound:
                del plan.doomed[tag]  # another prune was faster
                continue
            if why:
                plan.kept[tag] = why
                del plan.doomed[tag]
        where = {tag: stored_folder(tag) for tag in plan.doomed} if dry_run else withdraw(plan.doomed, plan.kept)
        return [Unreferenced(what, tag, where[tag]) for tag, what in plan.doomed.items()]


def _trained_on(models: list[Stored]) -> set[str]:
    """The versions of the datasets that models need.

    Raises:
        ModelError: one cannot say.
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
