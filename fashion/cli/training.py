"""From raw data to a model: ingest, validate, train, presets."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.errors import FashionError
from fashion.cli.arguments import MODEL, Json, SampleFallback, Source, complete_tag, resume_command
from fashion.cli.progress import waiting
from fashion.cli.tables import print_next, program

if TYPE_CHECKING:
    from flows.training import TrainingResult


def ingest(
    source: Source = "auto",
    sample_fallback: SampleFallback = False,
    image: Annotated[
        str | None,
        typer.Option(
            envvar="FASHION_IMAGE",
            metavar="HxWxC",
            help="Image size of your catalogue, such as 64x64x3 [default: 28x28x1].",
        ),
    ] = None,
    preparation: Annotated[
        str,
        typer.Option(
            envvar="FASHION_PREPARATION", help="How photos become images: garment or letterbox [default: letterbox]."
        ),
    ] = "",
    network: Annotated[
        str,
        typer.Option(
            envvar="FASHION_NETWORK",
            help="Frozen network that turns photos into vectors: efficientnet-lite0, torchvision/MODEL or a file.",
        ),
    ] = "",
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder that a table's paths are relative to [default: its own]."),
    ] = None,
    group: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column whose equal values stay in one split, such as the product.")
    ] = "",
    allow_small: Annotated[bool, typer.Option("--allow-small", help="Accept classes of 2 to 9 pictures.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Start the catalogue over from this source. The live model keeps serving.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write raw data as Parquet files and a manifest. Ingesting the same data again changes nothing.

    With FASHION_CATALOGUE=NAME the source starts a catalogue of your own; the options from --image on apply to it.
    For Fashion-MNIST, a source without a test split is added to the training split.
    """
    from components.dataset.ingest import ingest
    from components.dataset.own.start import StartOptions
    from components.settings import parse_image

    size = parse_image(image) if image else None
    options = StartOptions(size, preparation, root, group, allow_small, replace, network)
    echo = partial(print, file=sys.stderr if as_json else sys.stdout)
    done = ingest(source, sample_fallback=sample_fallback, options=options, echo=echo)
    dataset = done.dataset
    if as_json:
        row = {"version": dataset.version, "rows": dataset.rows, "source": dataset.source, "path": str(dataset.path)}
        print(json.dumps({**row, "written": done.written, "left_out": list(done.left_out)}))
        return
    did = "wrote" if done.written else "already ingested, nothing to do:"
    print(f"{did} dataset {dataset.version}, {dataset.rows:,} rows of {dataset.source}")
    if done.added:
        print("the source has no test split: its examples were added to the training split of the current dataset")
    if done.left_out:
        print(f"not read: {len(done.left_out)} ({', '.join(done.left_out[:10])})")
    print(dataset.path)


def validate(as_json: Json = False) -> None:
    """Check every row of the current dataset with Great Expectations and write the validation page."""
    from components.dataset.manifest import current_dataset
    from components.dataset.profiling import describe_bounds, read_bounds
    from components.dataset.validate import validate
    from components.errors import DatasetError
    from components.settings import load_settings

    dataset = current_dataset(load_settings().datasets_dir)
    if dataset is None:
        raise DatasetError("nothing to validate; run 'fashion ingest' first")
    with waiting("validating"):
        validated = validate(dataset)
    if as_json:
        row = {"dataset": dataset.version, "rows": dataset.rows, "expectations": validated.expectations}
        print(json.dumps({**row, "docs": str(validated.docs)}))
        return
    name = f"{dataset.version} ({dataset.source})"
    print(f"dataset {name}: {validated.expectations} expectations met by {dataset.rows:,} rows")
    print(f"validation page: {validated.docs}")
    if bounds := read_bounds(dataset.path.parent, dataset.contract):  # Fashion-MNIST's are in its code
        print(f"bounds for later versions:\n{describe_bounds(bounds)}")


