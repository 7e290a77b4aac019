"""Where images are kept for review, and how many for how long: `FASHION_REVIEW_...`.

The service's supervisor reads this module, so it imports neither NumPy nor pydantic.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from components.errors import SettingsError

FEWEST, MOST = 100, 100_000  # images; a hundred, because half is a random share and some are kept for undo
LONGEST = 365  # days


@dataclass(frozen=True)
class ReviewBounds:
    """The folder of the queue, and its bounds."""

    folder: Path
    images: int = 2_000  # most images in the folder
    days: int = 14  # age at which an image that no one labelled is removed


def read_review_bounds() -> ReviewBounds | None:
    """Read `FASHION_REVIEW_DIR`, `FASHION_REVIEW_IMAGES` and `FASHION_REVIEW_DAYS`; None if no folder is named.

    Raises:
        SettingsError: a variable has an invalid value.
    """
    images = _read_whole("FASHION_REVIEW_IMAGES", ReviewBounds.images, FEWEST, MOST)
    days = _read_whole("FASHION_REVIEW_DAYS", ReviewBounds.days, 1, LONGEST)
    chosen = os.environ.get("FASHION_REVIEW_DIR", "off")
    if chosen in {"", "off"}:
        return None
    folder = Path(chosen)
    if folder.is_file():
        raise SettingsError(f"FASHION_REVIEW_DIR: found {chosen!r}, a file, expected a folder, or off")
    return ReviewBounds(folder, images, days)


def _read_whole(name: str, default: int, least: int, most: int) -> int:
    found = os.environ.get(name) or str(default)
    if not (found.isascii() and found.isdigit() and least <= int(found[:12]) <= most):
        raise SettingsError(f"{name}: found {found[:60]!r}, expected a whole number from {least} to {most:,}")
    return int(found)
