"""What several commands take."""

import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from components.contract import Dataset, ModelCard

Source = Annotated[
    str,
    typer.Option(
        envvar="FASHION_SOURCE",
        help="auto, download, sample, or a path: a folder of pictures for each class, a table, IDX files, .npz.",
    ),
]
SampleFallback = Annotated[
    bool, typer.Option("--sample-fallback", help="Where no data can be reached, go on with a drawn sample, marked so.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else on standard output.")]
Tag = Annotated[str, typer.Argument(help="An exact tag, fashion-mlp:<version>; 'fashion models' lists them.")]


def resume_command(source: str = "") -> str:
    """The command line of this process, to be typed again with --resume; with the source that the environment gave."""
    program, *arguments = sys.argv
    if source and os.environ.get("FASHION_SOURCE") and not any(one.startswith("--source") for one in arguments):
        arguments += ["--source", source]
    if "--resume" not in arguments:
        arguments.append("--resume")
    return shlex.join(["fashion" if program.endswith(".py") else program, *arguments])


def dataset_of(card: "ModelCard") -> "Dataset":
    """The dataset that a model was trained on.

    Raises:
        DatasetError: it is not on this disk.
    """
    from components.dataset import manifest
    from components.errors import DatasetError
    from components.settings import load_settings

    try:
        return manifest.dataset_of(load_settings().datasets_dir, card.dataset_version)
    except DatasetError as error:
        raise DatasetError(f"{error} (the images of the model's own dataset are needed)") from error
