"""Showing on which images a model is weaker."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion.cli.arguments import Json, OptionalTag, dataset_of
from fashion.cli.progress import waiting
from fashion.cli.tables import print_table

if TYPE_CHECKING:
    from components.evaluation.slices import Slice, Slices

COLUMNS = ("SLICE", "IMAGES", "ACCURACY", "95 % INTERVAL", "BY CLASS", "NOT SURE", "VERDICT")
MOST = 15  # slices printed; the page and --json have all


def slices(
    tag: OptionalTag = None,
    scored: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output of 'fashion score --keep' to slice instead of the test images."),
    ] = None,
    truth: Annotated[str, typer.Option(metavar="COLUMN", help="Column of FILE with the true labels.")] = "",
    by: Annotated[
        list[str], typer.Option(metavar="COLUMNS", help="Columns of FILE, such as brand,season [default: all kept].")
    ] = [],  # noqa: B006
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="HTML page to write.")] = None,
    as_json: Json = False,
) -> None:
    """Show on which slices of images a model is weaker: by class, brightness, label source, or columns of your own."""
    from components.errors import SettingsError
    from components.evaluation.slices_page import write_slices_page
    from components.files import require_writable

    if bool(scored) != bool(truth) or (by and not scored):
        raise SettingsError("--scored FILE and --truth COLUMN belong together, and --by needs both")
    if scored and tag:
        raise SettingsError(f"found a model and --scored; expected one of them, because {scored} names its model")
    if html:
        require_writable(html.parent)
    with waiting("measuring slices"):
        model, name, found, notes = _slice_scored(scored, truth, by) if scored else _slice_model(tag)
    if html:
        write_slices_page(html, name, found, notes)
    if as_json:
        print(json.dumps({"tag": model, "slices": slices_to_json(found), "notes": notes}))
        return
    print(name)
    for one in found:
        _print_slices(one)
    print(*notes, *([str(html)] if html else []), sep="\n", end="\n" if notes or html else "")


def slices_to_json(found: "Sequence[Slices]") -> list[dict[str, Any]]:
    """The slices as JSON values."""
    return [asdict(one) for one in found]


def _slice_model(tag: str | None) -> "tuple[str, str, Sequence[Slices], Sequence[str]]":
    from components.evaluation.model_slices import slice_model
    from components.registry.champion import load_model

    model = load_model(tag)
    found = slice_model(model, dataset_of(model.card))
    return model.tag, model.tag, found.found, found.notes


def _slice_scored(path: Path, truth: str, by: list[str]) -> "tuple[str, str, Sequence[Slices], Sequence[str]]":
    from components.evaluation.scored import slice_scored
    from components.monitoring.drift.scored import model_of
    from components.registry.store import describe_stored
    from fashion.cli.scoring import columns_of

    tag = model_of(path)
    found = slice_scored(path, describe_stored(tag).contract, truth, columns_of(by))
    return tag, f"{path.name}, scored by {tag}", [found], ()


def _print_slices(found: "Slices") -> None:
    low, high = found.interval
    overall = f"accuracy {found.accuracy:.4f} ({low:.4f} to {high:.4f}, 95 %)"
    print(f"\n{found.images:,} {found.on}: {overall}, not sure of {found.abstained:.1%}")
    print(*_verdict(found), sep="\n")
    if found.slices:
        print_table([_line(one) for one in (*found.slices[:MOST], *found.pairs[:MOST])], COLUMNS)
    if (more := max(len(found.slices) - MOST, 0) + max(len(found.pairs) - MOST, 0)) > 0:
        print(f"and {more:,} more; --html FILE and --json have all")
    for note in found.notes:
        print(note)


def _verdict(found: "Slices") -> Iterator[str]:
    if not found.slices:
        yield "no slice is large enough"
    elif found.weaker:
        yield f"{len(found.weaker):,} of {len(found.slices):,} slices are weaker than chance explains"
    else:
        yield f"none of {len(found.slices):,} slices is weaker than chance explains"
    if found.pairs_tested:
        yield f"{len(found.pairs):,} of {found.pairs_tested:,} pairs are weaker than the rest of both slices"


def _line(one: "Slice") -> tuple[str, ...]:
    low, high = one.interval
    shares = (f"{one.accuracy:.1%}", f"{low:.1%} to {high:.1%}", f"{one.by_classes:.1%}", f"{one.abstained:.1%}")
    return one.name, f"{one.images:,}", *shares, "weaker" if one.weaker else ""
