"""The gate's settings, each with its reason."""

from typing import Annotated

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.contract import DataContract
from components.errors import SettingsError
from components.settings import read_settings

Share = Annotated[float, pydantic.Field(ge=0, le=1, allow_inf_nan=False)]


class GateBounds(BaseSettings):
    """How much worse a challenger may be, and what any model must reach.

    Each field is an environment variable with the prefix FASHION_GATE_. The margins are meant for 10,000 test images,
    and are wider on fewer (`components.promotion.margins`); one that is set is taken as it is. "Between seeds" is the
    standard deviation of `dense-128` over eight trainings that differ in their seed alone (`benchmarks.gate`).
    """

    model_config = SettingsConfigDict(env_prefix="FASHION_GATE_", frozen=True, allow_inf_nan=False)

    margin: float = pydantic.Field(default=0.005, ge=0, le=1)
    """Of accuracy. Between seeds: 0.004; and 10,000 images tell a difference to 0.003 to 0.005, so that a smaller
    margin would refuse equals."""
    confidence: float = pydantic.Field(default=0.95, gt=0.5, lt=1)
    """Of the interval of that difference, two-sided: about one challenger in forty that is worse by the margin passes
    this check."""
    min_gain: float = pydantic.Field(default=0.0, ge=0, le=1)
    """Of accuracy. 0: as good is good enough, because newer data is worth having."""
    f1_margin: float = pydantic.Field(default=0.02, ge=0, le=1)
    """Of a class, and of their mean where classes are of very different sizes. Between seeds a class's F1 has a
    standard deviation of 0.002 to 0.012."""
    f1_margins: dict[str, Share] | None = None
    """Class -> its own margin; none: the catalogue's."""
    loss_margin: float = pydantic.Field(default=0.02, ge=0)
    """Of the served probabilities' cross-entropy, nats. Between seeds: 0.006."""
    calibration_margin: float = pydantic.Field(default=0.01, ge=0)
    """Of the expected calibration error. Between seeds: 0.002."""
    robustness_margin: float = pydantic.Field(default=0.03, ge=0, le=1)
    """Of the accuracy that a disturbance costs. Between seeds: 0.012 for a move by two pixels, 0.003 for the others."""
    min_accuracy: Share | None = None
    """None, as for the next three: the catalogue's, or what the test images imply (`components.promotion.floors`)."""
    min_f1: Share | None = None
    """Of every class."""
    max_loss: Annotated[float, pydantic.Field(ge=0)] | None = None
    """Nats."""
    max_calibration_error: Share | None = None
    max_bytes: int = pydantic.Field(default=140_000_000, ge=1)
    """Of weights. The flagship has 44 million; a recipe may come to 128, and a head for a thousand classes is more."""
    max_seconds: float = pydantic.Field(default=0.05, gt=0)
    """For one image, median: a page waits a tenth of a second without looking slow."""
    max_batch_seconds: float = pydantic.Field(default=2.0, gt=0)
    """For 1,024 images, the most that a request may hold."""

    max_request_seconds: float = pydantic.Field(default=0.1, gt=0)
    """For one image as JSON through the canary's server, median."""

    def check_classes(self, contract: DataContract) -> None:
        """Check that the margins are of classes that a contract has.

        Raises:
            SettingsError: one is of another.
        """
        if unknown := sorted((self.f1_margins or {}).keys() - set(contract.classes)):
            told = f"no class {', '.join(unknown)}; there are {', '.join(contract.classes)}"
            raise SettingsError(f"FASHION_GATE_F1_MARGINS: {told}")


def load_bounds() -> GateBounds:
    """Read the bounds from the environment now.

    Raises:
        SettingsError: a variable whose value cannot be used, by name.
    """
    return read_settings(GateBounds)
