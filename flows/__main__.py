"""The command line: `fashion` or `python -m flows`. Each command imports what it needs, so that help comes at once."""

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from components.errors import FashionError
from flows.environment import prepare

if TYPE_CHECKING:
    from components.contract import Dataset, ModelCard
    from flows.training import TrainingResult

app = typer.Typer(
    name="fashion",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Classify product photos: ingest, validate, train, promote, serve, score.",
)

STOPPED = 130  # the exit status of a command that Ctrl-C ended, as shells have it

Source = Annotated[
    str,
    typer.Option(
        envvar="FASHION_SOURCE",
        help="auto, download, sample, a folder of the four IDX archives, a labelled CSV, or images by class.",
    ),
]
SampleFallback = Annotated[
    bool, typer.Option("--sample-fallback", help="Where no data can be reached, go on with a drawn sample, marked so.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else on standard output.")]
Tag = Annotated[str, typer.Argument(help="An exact tag, fashion-mlp:<version>; 'fashion models' lists them.")]


@app.command()
def ingest(source: Source = "auto", sample_fallback: SampleFallback = False) -> None:
    """Write raw data as Parquet parts and a manifest. The same input again is a no-op.

    A CSV (label,pixel1,...,pixel784) or a folder of images by class adds training examples to the current dataset.
    """
    from components.dataset.ingest import ingest

    done = ingest(source, sample_fallback=sample_fallback)
    did = "wrote" if done.written else "already ingested, nothing to do:"
    print(f"{did} dataset {done.dataset.version}, {done.dataset.rows:,} rows of {done.dataset.source}")
    print(done.dataset.path)


@app.command()
def validate() -> None:
    """Check every row of the current dataset with Great Expectations and write Data Docs."""
    from components.dataset.validate import validate
    from components.errors import DatasetError
    from components.manifest import current_dataset
    from components.settings import load_settings

    dataset = current_dataset(load_settings().datasets_dir)
    if dataset is None:
        raise DatasetError("nothing to validate; 'fashion ingest' comes first")
    validated = validate(dataset)
    name = f"{dataset.version} ({dataset.source})"
    print(f"dataset {name}: {validated.expectations} expectations met by {dataset.rows:,} rows")
    print(f"Data Docs: {validated.docs}")


