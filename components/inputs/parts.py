"""An input in parts: each is read, scored and written on its own, by whichever worker, and again after a crash."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from components.formats.pixel_csv import Block

PART = 32 << 20  # bytes of an input, unpacked: some 14,000 rows of CSV


@dataclass(frozen=True)
class Reading:
    """How an input is read, as a person says it."""

    part: int = PART  # bytes, unpacked
    delimiter: str = ","  # of CSV
    kept: tuple[str, ...] = ()  # columns that go to the output as they are, in this order
    dropped: tuple[str, ...] = ()  # columns that may be there, and go nowhere

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Reading":
        """What `dataclasses.asdict` and JSON made of one."""
        lists: dict[str, Any] = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        return cls(**{**told, **lists})


@dataclass(frozen=True)
class Part:
    """Consecutive rows of an input."""

    number: int  # of the part, from 0
    file: str  # path of the file that holds it
    first: int  # number of its first row in that input, from 1
    start: int  # first byte of lines, or first row group
    stop: int  # the one after the last
    lines: bytes | None = field(default=None, repr=False)  # its lines, where the file cannot be read from the middle


class Input(Protocol):
    """What is scored."""

    def parts(self) -> Iterator[Part]:
        """All of it, in order; the same parts each time."""

    def read(self, part: Part) -> Iterator[Block]:
        """The rows of a part, in order."""

    def share(self, part: Part) -> float | None:
        """How much of the input is behind the end of a part, 0 to 1; None where nobody knows."""

    def digest(self) -> str:
        """SHA-256 of what was read, once `parts` came to its end."""
