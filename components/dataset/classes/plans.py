"""What a change of the classes comes to: the classes that there will be, and what becomes of those that are.

A class that stays keeps its number. Numbers have no gaps, so where one is freed the last class moves into it; no other
class changes its number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from components.contract import DataContract, fold_name
from components.errors import DatasetError

Became = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ClassPlan:
    """A change that was not made yet."""

    summary: str  # in words: "rename 'hat' to 'cap'"
    contract: DataContract  # that there will be
    became: Became  # of each class that is, the classes its images go to; () where they leave
    rows: Mapping[str, str] = field(default_factory=dict)  # id -> class, of rows of a class that is split


def plan_addition(contract: DataContract, name: str) -> ClassPlan:
    """One more class, with the next number.

    Raises:
        DatasetError: there is such a class, or no class can have that name. So say all of these functions.
    """
    name = _clean(name)
    classes = (*contract.classes, name)
    return _plan(f"add {name!r}", contract, classes, tuple((one,) for one in contract.classes))


def plan_renaming(contract: DataContract, name: str, to: str) -> ClassPlan:
    """The same class under another name, with the same number."""
    label, to = _label(contract, name), _clean(to)
    classes = _with(contract.classes, label, to)
    return _plan(f"rename {contract.classes[label]!r} to {to!r}", contract, classes, tuple((one,) for one in classes))


def plan_merger(contract: DataContract, names: Sequence[str], into: str) -> ClassPlan:
    """Several classes in one, which has the lowest of their numbers."""
    labels, into = sorted({_label(contract, name) for name in names}), _clean(into)
    if len(labels) < 2:
        raise DatasetError(f"{', '.join(map(repr, names))}: a merger takes two classes or more")
    merged = [contract.classes[label] for label in labels]
    became = tuple((into,) if label in labels else (one,) for label, one in enumerate(contract.classes))
    classes = _without(_with(contract.classes, labels[0], into), labels[1:])
    return _plan(f"merge {', '.join(map(repr, merged))} into {into!r}", contract, classes, became)


def plan_removal(contract: DataContract, name: str) -> ClassPlan:
    """One class less; its images are in no split any more."""
    label = _label(contract, name)
    removed = contract.classes[label]
    became = tuple(() if one == removed else (one,) for one in contract.classes)
    return _plan(f"remove {removed!r}", contract, _without(contract.classes, [label]), became)


def plan_split(contract: DataContract, name: str, rows: Mapping[str, str], members: Sequence[str]) -> ClassPlan:
    """One class in several, by the rows of a table.

    Args:
        contract: today's.
        name: the class that is split.
        rows: id -> class; one that is not named stays in the class, which then stays.
        members: the ids of the class's rows, in both splits.
    """
    label, found = _label(contract, name), set(members)
    whole = contract.classes[label]
    if strange := [row_id for row_id in rows if row_id not in found]:
        raise DatasetError(f"{strange[0][:60]!r} is no row of {whole!r}; {len(strange):,} of {len(rows):,} are not")
    named = {row_id: _clean(one) for row_id, one in rows.items()}
    own = {row_id: whole if fold_name(one) == fold_name(whole) else one for row_id, one in named.items()}
    new = sorted({fold_name(one): one for one in own.values() if one != whole}.values())
    by_fold = {fold_name(one): one for one in (*new, whole)}
    own = {row_id: by_fold[fold_name(one)] for row_id, one in own.items()}
    if known := [one for one in new if contract.label_of(one) is not None]:
        raise DatasetError(f"{known[0]!r} is a class already; 'fashion label import' moves single rows to it")
    stays = len(own) < len(found) or whole in own.values()
    parts = [whole, *new] if stays else new
    if len(parts) < 2:
        raise DatasetError(
            f"{whole!r}: the table names one class alone; 'fashion classes rename' gives it another name"
        )
    became = tuple(tuple(parts) if one == whole else (one,) for one in contract.classes)
    classes = (*_with(contract.classes, label, parts[0]), *parts[1:])
    return _plan(f"split {whole!r} into {', '.join(map(repr, parts))}", contract, classes, became, own)


def _plan(
    summary: str,
    contract: DataContract,
    classes: tuple[str, ...],
    became: Became,
    rows: Mapping[str, str] | None = None,
) -> ClassPlan:
    if classes == contract.classes:
        raise DatasetError(f"{summary}: that changes nothing")
    try:
        bare = replace(contract, classes=classes, aliases=())
        return ClassPlan(summary, replace(bare, aliases=_carry_aliases(contract, bare, became)), became, rows or {})
    except ValueError as error:
        raise DatasetError(f"{summary}: {error}") from error


def _carry_aliases(before: DataContract, after: DataContract, became: Became) -> tuple[tuple[str, str], ...]:
    """What people call the classes: the names that they had, too, where these are no class's now.

    A number is an alias only of the class that has it.
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
        raise DatasetError(f"{name[:60]!r} is no class of {contract.name}; expected {contract.choices}")
    return label


def _clean(name: str) -> str:
    return " ".join(name.split())


def _with(classes: tuple[str, ...], label: int, name: str) -> tuple[str, ...]:
    return (*classes[:label], name, *classes[label + 1 :])


def _without(classes: tuple[str, ...], labels: Sequence[int]) -> tuple[str, ...]:
    """The last class moves into each number that is freed."""
    left = list(classes)
    for label in sorted(labels, reverse=True):
        last = left.pop()
        if label < len(left):
            left[label] = last
    return tuple(left)