def train(
    preset: Annotated[
        str | None,
        typer.Option(help="Preset, see 'fashion presets' [default: dense-128; photos for a catalogue of your own]."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed [default: the preset's].")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the training images, before any untied_epochs [default: the preset's]."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step [default: the preset's].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate [default: the preset's].")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of the preset, as JSON; repeatable."),
    ] = None,
    source: Source = "auto",
    sample_fallback: SampleFallback = False,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Make the model live if it passes the gate and the canary.")
    ] = True,
    start_from: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            autocompletion=complete_tag,
            help=f"{MODEL} to continue from, or none [default: live if the classes changed].",
        ),
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Resume the same training where it stopped.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model: ingest, validate, train and evaluate, save, promote.

    Starts a temporary Prefect server, in about ten seconds, unless PREFECT_API_URL names one.
    """
    from fashion.training import check_training, open_training
    from ops.stopping import stop

    given = {"seed": seed, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    overrides = read_fields(fields or []) | {name: value for name, value in given.items() if value is not None}
    preset, start_from = check_training(preset or "", overrides, start_from)  # before a server starts
    stop.keep("nothing was trained yet; run the same command again")
    stop.command = resume_command(source)
    with waiting("starting Prefect"):
        training = open_training()
    quiet_expected_errors()
    result = training(
        preset=preset,
        overrides=overrides,
        source=source,
        sample_fallback=sample_fallback,
        promote=promote,
        resume=resume,
        start_from=start_from,
    )
    if as_json:
        names = (
            "tag",
            "preset",
            "train_accuracy",
            "train_loss",
            "test_accuracy",
            "test_macro_f1",
            "epochs",
            "train_seconds",
            "promoted",
        )
        print(json.dumps({name: getattr(result, name) for name in names}))
    else:
        print_result(result, promote)


def presets(as_json: Json = False) -> None:
    """List the presets: layers, parameters, fields and origin of each."""
    from components.catalogues import DEFAULT
    from components.training.config import TrainConfig
    from components.training.presets import PRESETS, Preset, count_parameters

    if as_json:
        print(json.dumps({name: asdict(preset.config) for name, preset in PRESETS.items()}))
        return
    defaults = Preset("", "", TrainConfig()).fields()
    for preset in PRESETS.values():
        own = {name: value for name, value in preset.fields().items() if value != defaults[name]}
        size = f"{count_parameters(preset.config, DEFAULT.contract):,} parameters, {preset.config.describe_epochs()}"
        print(f"{preset.name}: {preset.layers(DEFAULT.contract)}, {size}")
        print(f"  {preset.origin}\n  {_list_fields(own)}\n")
    print(f"fields that a preset does not set: {_list_fields(defaults)}")
    print("fashion train --preset NAME --set FIELD=VALUE overrides any of them.")


def _list_fields(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in fields.items())


def print_result(result: "TrainingResult", promote: bool) -> None:
    """Print what a training came to, and the commands that make sense next."""
    uneven = "" if result.test_macro_f1 is None else f", macro F1 {result.test_macro_f1:.4f}"
    epochs = f"{result.epochs} epochs of {result.preset} in {result.train_seconds:.1f} s"
    print(f"""
model          {result.tag} ({"live" if result.promoted else f"not live: {result.verdict}"})
test accuracy  {result.test_accuracy:.4f}{uneven} ({epochs})
dataset        {result.dataset_version} ({result.source})
validation     {result.docs}
report         {result.report}""")
    if result.source == "sample":
        print("\nSAMPLE: trained on synthetic images, not on real data; set FASHION_SOURCE to the archives.")
    print_next(next_steps(result, promote))


def next_steps(result: "TrainingResult", promote: bool) -> Iterator[tuple[str, str]]:
    """What makes sense after a training: a model that went live is served, one that was rejected is looked at."""
    from components.catalogue_in_use import DEFAULT, VARIABLE, catalogue_in_use
    from ops.settings_file import given

    own = "" if (name := catalogue_in_use()) == DEFAULT or VARIABLE in given else f"{VARIABLE}={name} "
    fashion = f"{own}{program()}"
    if result.promoted or result.skipped:
        yield f"{fashion} serve", f"serve it: web page and API on http://127.0.0.1:{os.environ.get('PORT') or 3000}"
        yield f"{fashion} predict PHOTO...", "classify photos"
        yield f"{fashion} score IN.csv OUT.csv", "classify a catalogue"
        yield f"{fashion} models", "list the models, and which is live"
    elif not promote:
        yield f"{fashion} report latest", "look at its report"
        yield f"{fashion} promote latest", "make it live if it passes the gate and the canary"
    else:
        yield f"{fashion} verdict latest", "see which check failed"
        yield f"{fashion} report latest", "compare it with the champion"
        yield f"{fashion} promote latest --force --reason WHY", "skip the gate"


def read_fields(fields: list[str]) -> dict[str, Any]:
    """Read FIELD=VALUE pairs: the value as JSON, else as a string; 512,256 is a list."""
    from components.errors import SettingsError

    found = {}
    for text in fields:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--set {text}: expected FIELD=VALUE")
        try:
            found[name] = json.loads(f"[{value}]" if "," in value and not value.startswith("[") else value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def quiet_expected_errors() -> None:
    """Have Prefect log expected errors in one line, as the command line does."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_expected_traceback)


def _without_expected_traceback(record: logging.LogRecord) -> bool:
    """The message of an expected error is enough; Prefect would add a page of its own stack."""
    if record.exc_info and isinstance(record.exc_info[1], FashionError | OSError):
        record.exc_info = None
    return True