@app.command()
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
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same training where it was stopped.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the training flow: ingest, validate, train and evaluate, save, promote.

    Without PREFECT_API_URL a temporary Prefect server is started, which takes ten seconds.
    """
    from components.recipes.presets import configure

    given = {"seed": seed, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    overrides = _read_fields(fields or []) | {name: value for name, value in given.items() if value is not None}
    configure(preset, overrides)  # bad settings end here, before a server is started
    from flows.training import training

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_foreseen_traceback)
    result = training(
        preset=preset,
        overrides=overrides,
        source=source,
        sample_fallback=sample_fallback,
        promote=promote,
        resume=resume,
    )
    if as_json:
        names = (
            "tag",
            "preset",
            "train_accuracy",
            "train_loss",
            "test_accuracy",
            "epochs",
            "train_seconds",
            "promoted",
        )
        print(json.dumps({name: getattr(result, name) for name in names}))
    else:
        print(_told(result))


@app.command()
def presets(as_json: Json = False) -> None:
    """List the recipes: layers, parameters, every field, and where each comes from."""
    from components.recipes.config import TrainConfig
    from components.recipes.presets import PRESETS, Preset

    if as_json:
        print(json.dumps({name: asdict(preset.config) for name, preset in PRESETS.items()}))
        return
    defaults = Preset("", "", TrainConfig()).fields()
    for preset in PRESETS.values():
        own = {name: value for name, value in preset.fields().items() if value != defaults[name]}
        print(f"{preset.name}: {preset.layers}, {preset.parameters:,} parameters")
        print(f"  {preset.origin}\n  {_list_fields(own)}\n")
    print(f"What a recipe does not name: {_list_fields(defaults)}")
    print("fashion train --preset NAME --set FIELD=VALUE changes any of them.")


def _list_fields(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in fields.items())


@app.command()
def models(as_json: Json = False) -> None:
    """List the models of the store, oldest first."""
    from components.errors import NoLiveModel
    from components.registry.champion import live_move
    from components.registry.store import list_stored

    try:
        live = live_move().tag
    except NoLiveModel as error:
        live = None
        print(error, file=sys.stderr)
    stored = list_stored()
    for one in stored:
        if one.card is None:
            print(f"{one.tag}: {one.problem}", file=sys.stderr)
    rows = [_model_row(one.tag, one.card, one.tag == live) for one in stored if one.card]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        mark = "live" if row["live"] else ""
        told = f"{row['tag']}  {row['test_accuracy']:.4f}  {row['preset']}  {row['source']}  {row['created_at'][:19]}"
        print(f"{mark:4} {told}")


@app.command()
def promote(
    tag: Tag,
    force: Annotated[bool, typer.Option("--force", help="Past the comparison with the live model.")] = False,
    reason: Annotated[str, typer.Option(help="Kept in the history; needed with --force.")] = "",
) -> None:
    """Put a model live if the gate lets it."""
    from components.errors import PromotionRefused, SettingsError
    from components.registry.champion import promote

    if force and not reason:
        raise SettingsError("--force needs --reason, which is kept in the history")
    promotion = promote(tag, reason or "asked for", force=force)
    if not promotion.promoted:
        raise PromotionRefused(f"{tag} was refused: {promotion.verdict}")
    print(f"{tag} is live: {promotion.verdict}")


@app.command()
def rollback(
    tag: Annotated[str | None, typer.Argument(help="An earlier live model; none: the one before.")] = None,
) -> None:
    """Put the model that was live before back."""
    from components.registry.champion import rollback

    move = rollback(tag)
    print(f"{move.tag} is live again, in the place of {move.previous}")


@app.command()
def history(as_json: Json = False) -> None:
    """Show every change of the live model, oldest first."""
    from components.registry.champion import history

    moves = history()
    if as_json:
        print(json.dumps([asdict(move) for move in moves]))
        return
    for move in moves:
        print(f"{move.number:4}  {move.when[:19]}  {move.who}  {move.action} {move.tag}: {move.why}")


@app.command()
def report(
    tag: Tag,
    beside: Annotated[str | None, typer.Option(help="Another tag: write it anew, with what changes beside it.")] = None,
) -> None:
    """Print where a model's HTML report is, written now if need be; on a desktop, open it."""
    from components.evaluation.report import report_path, write_report
    from components.registry.champion import load_model

    path = report_path(tag)
    if beside or not path.is_file():
        model = load_model(tag)
        write_report(model, _dataset_of(model.card), load_model(beside) if beside else None)
    print(path)
    if sys.stdout.isatty() and os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
        typer.launch(path.as_uri())


@app.command()
def export(
    tag: Tag,
    file_format: Annotated[Literal["onnx"], typer.Option("--format", help="Of the file.")] = "onnx",
    precision: Annotated[
        Literal["float32", "int8"], typer.Option(help="int8 is a quarter of the size, and accurate to 0.003.")
    ] = "float32",
    output: Annotated[Path | None, typer.Option(help="The file [data/exports/TAG.PRECISION.onnx].")] = None,
    as_json: Json = False,
) -> None:
    """Write a model for phones and browsers, once it answers on the test split as the stored one does."""
    from components.registry.champion import load_model
    from components.registry.onnx import export_onnx
    from components.settings import load_settings

    model = load_model(tag)
    path = output or load_settings().exports_dir / f"{tag.replace(':', '-')}.{precision}.{file_format}"
    done = export_onnx(model, _dataset_of(model.card), path, precision)
    if as_json:
        print(json.dumps(asdict(done), default=str))
        return
    print(f"accuracy {done.accuracy:.4f}, the model's {done.torch_accuracy:.4f}; {done.agreement:.2%} the same labels")
    print(f"{done.path}: {done.bytes / 1e6:.1f} MB, {done.precision}")


