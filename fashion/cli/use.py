"""Using a model: score files, serve it, build a Bento, export it."""

import json
import os
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from fashion.cli.arguments import Json, ModelOption, OptionalTag, Tag, dataset_of, resume_command
from fashion.cli.progress import waiting

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def export(
    tag: Tag,
    file_format: Annotated[Literal["onnx"], typer.Option("--format", help="File format.")] = "onnx",
    precision: Annotated[
        Literal["float32", "int8"], typer.Option(help="Precision of the weights; int8 is a quarter of the size.")
    ] = "float32",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write [default: data/exports/TAG.PRECISION.onnx].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a model as ONNX for phones and browsers, checked against the stored one on the test split."""
    from components.export.onnx import export_onnx
    from components.registry.champion import load_model
    from components.settings import load_settings

    model = load_model(tag)
    path = output or load_settings().exports_dir / f"{tag.replace(':', '-')}.{precision}.{file_format}"
    with waiting("exporting and checking"):
        done = export_onnx(model, dataset_of(model.card), path, precision)
    if as_json:
        print(json.dumps(asdict(done), default=str))
        return
    print(f"accuracy {done.accuracy:.4f}, the model's {done.model_accuracy:.4f}; {done.agreement:.2%} the same labels")
    print(f"{done.path}: {done.bytes / 1e6:.1f} MB, {done.precision}")


def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT", help="Table, picture, archive, folder, 'pattern*' or s3://...; - reads standard input."
        ),
    ],
    output: Annotated[
        str, typer.Argument(help="*.csv, *.parquet or *.jsonl, also s3://...; - writes to standard output.")
    ],
    model: ModelOption = None,
    delimiter: Annotated[str, typer.Option(help="CSV delimiter: one character, or the word tab.")] = ",",
    keep: Annotated[list[str], typer.Option(help="Columns of INPUT to copy to OUTPUT, such as sku,price.")] = [],  # noqa: B006
    drop: Annotated[list[str], typer.Option(help="Columns of INPUT to ignore, such as a,b.")] = [],  # noqa: B006
    root: Annotated[
        str, typer.Option(metavar="FOLDER", help="Folder that a table's paths are relative to [default: its own].")
    ] = "",
    rejects: Annotated[
        str | None, typer.Option(metavar="FILE", help="File for rows that cannot be read [default: OUTPUT.rejects.*].")
    ] = None,
    file_format: Annotated[
        Literal["csv", "jsonl", "parquet"] | None,
        typer.Option("--format", help="Format of standard output [default: csv]."),
    ] = None,
    check: Annotated[
        Literal["fail", "warn", "off"],
        typer.Option(help="Action when the input sanity check fails."),
    ] = "fail",
    resume: Annotated[bool, typer.Option("--resume", help="Resume the same job where it stopped.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Parts scored at a time, one core each.")] = 2,
    part_size: Annotated[int, typer.Option(min=1, max=4096, help="Part size in MiB.")] = 32,
    max_reject_rate: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Largest share of rejects; above it the job fails and OUTPUT is left unchanged."
        ),
    ] = 1.0,
    precision: Annotated[
        Literal["auto", "float32"],
        typer.Option(help="Arithmetic: float32, or where it is faster also integers, within 0.001 of a probability."),
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Classify a table or a set of pictures of any size.

    Each row is scored, or written to the rejects file with its line, the reason and its content.
    """
    from components.errors import InputError
    from components.footprint import NoPandas
    from components.readers.folders.parts import TableReading
    from components.scoring.input_check import InputChecker
    from components.storage import locate
    from fashion.cli.scoring import PIPE, RowBar, columns_of, load_scorer, open_ends, print_summary
    from ops.stopping import stop

    if PIPE not in (locate(source), locate(output)):
        stop.keep("finished parts are kept", can_resume=True)
        stop.command = resume_command()
    mark = "\t" if delimiter == "tab" else delimiter
    below = str(Path(root).resolve()) if root else ""
    reading = TableReading(part_size << 20, mark, columns_of(keep), columns_of(drop), below)
    refused = locate(rejects) if rejects else None
    ends = open_ends(locate(source), locate(output), refused, file_format, resume)
    with ExitStack() as stack:
        checker = stack.enter_context(closing(InputChecker()))
        if check != "off":
            checker.start()
        NoPandas.take_effect()
        from components.scoring.job import run_job  # while the checker imports its own packages

        classifier = load_scorer(model, resume)  # before a pipe is emptied
        read, written = stack.enter_context(ends)
        bar = stack.enter_context(closing(RowBar()))
        summary = run_job(
            classifier,
            read,
            written,
            rejects=refused,
            resume=resume,
            workers=workers,
            reading=reading,
            max_reject_rate=max_reject_rate,
            precision=precision,
            check=check,
            checker=checker,
            progress=bar.update,
        )
    print_summary(summary, locate(output), as_json)
    if summary.count.rows and not summary.count.scored:
        raise InputError(source, f"no row could be scored; see {summary.rejects}")


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="PORT", help="TCP port.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")] = "127.0.0.1",
) -> None:
    """Serve the live model over HTTP with BentoML, and follow promotions and rollbacks.

    On this machine only, corrections from the page go to data/inbox/labelled; elsewhere set FASHION_CORRECTIONS_DIR.
    """
    from components.paths import RESOURCES
    from components.settings import load_settings
    from ops.ports import refuse_used_port
    from serving.settings import check_settings

    refuse_used_port(host, port, "PORT")
    check_settings()
    if host in LOOPBACK:
        os.environ.setdefault("FASHION_CORRECTIONS_DIR", str(load_settings().labelled_dir))
    program = str(Path(sys.executable).with_name("bentoml"))
    address = ["--host", host, "--port", str(port)]
    os.execv(program, [program, "serve", str(RESOURCES), *address])


def bento(tag: OptionalTag = None, as_json: Json = False) -> None:
    """Build a Bento with one model and the serving code."""
    from components.registry.bento import build_bento

    with waiting("building the Bento"):
        built = build_bento(tag)
    if as_json:
        print(json.dumps(asdict(built), default=str))
        return
    print(built.tag if built.is_new else f"{built.tag}, built before from the same content")
    print(f"with {built.model}, verdict: {built.verdict}\nserve it from any folder: bentoml serve {built.tag}")
