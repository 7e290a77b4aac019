"""Checking recent predictions for drift."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fashion.cli.arguments import Json
from fashion.cli.tables import print_table

if TYPE_CHECKING:
    from components.evaluation.profile import Seen
    from components.monitoring.drift.check import DriftCheck
    from components.monitoring.drift.compare import Feature
    from components.monitoring.drift.windows import Window

DRIFT = 3  # the exit status; 1 is an error, 2 a wrong option
COLUMNS = ("FEATURE", "REFERENCE", "NOW", "DISTANCE", "BOUND", "CHANCE", "VERDICT")
TO_DO = """what to do
  look at recent inputs: did a camera, a supplier, or the code that prepares pictures change?
  if the pictures are right, the model is out of date: label some of them and train
  docs/drift.md explains each feature"""


def drift(
    hours: Annotated[int, typer.Option(min=1, max=24 * 31, help="Hours to look back.")] = 24,
    scored: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Check an output of 'fashion score' instead; pixels are not compared."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check a table instead, as for 'fashion score'.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML page with pictures.")] = None,
    as_json: Json = False,
) -> None:
    """Check recent predictions of the live model for drift from its test images.

    The exit status is 3 if they have drifted, and 0 if not, or if there are too few images to tell.
    """
    from components.errors import SettingsError
    from components.files import require_writable
    from components.monitoring.drift.check import check_live

    if scored and data:
        raise SettingsError("--scored and --data cannot be combined")
    if html:
        require_writable(html.parent)
    check = _check_scored(scored) if scored else _check_data(data) if data else check_live(hours)
    if html:
        from components.monitoring.drift.page import write_page

        write_page(check, html)
    if as_json:
        print(json.dumps(check.to_json()))
    else:
        _print_check(check, html)
    if check.verdict == "drift":
        sys.exit(DRIFT)


def _check_scored(path: Path) -> "DriftCheck":
    from components.monitoring.drift.check import check_batch
    from components.monitoring.drift.scored import model_of, read_scored
    from components.registry.store import describe_stored

    tag = model_of(path)
    return check_batch(tag, path, read_scored(path, describe_stored(tag).classes), ("confidence",))


def _check_data(path: Path) -> "DriftCheck":
    from components.evaluation.profile import to_seen
    from components.monitoring.drift.check import check_batch
    from components.readers.folders.opening import open_input
    from components.readers.folders.parts import TableReading
    from components.registry.champion import load_model
    from components.scoring.predict import predict_block

    model = load_model()
    table = open_input(path, TableReading(), model.contract)

    def parts() -> "Iterator[Seen]":
        for part in table.parts():
            for block in table.read(part):
                firsts = slice(None) if block.views is None else block.views.cumsum() - block.views  # as the log has it
                yield to_seen(predict_block(model, block), block.images[firsts])

    return check_batch(model.tag, path, parts())


def _print_check(check: "DriftCheck", page: Path | None) -> None:
    drifted = sum(bool(window.drifted) for window in check.judged)
    not_yet = f" ({drifted} of {check.of} windows drifted, {check.needed} must)" if 0 < drifted < check.needed else ""
    print(f"{check.verdict}{not_yet}: {check.model}, {check.source}")
    newest = check.judged[0] if check.judged else None
    if newest:
        print_table(list(map(_line, newest.features)), COLUMNS)
    else:
        images = sum(window.images for window in check.windows)
        print(f"{images:,} different images are too few to tell; see docs/drift.md")
    if check.of > 1 and check.windows:
        print(f"\nwindows, newest first; the verdict is drift if {check.needed} of the newest {check.of} drifted")
        print_table(list(map(_window_line, check.windows)))
    lines = [f"{check.repeats:.1%} of the images are repeats, which count once"]
    lines += [f"{check.others:,} images were answered by another model"] if check.others else []
    lines += [f"{check.unreadable:,} lines cannot be read"] if check.unreadable else []
    print("", *lines, *([str(page)] if page else []), sep="\n")
    if check.verdict == "drift":
        print(f"\n{TO_DO}")


def _line(feature: "Feature") -> tuple[str, ...]:
    shares = feature.name in ("not sure", "unknown", "classes")
    lines = [f"{value:.1%}" if shares else f"{value:.4g}" for value in (feature.reference, feature.now)]
    name = f"{feature.name} ({feature.most_moved})" if feature.most_moved else feature.name
    verdict = "DRIFT" if feature.drifted else "ok" if feature.distance <= feature.bound else "not significant"
    return name, *lines, f"{feature.distance:.1%}", f"{feature.bound:.0%}", f"{feature.chance:.2g}", verdict


def _window_line(window: "Window") -> tuple[str, ...]:
    from datetime import UTC, datetime

    since, until = (f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M}" for end in (window.since, window.until))
    return since, f"to {until} UTC", f"{window.images:,} images", window.verdict, ", ".join(window.drifted)
