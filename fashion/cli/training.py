"""From raw data to a model: ingest, validate, train, presets."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.errors import FashionError
from fashion.cli.arguments import Json, SampleFallback, Source, resume_command

if TYPE_CHECKING:
    from flows.training import TrainingResult


def ingest(
    source: Source = "auto",
    sample_fallback: SampleFallback = False,
    image: Annotated[
        str | None,
        typer.Option(envvar="FASHION_IMAGE", help="Of your catalogue: HEIGHTxWIDTHxCHANNELS, as 64x64x3 [28x28x1]."),
    ] = None,
    preparation: Annotated[
        str, typer.Option(envvar="FASHION_PREPARATION", help="How its photos become images [letterbox].")
    ] = "",
    root: Annotated[Path | None, typer.Option(help="Where the paths of a table begin [its folder].")] = None,
    group: Annotated[str, typer.Option(metavar="COLUMN", help="Rows alike in it stay in one split: a product.")] = "",
    allow_small: Annotated[bool, typer.Option("--allow-small", help="Take classes of 2 to 9 pictures too.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Start the catalogue anew; the live model stays.")] = False,
) -> None:
    """Write raw data as Parquet parts and a manifest. The same input again is a no-op.

    With FASHION_CATALOGUE=NAME the source starts a catalogue of your own (docs/own-catalogue.md); the options from
    --image on are for such a one. For Fashion-MNIST, images without a test split are added to the training split.
    """
    from components.dataset.ingest import ingest
    from components.dataset.own.start import StartOptions
    from components.settings import parse_image

    size = parse_image(image) if image else None
    options = StartOptions(size, preparation, root, group, allow_small, replace)
    done = ingest(source, sample_fallback=sample_fallback, options=options, echo=print)
    did = "wrote" if done.written else "already ingested, nothing to do:"
    print(f"{did} dataset {done.dataset.version}, {done.dataset.rows:,} rows of {done.dataset.source}")
    if done.added:
        print("the source has no test split: its examples are added to the training split of the dataset in use")
    if done.left_out:
        print(f"not read: {len(done.left_out)} ({', '.join(done.left_out[:10])})")
    print(done.dataset.path)


def validate() -> None:
    """Check every row of the current dataset with Great Expectations and write Data Docs."""
    from components.dataset.manifest import current_dataset
    from components.dataset.profiling import describe_bounds, read_bounds
    from components.dataset.validate import validate
    from components.errors import DatasetError
    from components.settings import load_settings

    dataset = current_dataset(load_settings().datasets_dir)
    if dataset is None:
        raise DatasetError("nothing to validate; 'fashion ingest' comes first")
    validated = validate(dataset)
    name = f"{dataset.version} ({dataset.source})"
    print(f"dataset {name}: {validated.expectations} expectations met by {dataset.rows:,} rows")
    print(f"Data Docs: {validated.docs}")
    if bounds := read_bounds(dataset.path.parent, dataset.contract):  # Fashion-MNIST's are in its code
        print(f"what later versions are held to:\n{describe_bounds(bounds)}")


def train(
    preset: Annotated[str, typer.Option(help="The recipe.")] = "dense-128",
    seed: Annotated[int | None, typer.Option(help="Of the weights, the split and the order [the preset's].")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images [the preset's].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step [the preset's].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest of the schedule [the preset's].")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other field, as JSON; may be given again. See presets."),
    ] = None,
    source: Source = "auto",
    sample_fallback: SampleFallback = False,
    promote: Annotated[bool, typer.Option(help="Put the model live if the gate lets it.")] = True,
    start_from: Annotated[
        str,
        typer.Option(metavar="TAG", help="A model to go on from, live, or none [live if the classes changed since]."),
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same training where it was stopped.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the training flow: ingest, validate, train and evaluate, save, promote.

    Without PREFECT_API_URL a temporary Prefect server is started, which takes ten seconds.
    """
    from components.files import require_writable
    from components.registry.store import check_stored, home
    from components.settings import load_settings
    from components.training.presets import configure
    from components.training.starting import ANEW, LIVE

    given = {"seed": seed, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    overrides = read_fields(fields or []) | {name: value for name, value in given.items() if value is not None}
    configure(preset, overrides)  # bad settings end here, before a server is started
    require_writable(load_settings().data_dir, home())
    if start_from not in {"", LIVE, ANEW}:
        check_stored(start_from)
    from ops.server import use_server
    from ops.stopping import stop

    stop.keep("nothing is trained yet; the same command starts again")
    stop.command = resume_command(source)
    server = use_server()
    from flows.training import training

    server.wait()
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
        print(_told(result))


def presets(as_json: Json = False) -> None:
    """List the recipes: layers, parameters, every field, and where each comes from."""
    from components.catalogues import DEFAULT
    from components.training.config import TrainConfig
    from components.training.presets import PRESETS, Preset, count_parameters

    if as_json:
        print(json.dumps({name: asdict(preset.config) for name, preset in PRESETS.items()}))
        return
    defaults = Preset("", "", TrainConfig()).fields()
    for preset in PRESETS.values():
        own = {name: value for name, value in preset.fields().items() if value != defaults[name]}
        parameters = count_parameters(preset.config, DEFAULT.contract)
        print(f"{preset.name}: {preset.layers(DEFAULT.contract)}, {parameters:,} parameters")
        print(f"  {preset.origin}\n  {_list_fields(own)}\n")
    print(f"What a recipe does not name: {_list_fields(defaults)}")
    print("fashion train --preset NAME --set FIELD=VALUE changes any of them.")


def _list_fields(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in fields.items())


def _told(result: "TrainingResult") -> str:
    from components.catalogue_in_use import DEFAULT, VARIABLE, catalogue_in_use

    sample = "\n\nSAMPLE: trained on drawn stand-ins, not on real data; set FASHION_SOURCE to the archives."
    live = "live" if result.promoted else f"not live: {result.verdict}"
    uneven = "" if result.test_macro_f1 is None else f", macro F1 {result.test_macro_f1:.4f},"
    training = f"{result.epochs} epochs of {result.preset} in {result.train_seconds:.1f} s"
    own = "" if (name := catalogue_in_use()) == DEFAULT else f"{VARIABLE}={name} "
    return f"""
model          {result.tag} ({live})
test accuracy  {result.test_accuracy:.4f}{uneven} after {training}
dataset        {result.dataset_version} ({result.source})
Data Docs      {result.docs}
report         {result.report}{sample if result.source == "sample" else ""}

next
  {own}make serve                                  the web page and API on http://127.0.0.1:3000
  {own}.venv/bin/fashion score INPUT.csv OUT.csv   classify a file
  {own}.venv/bin/fashion models                    what is in the store, and what is live"""


def read_fields(fields: list[str]) -> dict[str, Any]:
    """FIELD=VALUE, the value as JSON; what is not JSON is a word, and 512,256 is a list."""
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
    """Let Prefect log them in one line, as the command line tells them."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_expected_traceback)


def _without_expected_traceback(record: logging.LogRecord) -> bool:
    """A expected error says all in its message; Prefect would print a page of its own stack below it."""
    if record.exc_info and isinstance(record.exc_info[1], FashionError | OSError):
        record.exc_info = None
    return True
