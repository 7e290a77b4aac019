"""Do images look like pictures of garments? Great Expectations looks, at a frame of scalars an image.

What cannot be right is told apart from what is only unusual.

    python -m components.scoring.expectations    looks at what it is sent: 8 bytes of a size, then pixels, 784 an image
"""

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contract import IMAGE_SHAPE, PIXELS, Images

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.expectations import Expectation


@dataclass(frozen=True)
class Bounds:
    """What images are like. Beside a bound: Fashion-MNIST's own extremes, of the images or of 100 of one class."""

    edge: float = 128.0  # mean of the outermost pixels; 0 to 107.5, inverted 147.5 to 255
    deviation: float = 0.01  # of an image's pixels; 16.5 to 121.3, of a blank one 0, however dark the others are
    peak: float = 2.0  # the brightest pixel of all rows; 255, of pixels scaled to 0 to 1 1
    wrong: float = 0.5  # share of the rows that must be within `edge` and `deviation`
    unusual: float = 0.98  # likewise, and fewer are told
    copies: float = 0.05  # share of rows that an earlier row is like, pixel by pixel; 0
    mean_peak: tuple[float, float] = (160.0, 255.0)  # 254.8 to 255; of phone photos 189
    mean_mean: tuple[float, float] = (25.0, 115.0)  # 30.0 to 107.3
    mean_ink: tuple[float, float] = (0.22, 0.74)  # share of pixels that are not black; 0.28 to 0.67
    mean_deviation: tuple[float, float] = (50.0, 105.0)  # 58.8 to 96.3


BOUNDS = Bounds()


@dataclass(frozen=True)
class Finding:
    """An expectation that the rows do not meet."""

    told: str  # what was found, and what may be the reason
    is_wrong: bool  # whether nothing sensible can come of it


def check_images(images: Images, bounds: Bounds = BOUNDS) -> tuple[Finding, ...]:
    """What is wrong with images, or unusual.

    Args:
        images: uint8 (n, 28, 28), n at least 1.
        bounds: what is usual.
    """
    import great_expectations as gx

    batch = _open_context().data_sources.add_pandas("input").add_dataframe_asset("rows").add_batch_definition("first")
    suite = gx.ExpectationSuite("input", expectations=_expectations(bounds))
    result = batch.get_batch({"dataframe": to_frame(images)}).validate(suite)
    missed = [_describe(one) for one in result.results if not one.success]
    wrong = [one for one in missed if one.is_wrong]
    return tuple(wrong[:1] or missed)  # one reason for what is wrong brings the others with it


def _open_context() -> "EphemeralDataContext":
    """A context in memory that writes nothing and tells nobody."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def to_frame(images: Images) -> "pd.DataFrame":
    """The scalars that the expectations look at, a row an image: mean, deviation, ink, edge, peak, copy."""
    import pandas as pd

    flat = images.reshape(-1, PIXELS)
    border = np.concatenate([images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], axis=1)
    return pd.DataFrame(
        {
            "mean": flat.mean(axis=1),
            "deviation": flat.std(axis=1, dtype=np.float32),
            "ink": np.count_nonzero(flat, axis=1) / PIXELS,
            "edge": border.mean(axis=1),
            "peak": flat.max(axis=1, initial=0),
            "copy": pd.Series([row.tobytes() for row in flat]).duplicated().astype(float),
        }
    )


def _expectations(bounds: Bounds) -> "list[Expectation]":
    """Every bound has two ends: infinity passes a lone minimum."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    critical, warning = FailureSeverity.CRITICAL, FailureSeverity.WARNING

    def each(severity: FailureSeverity, column: str, low: float, high: float, told: str) -> "Expectation":
        mostly = bounds.wrong if severity == critical else bounds.unusual
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, mostly=mostly, severity=severity, meta={"told": told}
        )

    def mean(column: str, low: float, high: float, told: str) -> "Expectation":
        told = f"{told} is {{found:.4g}}, usually {low:g} to {high:g}"
        return gxe.ExpectColumnMeanToBeBetween(
            column=column, min_value=low, max_value=high, severity=warning, meta={"told": told}
        )

    blank = "{found:.0f}% of the first rows are of one colour, black or blank"
    bright = "{found:.0f}% of the first rows have a bright border; black is background here: 255 minus pixel turns them"
    dark = "no pixel of the first rows is above {found:.0f}; pixels are 0 to 255, so multiply those of 0 to 1 by 255"
    return [
        each(critical, "deviation", bounds.deviation, 127.5, blank),
        gxe.ExpectColumnMaxToBeBetween(
            column="peak", min_value=bounds.peak, max_value=255, severity=critical, meta={"told": dark}
        ),
        each(critical, "edge", 0, bounds.edge, bright),
        each(warning, "deviation", bounds.deviation, 127.5, blank),
        each(warning, "edge", 0, bounds.edge, bright),
        mean("copy", 0, bounds.copies, "the share of the first rows that repeat an earlier one"),
        mean("peak", *bounds.mean_peak, "the brightest pixel of an image, on average,"),
        mean("mean", *bounds.mean_mean, "the average pixel"),
        mean("ink", *bounds.mean_ink, "the share of pixels that are not black"),
        mean("deviation", *bounds.mean_deviation, "the contrast (standard deviation) of an image, on average,"),
    ]


def _describe(result: Any) -> Finding:
    config, found = result.expectation_config, result.result
    value = found["unexpected_percent"] if "unexpected_percent" in found else found["observed_value"]
    return Finding(config.meta["told"].format(found=value), config.severity == "critical")


def main() -> None:
    """Look at whatever images come on standard input, until its end."""
    import great_expectations  # noqa: F401, before anything is there to look at

    asked, answers, sys.stdout = sys.stdin.buffer, sys.stdout, sys.stderr
    while size := int.from_bytes(asked.read(8), "little"):
        pixels = np.frombuffer(asked.read(size), np.uint8)
        found = [asdict(finding) for finding in check_images(pixels.reshape(-1, *IMAGE_SHAPE))]
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
