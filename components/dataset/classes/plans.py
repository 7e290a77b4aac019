"""Plan class changes: the new contract, and what the existing classes become.

Remaining classes keep their numbers, with one exception: numbers have no gaps, so the last class moves to a freed
number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from components.contract import DataContract, fold_name
from components.errors import DatasetError

Became = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ClassPlan:
    """A planned change."""

    summary: str  # for people: "rename 'hat' to 'cap'"
    contract: DataContract  # after the change
    became: Became  # for each current class, the classes its images move to; () if they are removed
    rows: Mapping[str, str] = field(default_factory=dict)  # id -> class, for rows of a split class


def plan_addition(contract: DataContract, name: str) -> ClassPlan:
    """Add a class, with the next number.

    Raises:
        DatasetError: the class exists or the name is invalid. The other functions raise the same error.
    """
    name = _clean(name)
    classes = (*contract.classes, name)
    return _plan(f"add {name!r}", contract, classes, tuple((one,) for one in contract.classes))


def plan_renaming(contract: DataContract, name: str, to: str) -> ClassPlan:
    """Rename a class. It keeps its number."""
    label, to = _label(contract, name), _clean(to)
    classes = _with(contract.classes, label, to)
    return _plan(f"rename {contract.classes[label]!r} to {to!r}", contract, classes, tuple((one,) for one in classes))


def plan_merger(contract: DataContract, names: Sequence[str], into: str) -> ClassPlan:
    """Merge several classes into one, which gets the lowest of their numbers."""
    labels, into = sorted({_label(contract, name) for name in names}), _clean(into)
    if len(labels) < 2:
        raise DatasetError(f"cannot merge {', '.join(map(repr, names))}: expected two classes or more")
    merged = [contract.classes[label] for label in labels]
    became = tuple((into,) if label in labels else (one,) for label, one in enumerate(contract.classes))
    classes = _without(_with(contract.classes, labels[0], into), labels[1:])
    return _plan(f"merge {', '.join(map(repr, merged))} into {into!r}", contract, classes, became)


def plan_removal(contract: DataContract, name: str) -> ClassPlan:
    """Remove a class and its images."""
    label = _label(contract, name)
    removed = contract.classes[label]
    became = tuple(() if one == removed else (one,) for one in contract.classes)
    return _plan(f"remove {removed!r}", contract, _without(contract.classes, [label]), became)


def plan_split(contract: DataContract, name: str, rows: Mapping[str, str], members: Sequence[str]) -> ClassPlan:
    """Split a class into several.

    Args:
        contract: the current contract.
        name: the class to split.
        rows: id -> class. Rows that are not listed stay in the class.
        members: ids of the class's rows, in both splits.
    """
    label, found = _label(contract, name), set(members)
    original = contract.classes[label]
    if unknown := [row_id for row_id in rows if row_id not in found]:
        raise DatasetError(
            f"{len(unknown):,} of {len(rows):,} ids are not rows of {original!r}, e.g. {unknown[0][:60]!r}"
        )
    named = {row_id: _clean(one) for row_id, one in rows.items()}
    own = {row_id: original if fold_name(one) == fold_name(original) else one for row_id, one in named.items()}
    new = sorted({fold_name(one): one for one in own.values() if one != original}.values())
    by_fold = {fold_name(one): one for one in (*new, original)}
    own = {row_id: by_fold[fold_name(one)] for row_id, one in own.items()}
    if known := [one for one in new if contract.label_of(one) is not None]:
        raise DatasetError(f"{known[0]!r} is already a class. Use 'fashion label import' to move rows to it")
    stays = len(own) < len(found) or original in own.values()
    parts = [original, *new] if stays else new
    if len(parts) < 2:
        raise DatasetError(f"{original!r}: the table names one class only. Use 'fashion classes rename' to rename it")
    became = tuple(tuple(parts) if one == original else (one,) for one in contract.classes)
    classes = (*_with(contract.classes, label, parts[0]), *parts[1:])
    return _plan(f"split {original!r} into {', '.join(map(repr, parts))}", contract, classes, became, own)


def _plan(
    summary: str,
    contract: DataContract,
    classes: tuple[str, ...],
    became: Became,
    rows: Mapping[str, str] | None = None,
) -> ClassPlan:
    if classes == contract.classes:
        raise DatasetError(f"{summary}: nothing would change")
    try:
        bare = replace(contract, classes=classes, aliases=())
        return ClassPlan(summary, replace(bare, aliases=_carry_aliases(contract, bare, became)), became, rows or {})
    except ValueError as error:
        raise DatasetError(f"{summary}: {error}") from error


def _carry_aliases(before: DataContract, after: DataContract, became: Became) -> tuple[tuple[str, str], ...]:
    """The aliases after a change, including former class names that no class has now.

    A number is an alias only of the class with that number.
    """
    names = [*before.aliases, *((one, one) for one in before.classes)]
    carried = dict[str, tuple[str, str]]()
    for alias, name in names:
        label = before.label_of(name)
        became_of = became[label] if label is not None else ()
        if len(became_of) != 1 or after.label_of(alias) is not None:
            continue
        now = after.label_of(became_of[0])
        if now is not None and (not alias.isdecimal() or int(alias) == now):
            carried[fold_name(alias)] = (alias, after.classes[now])
    return tuple(carried.values())


def _label(contract: DataContract, name: str) -> int:
    label = contract.label_of(name)
    if label is None:
        raise DatasetError(f"{name[:60]!r} is not a class of {contract.name}; expected {contract.choices}")
    return label


def _clean(name: str) -> str:
    return " ".join(name.split())


def _with(classes: tuple[str, ...], label: int, name: str) -> tuple[str, ...]:
    return (*classes[:label], name, *classes[label + 1 :])


def _without(classes: tuple[str, ...], labels: Sequence[int]) -> tuple[str, ...]:
    """Remove classes; the last class moves to each freed number."""
    left = list(classes)
    for label in sorted(labels, reverse=True):
        last = left.pop()
        if label < len(left):
            left[label] = last
    return tuple(left)
