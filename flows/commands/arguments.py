"""What several commands take."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from components.contract import Dataset, ModelCard

Source = Annotated[
    str,
    typer.Option(
        envvar="FASHION_SOURCE",
        help="auto, download, sample, or a path: IDX files, labelled CSV or Parquet, or a folder for each class.",
    ),
]
SampleFallback = Annotated[
    bool, typer.Option("--sample-fallback", help="Where no data can be reached, go on with a drawn sample, marked so.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else on standard output.")]
Tag = Annotated[str, typer.Argument(help="An exact tag, fashion-mlp:<version>; 'fashion models' lists them.")]


def dataset_of(card: "ModelCard") -> "Dataset":
    """The dataset that a model was trained on.

    Raises:
        DatasetError: it is not on this disk.
    """
    from components import manifest
    from components.errors import DatasetError
    from components.settings import load_settings

    try:
        return manifest.dataset_of(load_settings().datasets_dir, card.dataset_version)
    except DatasetError as error:
        raise DatasetError(f"{error} (the images of the model's own dataset are needed)") from error
