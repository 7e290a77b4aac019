"""When traffic has drifted: each bound with its reason; docs/drift.md has what they were measured to do."""

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.settings import read_settings


class DriftBounds(BaseSettings):
    """What a window of traffic may differ by, and how many windows must.

    Each field is an environment variable with the prefix FASHION_DRIFT_. A distance is a share of the images: how many
    of them would have to be others for the window to look as it should.
    """

    model_config = SettingsConfigDict(env_prefix="FASHION_DRIFT_", frozen=True, allow_inf_nan=False)

    shift: float = pydantic.Field(default=0.1, ge=0, le=1)
    """Of brightness, ink, edge and confidence, each beside test images of the same predicted classes."""
    not_sure: float = pydantic.Field(default=0.1, ge=0, le=1)
    """Of the share of answers that the model is not sure of, beside the same."""
    classes: float = pydantic.Field(default=0.4, ge=0, le=1)
    """Of the mix of predicted classes. Wider, because it changes with the hour and the season, and by itself makes no
    answer worse."""
    chance: float = pydantic.Field(default=0.01, gt=0, lt=1)
    """How often a window that differs by chance alone may pass for one that does not, all features together."""
    min_images: int = pydantic.Field(default=200, ge=30)
    """Different images in a window. With fewer, chance alone reaches the bounds above."""
    windows: int = pydantic.Field(default=4, ge=1)
    """The newest so many are looked at."""
    drifting: int = pydantic.Field(default=3, ge=1)
    """So many of them must drift: one upload of a thousand odd pictures is one window, and no reason to train."""

    @pydantic.model_validator(mode="after")
    def _fit(self) -> "DriftBounds":
        if self.drifting > self.windows:
            raise ValueError(f"drifting {self.drifting} of {self.windows} windows cannot be")
        return self


def load_bounds() -> DriftBounds:
    """Read the bounds from the environment now.

    Raises:
        SettingsError: a variable whose value cannot be used, by name.
    """
    return read_settings(DriftBounds)
