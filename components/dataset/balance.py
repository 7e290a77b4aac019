"""Sets of rows that stay together -> which of them are tested, so that each class has its share."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

TWO_FROM = 10  # images of a class, from which on at least 2 are tested


@dataclass(frozen=True)
class RowSet:
    """Rows that stay in one split."""

    key: bytes  # its place in the order in which sets are drawn
    rows: tuple[int, ...]
    classes: Counter[int]  # label -> images


@dataclass
class Balance:
    """How much of each class is tested, while a test split is drawn."""

    share: float  # of each class's images that is aimed at
    images: Counter[int] = field(default_factory=Counter)  # label -> all of its images
    sets: Counter[int] = field(default_factory=Counter)  # label -> all sets with an image of it
    tested: Counter[int] = field(default_factory=Counter)  # label -> images
    sets_tested: Counter[int] = field(default_factory=Counter)

    def add(self, one: RowSet) -> None:
        """Count a set, wherever it goes."""
        self.images.update(one.classes)
        self.sets.update(one.classes.keys())

    def take(self, one: RowSet) -> None:
        """Count a set as tested."""
        self.tested.update(one.classes)
        self.sets_tested.update(one.classes.keys())

    def draw(self, free: Iterable[RowSet]) -> list[RowSet]:
        """Take of the sets that no split has yet: what fits, what comes closer to the aim, and what a class needs.

        Args:
            free: counted by `add`, in the order in which they are drawn.
        """
        taken, left = list[RowSet](), list(free)
        for wanted in (self._fits, self._comes_closer):
            passed = list[RowSet]()
            for one in left:
                if self._may_take(one) and wanted(one):
                    self.take(one)
                    taken.append(one)
                else:
                    passed.append(one)
            left = passed
        for label in sorted(self.images):
            while self.tested[label] < self._least(label):
                candidates = [one for one in left if label in one.classes and self._may_take(one)]
                if not candidates:
                    break
                best = min(candidates, key=lambda one: (self._excess(one), one.key))
                self.take(best)
                taken.append(best)
                left.remove(best)
        return taken

    def _least(self, label: int) -> int:
        return 2 if self.images[label] >= TWO_FROM else 1

    def _aim(self, label: int) -> int:
        return max(self._least(label), int(self.share * self.images[label] + 0.5))

    def _may_take(self, one: RowSet) -> bool:
        """Whether no class of it has half of its sets tested by then."""
        return all(2 * (self.sets_tested[label] + 1) <= self.sets[label] for label in one.classes)

    def _fits(self, one: RowSet) -> bool:
        return all(self.tested[label] + count <= self._aim(label) for label, count in one.classes.items())

    def _comes_closer(self, one: RowSet) -> bool:
        gaps = [(self._aim(label), self.tested[label], count) for label, count in one.classes.items()]
        now = sum(abs(aim - tested) / aim for aim, tested, _ in gaps)
        return sum(abs(aim - tested - count) / aim for aim, tested, count in gaps) < now

    def _excess(self, one: RowSet) -> float:
        """How far it takes its classes beyond their aims, each as a share of its aim."""
        counts = one.classes.items()
        return sum(max(0, self.tested[label] + count - self._aim(label)) / self._aim(label) for label, count in counts)
