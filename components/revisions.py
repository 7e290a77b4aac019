"""Map the classes of two models of one catalogue to each other, using the class changes stored in their datasets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contract import Revision

Classes = tuple[str, ...]
SHOWN = 10  # names listed in a sentence


@dataclass(frozen=True)
class Lineage:
    """The current classes of a dataset or model, and the changes that led to them."""

    classes: Classes
    revisions: tuple[Revision, ...] = ()

    @property
    def states(self) -> list[Classes]:
        """The original classes, then the classes after each change; the current ones come last."""
        return [one.before for one in self.revisions] + [self.classes]

    def became_since(self, state: int) -> NDArray[np.bool_]:
        """Which classes of an earlier state have images in which current class, bool (classes then, classes now)."""
        states = self.states
        found = np.eye(len(states[state]), dtype=bool)
        for one, after in zip(self.revisions[state:], states[state + 1 :], strict=True):
            places = {name: label for label, name in enumerate(after)}
            step = np.zeros((len(one.before), len(after)), bool)
            for label, names in enumerate(one.became):
                step[label, [places[name] for name in names]] = True
            found = found @ step
        return found

    def find_misfit(self) -> str:
        """Explain why the changes cannot lead to the current classes; "" if they can."""
        for number, (one, after) in enumerate(zip(self.revisions, self.states[1:], strict=True)):
            if len(one.became) != len(one.before):
                return f"revisions.{number}: found {len(one.became)} entries in became, expected {len(one.before)}"
            if strange := {name for names in one.became for name in names} - set(after):
                return f"revisions.{number}.became: {min(strange)[:60]!r} is not a class after this change"
        return ""


def relate(ours: Lineage, theirs: Lineage) -> NDArray[np.bool_] | None:
    """Which of our classes share images with which of theirs, bool (our classes, their classes).

    The lineages diverge at the last state that both have in common. Returns None if they have none.
    """
    states = theirs.states
    for number in reversed(range(len(states))):
        if states[number] in ours.states:
            ancestor = len(ours.states) - 1 - ours.states[::-1].index(states[number])
            return ours.became_since(ancestor).T @ theirs.became_since(number)
    return None


def group(related: NDArray[np.bool_]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The smallest groups of classes, (our labels, their labels), that share no images with each other.

    An unchanged class forms a group with itself, and merged classes with the class that they became. A class that only
    one side has forms a group in which the other side is empty.
    """
    left = set(range(related.shape[0]))
    found = list[tuple[tuple[int, ...], tuple[int, ...]]]()
    while left:
        ours, theirs = {min(left)}, set[int]()
        while True:
            wider = set(np.flatnonzero(related[sorted(ours)].any(axis=0)).tolist())
            if wider == theirs:
                break
            theirs = wider
            ours |= set(np.flatnonzero(related[:, sorted(theirs)].any(axis=1)).tolist())
        left -= ours
        found.append((tuple(sorted(ours)), tuple(sorted(theirs))))
    alone = np.flatnonzero(~related.any(axis=0)).tolist()
    return found + [((), (label,)) for label in alone]


def describe_changes(ours: Classes, theirs: Classes, groups: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    """Describe how their classes became ours; "" if the names are the same."""
    changes, new, gone = list[str](), list[str](), list[str]()
    for left, right in groups:
        now, before = [ours[label] for label in left], [theirs[label] for label in right]
        if not before:
            new += now
        elif not now:
            gone += before
        elif now != before:
            changes.append(f"{join_names(before)} {_verb(before)} {join_names(now)} now")
    changes += [f"{join_names(names)} {_verb(names)} {what}" for names, what in ((new, "new"), (gone, "gone")) if names]
    return "; ".join(changes)


def join_names(names: Sequence[str]) -> str:
    """Join names as in "hat", "hat and cap" or "hat, cap and coat", listing at most the first ten."""
    shown, more = names[:SHOWN], len(names) - SHOWN
    words = [*shown, f"{more} more"] if more > 0 else list(shown)
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
