"""The input sanity check: Great Expectations validates a data frame of per-image scalars.

It distinguishes images that are wrong from images that are merely unusual.

    python -m components.scoring.expectations    checks images from standard input: a line of JSON with their shape and
                                                 bounds, then their bytes
"""

import gc
import json
import math
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from components.catalogues.catalogue import InputBounds
from components.contract import Images
from components.expectations import open_context
from components.scoring.sanity import INVERT, MULTIPLY, Finding, Kind, measure

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations import Expectation


def check_images(images: Images, bounds: InputBounds) -> tuple[Finding, ...]:
    """Find what is wrong or unusual about images.

    Args:
        images: uint8 (n, height, width[, 3]), n at least 1.
        bounds: the usual range of each measure.
    """
    import great_expectations as gx

    batch = open_context().data_sources.add_pandas("input").add_dataframe_asset("rows").add_batch_definition("first")
    suite = gx.ExpectationSuite("input", expectations=_expectations(bounds))
    result = batch.get_batch({"dataframe": to_frame(images)}).validate(suite)
    missed = [_describe(one) for one in result.results if not one.success]
    wrong = [one for one in missed if one.is_wrong]
    if images.any():
        wrong.sort(key=lambda one: one.kind != "scale")  # pixels of 0 to 1 are mostly 0 as integers
    return tuple(wrong[:1] or missed)  # the first cause of wrong images usually causes the other findings too


def to_frame(images: Images) -> "pd.DataFrame":
    """The scalars to validate, one row per image: those of `measure`, and `copy`."""
    import pandas as pd

    copies = pd.Series([row.tobytes() for row in images]).duplicated()
    return pd.DataFrame({**measure(images), "copy": copies}).astype(float)


def _expectations(bounds: InputBounds) -> "list[Expectation]":
    """Every expectation has a minimum and a maximum, because infinity would pass a minimum alone."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    critical, warning = FailureSeverity.CRITICAL, FailureSeverity.WARNING

    def each(
        severity: FailureSeverity, kind: Kind, column: str, low: float, high: float, message: str
    ) -> "Expectation":
        mostly, meta = bounds.wrong if severity == critical else bounds.unusual, {"kind": kind, "message": message}
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, mostly=mostly, severity=severity, meta=meta
        )

    def mean(column: str, low: float, high: float, message: str) -> "Expectation":
        meta = {"kind": "unusual", "message": f"{message} is {{found:.4g}}, usually {low:g} to {high:g}"}
        return gxe.ExpectColumnMeanToBeBetween(
            column=column, min_value=low, max_value=high, severity=warning, meta=meta
        )

    blank = "nothing but one colour or noise in {found:.0f}% of the first rows"
    bright = f"a bright border in {{found:.0f}}% of the first rows; {INVERT}"
    dark = {"kind": "scale", "message": f"no pixel above {{found:.0f}} in the first rows; {MULTIPLY}"}
    return [
        each(critical, "blank", "content", 1, 1, blank),
        gxe.ExpectColumnMaxToBeBetween(
            column="peak", min_value=bounds.peak, max_value=255, severity=critical, meta=dark
        ),
        each(critical, "inverted", "edge", 0, bounds.edge, bright),
        each(warning, "blank", "content", 1, 1, blank),
        each(warning, "inverted", "edge", 0, bounds.edge, bright),
        mean("copy", 0, bounds.copies, "the share of the first rows that repeat an earlier one"),
        mean("peak", *bounds.mean_peak, "the brightest pixel of an image, on average,"),
        mean("mean", *bounds.mean_mean, "the average pixel"),
        mean("ink", *bounds.mean_ink, "the share of pixels that are not black"),
        mean("deviation", *bounds.mean_deviation, "the contrast (standard deviation) of an image, on average,"),
    ]


def _describe(result: Any) -> Finding:
    config, found = result.expectation_config, result.result
    value = found["unexpected_percent"] if "unexpected_percent" in found else found["observed_value"]
    return Finding(config.meta["kind"], config.meta["message"].format(found=value), config.severity == "critical")


def encode_request(images: Images, bounds: InputBounds) -> bytes:
    """Encode images and bounds for `main`."""
    head = {"shape": images.shape, "bounds": asdict(bounds)}
    return json.dumps(head).encode() + b"\n" + images.tobytes()


def main() -> None:
    """Check images from standard input until it ends."""
    gc.disable()  # collections take an eighth of the time of the import, and find nothing
    import great_expectations  # noqa: F401, ahead of the first request

    gc.enable()
    requests, answers, sys.stdout = sys.stdin.buffer, sys.stdout, sys.stderr
    while line := requests.readline():
        head = json.loads(line)
        pixels = np.frombuffer(requests.read(math.prod(head["shape"])), np.uint8)
        findings = check_images(pixels.reshape(head["shape"]), InputBounds(**head["bounds"]))
        print(json.dumps([asdict(finding) for finding in findings]), file=answers, flush=True)


if __name__ == "__main__":
    main()
