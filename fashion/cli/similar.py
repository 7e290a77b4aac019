"""Finding the items of a catalogue that look like a photo."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion.cli.arguments import Json, ModelOption
from fashion.cli.help import MARKUP, Grouped, show_example
from fashion.cli.progress import waiting
from fashion.cli.tables import table_lines

if TYPE_CHECKING:
    from components.neighbours.index import Neighbour

similar = typer.Typer(
    name="similar",
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    help="Index a catalogue, and find its items that look like a photo.",
)


@similar.command(**show_example("fashion similar build catalogue.csv"))
def build(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="Table, picture, archive, folder or 'pattern*', as for score.")
    ],
    model: ModelOption = None,
    as_json: Json = False,
) -> None:
    """Index a catalogue with a model; POST /similar and 'fashion similar find' search it.

    It replaces the index before it. Build it again when another model is live.
    """
    from components.neighbours.similar import build_catalogue
    from components.readers.folders.parts import TableReading
    from components.registry.champion import load_model
    from components.settings import load_settings
    from components.storage import locate

    with waiting("indexing"):
        built = build_catalogue(load_model(model), locate(source), TableReading(), load_settings())
    if as_json:
        print(json.dumps(asdict(built)))
        return
    print(f"{built.rows:,} rows: {built.record.rows:,} indexed by {built.record.model}, {built.rejected:,} rejected")
    if built.rejected:
        print(f"the first rejected row is {built.reason}")


@similar.command(**show_example("fashion similar find boot.jpg"))
def find(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="Picture file.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="Items to show.")] = 5,
    model: ModelOption = None,
    as_json: Json = False,
) -> None:
    """Show the items of the indexed catalogue that look most like a photo, most similar first."""
    from components.neighbours.similar import open_catalogue
    from components.readers.images.photos import read_views
    from components.registry.champion import load_model
    from components.settings import load_settings
    from fashion.api import read_photo

    loaded = load_model(model)
    index = open_catalogue(loaded, load_settings())
    (found,) = index.find(loaded, read_views(read_photo(photo), loaded.contract, str(photo))[:1], count)
    items = [_describe(one) for one in found]
    if as_json:
        print(json.dumps({"model": loaded.tag, "catalogue": asdict(index.record), "similar": items}))
        return
    rows = [(one.id, one.name, f"{one.distance:.3f}") for one in found]
    print(*table_lines([("id", "class", "distance"), *rows]), sep="\n")


def _describe(one: "Neighbour") -> dict[str, Any]:
    return {"id": one.id, "row": one.row, "name": one.name, "distance": one.distance}
