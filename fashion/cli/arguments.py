"""Arguments and options that several commands share."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from components.contract import Dataset, ModelCard

ALIASES = {"live": "the live model", "previous": "the one before it", "latest": "the newest of the store"}


def resolve(context: typer.Context, name: str | None) -> str | None:
    """The exact tag of the model that a person named; shell completion resolves nothing."""
    if name is None or context.resilient_parsing:
        return None
    from components.registry.names import resolve_tag

    return resolve_tag(name)


def complete_tag(incomplete: str) -> list[tuple[str, str]]:
    """What a shell offers for a model. It reads folder names alone: importing BentoML takes a second."""
    store = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "models"
    tags = sorted(f"{path.parent.name}:{path.name}" for path in store.glob("*-mlp/*") if path.is_dir())
    offered = [*ALIASES.items(), *((tag, "") for tag in tags)]
    return [(name, what) for name, what in offered if name.startswith(incomplete)]


def model_option(about: str) -> Any:
    """An option that takes the name of a model; `about` is its help."""
    return typer.Option(metavar="MODEL", callback=resolve, autocompletion=complete_tag, help=about)


MODEL = "Model: live, previous, latest, a tag, or the start of one"
Source = Annotated[
    str,
    typer.Option(
        envvar="FASHION_SOURCE",
        help="Raw data: auto, download, sample, or a path (class folders, a table, IDX files, .npz).",
    ),
]
SampleFallback = Annotated[
    bool, typer.Option("--sample-fallback", help="Use a synthetic sample, marked as such, if no data can be reached.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on standard output, errors included.")]
Tag = Annotated[str, typer.Argument(metavar="MODEL", callback=resolve, autocompletion=complete_tag, help=f"{MODEL}.")]
OptionalTag = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", callback=resolve, autocompletion=complete_tag, help=f"{MODEL} [default: live]."),
]
ModelOption = Annotated[str | None, model_option(f"{MODEL} [default: live].")]
Reason = Annotated[str, typer.Option(help="Reason, kept in the history.")]


def resume_command(source: str = "") -> str:
    """This process's command line with --resume, and with the source that the environment gave."""
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
        raise DatasetError(f"{error} (this command needs the images of the model's own dataset)") from error
