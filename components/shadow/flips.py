"""Images that get another label from the candidate: their hash, and their picture if the shadow keeps pictures.

Each worker has a file, to which its candidate appends one line per image, at most so many per pair of labels.
"""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from components.contract import Images, NonNegative, Share
from components.errors import ModelError
from components.readers.images.seen import write_seen
from components.readers.images.statistics import hash_images
from components.records import read_record
from components.registry.shadowed import Shadow
from components.shadow.counts import pair_folder

HASHES = 20  # lines per pair of labels if no pictures are kept
MOST = 2_000  # lines per file


@dataclass(frozen=True)
class ShadowFlip:
    """An image to which champion and candidate give different labels."""

    time: NonNegative  # of the answer, seconds since 1970
    champion: str  # class name
    candidate: str  # class name
    champion_confidence: Share
    candidate_confidence: Share
    champion_sure: bool
    candidate_sure: bool
    hash: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]  # see `components.readers.images.statistics`
    png: str = ""  # Base64; "" if no pictures are kept

    @property
    def uri(self) -> str:
        """The picture as a data URI; "" if there is none."""
        return f"data:image/png;base64,{self.png}" if self.png else ""


class FlipFile:
    """Appends to the file of one worker."""

    def __init__(self, path: Path) -> None:
        """Count what the file has from a candidate that was killed."""
        self.path = path
        self.kept = Counter[tuple[str, str]]()
        self.pictures = Counter[tuple[str, str]]()
        for flip in _read(path) if path.exists() else ():
            self.kept[flip.champion, flip.candidate] += 1
            self.pictures[flip.champion, flip.candidate] += bool(flip.png)

    def wants(self, champion: str, candidate: str, pictures: int, asked: int) -> bool:
        """Whether there is room for another image with these labels, after `asked` that are about to be appended."""
        if self.kept.total() + asked >= MOST:
            return False
        pair = champion, candidate
        return (self.pictures[pair] if pictures else self.kept[pair]) + asked < (pictures or HASHES)

    def append(self, flips: Sequence[ShadowFlip]) -> None:
        """Write flips to the end of the file.

        Raises:
            OSError: the disk fails. An incomplete line is ignored when the file is read.
        """
        if flips:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(b"".join(orjson.dumps(asdict(flip)) + b"\n" for flip in flips))
        for flip in flips:
            self.kept[flip.champion, flip.candidate] += 1
            self.pictures[flip.champion, flip.candidate] += bool(flip.png)


def describe_image(image: Images, with_picture: bool) -> tuple[str, str]:
    """The hash of one image, (1,), and its picture as Base64 or ""."""
    picture = base64.b64encode(write_seen(image[0])).decode() if with_picture else ""
    return f"{int(hash_images(image)[0]):016x}", picture


def read_flips(shadow: Shadow, champion: str) -> list[ShadowFlip]:
    """The kept flips of a shadow beside one champion, oldest first. Damaged lines are left out."""
    found = [flip for path in pair_folder(shadow, champion).glob("*.jsonl") for flip in _read(path)]
    return sorted(found, key=lambda one: one.time)


def _read(path: Path) -> Iterator[ShadowFlip]:
    with path.open("rb") as file:
        for line in file:
            try:
                yield read_record(ShadowFlip, line, path.name, ModelError)
            except ModelError:
                continue
