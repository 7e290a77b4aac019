"""Choose which sets of rows go to the test split, so that each class gets its share."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

TWO_FROM = 10  # images of a class from which at least 2 go to the test split


@dataclass(frozen=True)
class RowSet:
    """Rows that stay in one split."""

    key: bytes  # sort key: the order in which sets are drawn
    rows: tuple[int, ...]
    classes: Counter[int]  # label -> images


@dataclass
class Balance:
    """The class counts while a test split is drawn."""

    share: float  # target share of each class's images
    images: Counter[int] = field(default_factory=Counter)  # label -> all images
    sets: Counter[int] = field(default_factory=Counter)  # label -> all sets that contain it
    tested: Counter[int] = field(default_factory=Counter)  # label -> images in the test split
    sets_tested: Counter[int] = field(default_factory=Counter)  # label -> sets in the test split

    def add(self, one: RowSet) -> None:
        """Count a set, whichever split it goes to."""
        self.images.update(one.classes)
        self.sets.update(one.classes.keys())

    def take(self, one: RowSet) -> None:
        """Add a set to the test split."""
        self.tested.update(one.classes)
        self.sets_tested.update(one.classes.keys())

    def draw(self, free: Iterable[RowSet]) -> list[RowSet]:
        """Draw sets for the test split: first those that fit, then those that reduce the gap, then any a class needs.

        Args:
            free: unassigned sets, counted by `add`, in drawing order.
        """
        taken, left = list[RowSet](), list(free)
        for wanted in (self._fits, self._reduces_gap):
            passed = list[RowSet]()
            for one in left:
                if self._may_take(one) and wanted(one):
                    self.take(one)
                    taken.append(one)
                else:
                    passed.append(one)
            left = passed
        for label in sorted(self.images):
            while self.tested[label] < self._minimum(label):
                candidates = [one for one in left if label in one.classes and self._may_take(one)]
                if not candidates:
                    break
                best = min(candidates, key=lambda one: (self._excess(one), one.key))
                self.take(best)
                taken.append(best)
                left.remove(best)
        return taken

    def _minimum(self, label: int) -> int:
        return 2 if self.images[label] >= TWO_FROM else 1

    def _target(self, label: int) -> int:
        return max(self._minimum(label), int(self.share * self.images[label] + 0.5))

    def _may_take(self, one: RowSet) -> bool:
        """Whether at most half of the sets of each of its classes would be in the test split."""
        return all(2 * (self.sets_tested[label] + 1) <= self.sets[label] for label in one.classes)

    def _fits(self, one: RowSet) -> bool:
        return all(self.tested[label] + count <= self._target(label) for label, count in one.classes.items())

    def _reduces_gap(self, one: RowSet) -> bool:
        gaps = [(self._target(label), self.tested[label], count) for label, count in one.classes.items()]
        now = sum(abs(target - tested) / target for target, tested, _ in gaps)
        return sum(abs(target - tested - count) / target for target, tested, count in gaps) < now

    def _excess(self, one: RowSet) -> float:
        """By how much it would overshoot the targets of its classes, relative to each target."""
        counts = one.classes.items()
        return sum(
            max(0, self.tested[label] + count - self._target(label)) / self._target(label) for label, count in counts
        )
