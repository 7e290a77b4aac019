"""Settings of the drift check, each with its rationale; docs/drift.md has their measured effect."""

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.settings import read_settings


class DriftBounds(BaseSettings):
    """How far a window of traffic may differ from the reference, and how many windows must drift.

    Each field is an environment variable with the prefix FASHION_DRIFT_. A distance is the share of images that would
    have to change for the window to match the reference.
    """

    model_config = SettingsConfigDict(env_prefix="FASHION_DRIFT_", frozen=True, allow_inf_nan=False)

    shift: float = pydantic.Field(default=0.1, ge=0, le=1)
    """Maximum distance of mean, ink, edge and confidence from test images of the same predicted classes, 0 to 1."""
    not_sure: float = pydantic.Field(default=0.1, ge=0, le=1)
    """Maximum distance of the abstention rate from the same reference, 0 to 1."""
    classes: float = pydantic.Field(default=0.4, ge=0, le=1)
    """Maximum distance of the predicted-class distribution, 0 to 1. Wider, because it changes with hour and season, and
    that alone makes no answer worse."""
    chance: float = pydantic.Field(default=0.01, gt=0, lt=1)
    """Significance level: maximum share of windows that drift by chance alone, over all features."""
    min_images: int = pydantic.Field(default=200, ge=30)
    """Minimum number of distinct images per window. With fewer, chance alone reaches the bounds above."""
    windows: int = pydantic.Field(default=4, ge=1)
    """Number of newest windows to evaluate."""
    drifting: int = pydantic.Field(default=3, ge=1)
    """Number of these windows that must drift. One upload of a thousand odd pictures fills a single window and is no
    reason to retrain."""

    @pydantic.model_validator(mode="after")
    def _fit(self) -> "DriftBounds":
        if self.drifting > self.windows:
            limit = f"{self.windows}, the number of windows (FASHION_DRIFT_WINDOWS)"
            raise ValueError(f"FASHION_DRIFT_DRIFTING: found {self.drifting}, expected at most {limit}")
        return self


def load_bounds() -> DriftBounds:
    """Read the settings from the environment.

    Raises:
        SettingsError: a variable has an invalid value; the message names it.
    """
    return read_settings(DriftBounds)
