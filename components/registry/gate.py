"""Challenger against champion -> verdict. It fails closed: what cannot be compared is not promoted."""

from dataclasses import dataclass

from components.contract import ModelCard


@dataclass(frozen=True)
class Check:
    """One question of the gate, with what was measured."""

    name: str
    passed: bool
    told: str  # measured against bound, in words


@dataclass(frozen=True)
class Verdict:
    """The answers to all of them."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may go live."""
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        shown = [check for check in self.checks if not check.passed] or self.checks
        return "; ".join(check.told for check in shown)


def judge(challenger: ModelCard, champion: ModelCard | None) -> Verdict:
    """Whether the challenger may go live in the champion's place.

    Args:
        challenger: the card of the model to promote.
        champion: the live model's, or None where nothing is live.
    """
    if champion is None:
        return Verdict((Check("champion", True, "nothing was live"),))
    if champion.is_sample and not challenger.is_sample:
        return Verdict((Check("source", True, "real data takes the place of the drawn sample"),))
    if challenger.is_sample and not champion.is_sample:
        told = "trained on the drawn sample, which never takes the place of a model from real data"
        return Verdict((Check("source", False, told),))
    return Verdict((_same_test_split(challenger, champion), _accuracy(challenger, champion)))


def _same_test_split(challenger: ModelCard, champion: ModelCard) -> Check:
    same = challenger.test.split_version == champion.test.split_version
    versions = f"{challenger.test.split_version} and {champion.test.split_version}"
    told = "measured on the same test split" if same else f"measured on different test splits, {versions}"
    return Check("test split", same, told)


def _accuracy(challenger: ModelCard, champion: ModelCard) -> Check:
    passed = challenger.test.accuracy >= champion.test.accuracy
    relation = "not worse than" if passed else "worse than"
    told = f"test accuracy {challenger.test.accuracy:.4f} is {relation} the live model's {champion.test.accuracy:.4f}"
    return Check("accuracy", passed, told)
