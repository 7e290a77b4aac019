"""Settings of the probation, each with its rationale; docs/probation.md has their measured effect."""

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.settings import read_settings

LOOKS = 10  # the number of times that a model is judged, at most
BEFORE_MINUTES = 5  # of those, the ones before the minutes are over


class ProbationSettings(BaseSettings):
    """How long a promoted model is on probation, and how often a good one may be rolled back.

    Each field is an environment variable with the prefix FASHION_PROBATION_.
    """

    model_config = SettingsConfigDict(env_prefix="FASHION_PROBATION_", frozen=True, allow_inf_nan=False)

    minutes: float = pydantic.Field(default=120.0, ge=0, le=10_080)
    """Minimum length, minutes; 0 turns the probation off. Two hours end before people come to work after a nightly
    training, and a longer probation finds little more: most faults show within minutes."""
    requests: int = pydantic.Field(default=1_000, ge=1)
    """Minimum number of answered requests. With fewer, the probation goes on, up to 16 times its minutes."""
    chance: float = pydantic.Field(default=0.0005, gt=0, lt=1)
    """Share of probations that roll back a model that is as good as the one before, over all looks and measures. One in
    2,000 is one in five years of nightly promotions."""

    def looks(self) -> tuple[float, ...]:
        """When the model is judged, seconds after the promotion. Each look doubles the time, so that a model that
        fails is found early, and a few looks cover a long probation."""
        return tuple(self.minutes * 60 * 2.0 ** (look - BEFORE_MINUTES) for look in range(LOOKS))


def load_probation_settings() -> ProbationSettings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a variable has an invalid value; the message names it.
    """
    return read_settings(ProbationSettings)