@app.command()
def score(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="CSV or Parquet: [id,][label,]pixel1,...,pixel784.")],
    output: Annotated[Path, typer.Argument(help="In kind: id,label,name,confidence,sure,model; rejects go beside it.")],
    model: Annotated[str | None, typer.Option(help="An exact tag [the live model's].")] = None,
    as_json: Json = False,
) -> None:
    """Classify every row of a table. Rows that cannot be read go to OUTPUT's .rejects.csv, with line and reason."""
    from components.errors import InputError
    from components.inference.score import rejects_path, score_file
    from components.registry.champion import load_model

    count = score_file(load_model(model), source, output)
    if as_json:
        print(json.dumps(asdict(count)))
    else:
        print(f"{count.rows:,} rows: {count.scored:,} scored in {count.seconds:.1f} s by {count.model} -> {output}")
        if count.rejected:
            print(f"{count.rejected:,} rejected -> {rejects_path(output)}")
    if count.rows and not count.scored:
        raise InputError(str(source), f"no row could be scored; {rejects_path(output)} says why")


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="PORT")] = 3000,
    host: Annotated[str, typer.Option(help="127.0.0.1 keeps it on this machine.")] = "127.0.0.1",
) -> None:
    """Serve the live model over HTTP, with BentoML."""
    from components.settings import CHECKOUT

    _refuse_used_port(host, port)
    program = str(Path(sys.executable).with_name("bentoml"))
    address = ["--host", host, "--port", str(port)]
    os.execv(program, [program, "serve", str(CHECKOUT), *address])


@app.command()
def bento(tag: Annotated[str | None, typer.Argument(help="An exact tag [the live model's].")] = None) -> None:
    """Build a Bento that holds one exact model and the serving code, and nothing else."""
    from components.registry.bento import build_bento

    built = build_bento(tag)
    print(f"{built}\nserve it from any folder: bentoml serve {built}")


def _dataset_of(card: "ModelCard") -> "Dataset":
    from components.errors import DatasetError
    from components.manifest import describe, read_manifest
    from components.settings import load_settings

    manifest = load_settings().datasets_dir / f"{card.dataset_version}.json"
    try:
        return describe(manifest, read_manifest(manifest))
    except DatasetError as error:
        raise DatasetError(f"{error} (the images of the model's own dataset are needed)") from error


def _told(result: "TrainingResult") -> str:
    sample = "\n\nSAMPLE: trained on drawn stand-ins, not on real data; set FASHION_SOURCE to the archives."
    live = "live" if result.promoted else f"not live: {result.verdict}"
    training = f"{result.epochs} epochs of {result.preset} in {result.train_seconds:.1f} s"
    return f"""
model          {result.tag} ({live})
test accuracy  {result.test_accuracy:.4f} after {training}
dataset        {result.dataset_version} ({result.source})
Data Docs      {result.docs}
report         {result.report}{sample if result.source == "sample" else ""}

next
  make serve                                  the web page and API on http://127.0.0.1:3000
  .venv/bin/fashion score INPUT.csv OUT.csv   classify a file
  .venv/bin/fashion models                    what is in the store, and what is live"""


def _read_fields(fields: list[str]) -> dict[str, Any]:
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


def _model_row(tag: str, card: "ModelCard", live: bool) -> dict[str, Any]:
    return {
        "tag": tag,
        "preset": card.preset,
        "source": card.source,
        "dataset_version": card.dataset_version,
        "live": live,
        "test_accuracy": card.test.accuracy,
        "created_at": card.created_at,
    }


def _without_foreseen_traceback(record: logging.LogRecord) -> bool:
    """A foreseen error says all in its message; Prefect would print a page of its own stack below it."""
    if record.exc_info and isinstance(record.exc_info[1], FashionError):
        record.exc_info = None
    return True


def _refuse_used_port(host: str, port: int) -> None:
    """BentoML answers a port in use with a page of traceback."""
    import socket

    from components.errors import SettingsError

    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}, port {port}: {error.strerror}; PORT=... takes another"
        ) from error


def main() -> None:
    """Run a command; an error that was foreseen is one line and status 1."""
    prepare()
    try:
        app(prog_name="fashion")
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except (FashionError, OSError) as error:
        sys.exit(_tell(str(error)))
    except Exception as error:
        if os.environ.get("FASHION_DEBUG"):
            raise
        first_line = next(iter(str(error).splitlines()), "")
        sys.exit(_tell(f"{type(error).__name__}: {first_line}; FASHION_DEBUG=1 shows where"))


def _tell(error: str) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
