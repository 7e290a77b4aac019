"""Classifying photos from the command line."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion.cli.arguments import Json, ModelOption
from fashion.cli.tables import is_rich

if TYPE_CHECKING:
    from components.contract import Predictions

WIDTH = 24  # characters of a bar that stands for 100 %
EIGHTHS = " ▏▎▍▌▋▊▉█"


def predict(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Picture files.")],
    model: ModelOption = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show per photo.")] = 3,
    as_json: Json = False,
) -> None:
    """Classify photos, and show the likeliest classes of each."""
    import fashion

    found = fashion.classify(*photos, model=model)
    rows = [_describe(photo, found, place, top) for place, photo in enumerate(photos)]
    if as_json:
        print(json.dumps({"model": found.model, "predictions": rows}))
        return
    for row in rows:
        notes = ["unknown: unlike everything that the model was trained on"] if row["known"] is False else []
        notes += [] if row["sure"] else ["below the threshold: the model abstains"]
        print(row["file"] + (f"  ({'; '.join(notes)})" if notes else ""))
        width = max(len(one["name"]) for one in row["classes"])
        for one in row["classes"]:
            print(f"  {one['name']:{width}}  {one['probability']:6.1%}  {draw_bar(one['probability'])}")


def _describe(photo: Path, found: "Predictions", place: int, top: int) -> dict[str, Any]:
    likeliest = found.probabilities[place].argsort()[::-1][:top].tolist()
    return {
        "file": str(photo),
        "name": found.names[place],
        "confidence": float(found.confidences[place]),
        "sure": bool(found.sure[place]),
        "known": None if found.known is None else bool(found.known[place]),
        "familiarity": None if found.familiarity is None else float(found.familiarity[place]),
        "classes": [
            {"name": found.classes[label], "probability": float(found.probabilities[place, label])}
            for label in likeliest
        ],
    }


def draw_bar(share: float) -> str:
    """A bar of up to 24 characters: in eighths on a terminal, of # elsewhere."""
    if not is_rich():
        return "#" * round(share * WIDTH)
    whole, rest = divmod(round(share * WIDTH * 8), 8)
    return ("█" * whole + EIGHTHS[rest]).rstrip()
