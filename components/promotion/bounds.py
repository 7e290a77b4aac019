"""Settings of the evaluation gate, each with its rationale."""

from typing import Annotated

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.contract import DataContract
from components.errors import SettingsError
from components.settings import read_settings

Share = Annotated[float, pydantic.Field(ge=0, le=1, allow_inf_nan=False)]


class GateBounds(BaseSettings):
    """How much worse than the champion a challenger may be, and what every model must reach.

    Each field is an environment variable with the prefix FASHION_GATE_. The default margins apply to 10,000 test images
    and widen on fewer (`components.promotion.margins`); a margin that you set is used unchanged. "Between seeds" is the
    standard deviation of `dense-128` over eight training runs that differ only in their seed (`benchmarks.gate`).
    """

    model_config = SettingsConfigDict(env_prefix="FASHION_GATE_", frozen=True, allow_inf_nan=False)

    margin: float = pydantic.Field(default=0.005, ge=0, le=1)
    """Accuracy, 0 to 1. Between seeds: 0.004. 10,000 images resolve a difference of 0.003 to 0.005, so a smaller margin
    would reject equal models."""
    confidence: float = pydantic.Field(default=0.95, gt=0.5, lt=1)
    """Confidence level of the two-sided interval of the accuracy difference. At 0.95, about one in forty challengers
    that are worse by exactly the margin passes."""
    min_gain: float = pydantic.Field(default=0.0, ge=0, le=1)
    """Required accuracy gain. 0: an equal model passes, because newer data is worth having."""
    f1_margin: float = pydantic.Field(default=0.02, ge=0, le=1)
    """Per-class F1, and macro F1 if the classes are imbalanced. Between seeds: 0.002 to 0.012 per class."""
    f1_margins: dict[str, Share] | None = None
    """Class name -> its own F1 margin. None: the catalogue's."""
    loss_margin: float = pydantic.Field(default=0.02, ge=0)
    """Cross-entropy of the served probabilities, nats. Between seeds: 0.006."""
    calibration_margin: float = pydantic.Field(default=0.01, ge=0)
    """Expected calibration error, 0 to 1. Between seeds: 0.002."""
    robustness_margin: float = pydantic.Field(default=0.03, ge=0, le=1)
    """Accuracy lost under a disturbance. Between seeds: 0.012 for a shift by two pixels, 0.003 for the others."""
    unknown_margin: float = pydantic.Field(default=0.02, ge=0, le=1)
    """Share of the test images that count as unknown, above what the model states and what chance adds. Test images may
    be a little unlike the validation images: those of Fashion-MNIST have other origins than its training split."""
    min_accuracy: Share | None = None
    """None, here and in the next three: the catalogue's, or derived from the test images
    (`components.promotion.floors`)."""
    min_f1: Share | None = None
    """F1 that every class must reach."""
    max_loss: Annotated[float, pydantic.Field(ge=0)] | None = None
    """Cross-entropy of the served probabilities, nats."""
    max_calibration_error: Share | None = None
    max_bytes: int = pydantic.Field(default=140_000_000, ge=1)
    """Size of the weights. The flagship preset has 44 million bytes; a preset may have up to 128 million, plus the head
    of a catalogue with a thousand classes."""
    max_seconds: float = pydantic.Field(default=0.05, gt=0)
    """Median latency for one image. A page feels instant up to a tenth of a second."""
    max_batch_seconds: float = pydantic.Field(default=2.0, gt=0)
    """Median latency for 1,024 images, the largest request."""
    max_request_seconds: float = pydantic.Field(default=0.1, gt=0)
    """Median latency of the canary server for one image as JSON."""
    shadow_requests: int = pydantic.Field(default=0, ge=0)
    """Images that the challenger must have classified in shadow beside the live model. 0: no shadow is required,
    unless one of the next two is set."""
    max_shadow_flips: Share | None = None
    """Share of the answers that may change. None: any."""
    max_shadow_flips_per_class: Share | None = None
    """Share of the answers of each class that may change. None: any."""

    def check_classes(self, contract: DataContract) -> None:
        """Check that every per-class margin names a class of the contract.

        Raises:
            SettingsError: a margin names an unknown class.
        """
        if unknown := sorted((self.f1_margins or {}).keys() - set(contract.classes)):
            message = f"unknown class {', '.join(unknown)}; expected {', '.join(contract.classes)}"
            raise SettingsError(f"FASHION_GATE_F1_MARGINS: {message}")


def load_bounds() -> GateBounds:
    """Read the settings from the environment.

    Raises:
        SettingsError: a variable has an invalid value; the message names it.
    """
    return read_settings(GateBounds)
