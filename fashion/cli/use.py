"""What a model is for: to score files, to be served, and to be taken elsewhere."""

import json
import os
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from fashion.cli.arguments import Json, Tag, dataset_of, resume_command

LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
    from components.export.onnx import export_onnx
    from components.registry.champion import load_model
    from components.settings import load_settings

    model = load_model(tag)
    path = output or load_settings().exports_dir / f"{tag.replace(':', '-')}.{precision}.{file_format}"
    done = export_onnx(model, dataset_of(model.card), path, precision)
    if as_json:
        print(json.dumps(asdict(done), default=str))
        return
    print(f"accuracy {done.accuracy:.4f}, the model's {done.torch_accuracy:.4f}; {done.agreement:.2%} the same labels")
    print(f"{done.path}: {done.bytes / 1e6:.1f} MB, {done.precision}")


def score(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="Table, picture, archive, folder, 'pattern*', s3://...; - is a pipe."),
    ],
    output: Annotated[str, typer.Argument(help="*.csv, *.parquet or *.jsonl; s3://... too; - is a pipe.")],
    model: Annotated[str | None, typer.Option(help="An exact tag [the live model's].")] = None,
    delimiter: Annotated[str, typer.Option(help="Of CSV: one character, or the word tab.")] = ",",
    keep: Annotated[list[str], typer.Option(help="Columns of INPUT to copy to OUTPUT: sku,price.")] = [],  # noqa: B006
    drop: Annotated[list[str], typer.Option(help="Columns of INPUT to leave out: a,b.")] = [],  # noqa: B006
    root: Annotated[str, typer.Option(help="Folder that the paths in a CSV are relative to [that of the CSV].")] = "",
    rejects: Annotated[str | None, typer.Option(help="Rows that cannot be read [OUTPUT.rejects.*, beside it].")] = None,
    file_format: Annotated[
        Literal["csv", "jsonl", "parquet"] | None, typer.Option("--format", help="Of OUTPUT where it is - [csv].")
    ] = None,
    check: Annotated[
        Literal["fail", "warn", "off"],
        typer.Option(help="What to do where the first rows cannot be right; what is unusual is only told."),
    ] = "fail",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same job was stopped.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Parts at a time, a core each.")] = 2,
    part_size: Annotated[int, typer.Option(min=1, max=4096, help="Of a part of the input, MiB.")] = 32,
    max_reject_rate: Annotated[
        float, typer.Option(min=0, max=1, help="With a larger share of rejects it fails, and OUTPUT is as it was.")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Classify every row of an input of any size. Each row is scored, or rejected with line, reason and content."""
    from components.errors import InputError
    from components.readers.folders.parts import TableReading
    from components.scoring.input_check import InputChecker
    from components.storage import locate
    from fashion.cli.scoring import PIPE, RowBar, columns_of, load_scorer, open_ends, print_summary
    from ops.stopping import stop

    if PIPE not in (locate(source), locate(output)):
        stop.keep("the parts that are scored are kept", can_resume=True)
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
        from components.scoring.job import run_job  # PyTorch comes with it: the checker imports its own meanwhile

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
            check=check,
            checker=checker,
            progress=bar.update,
        )
    print_summary(summary, locate(output), as_json)
    if summary.count.rows and not summary.count.scored:
        raise InputError(source, f"no row could be scored; {summary.rejects} says why")


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="PORT")] = 3000,
    host: Annotated[str, typer.Option(help="127.0.0.1 keeps it on this machine.")] = "127.0.0.1",
) -> None:
    """Serve the live model over HTTP, with BentoML.

    On this machine alone it takes corrections, into data/inbox/labelled; elsewhere FASHION_CORRECTIONS_DIR says where.
    """
    from components.settings import CHECKOUT, load_settings
    from ops.ports import refuse_used_port
    from serving.guard import Guard

    refuse_used_port(host, port, "PORT")
    Guard()
    if host in LOOPBACK:
        os.environ.setdefault("FASHION_CORRECTIONS_DIR", str(load_settings().labelled_dir))
    program = str(Path(sys.executable).with_name("bentoml"))
    address = ["--host", host, "--port", str(port)]
    os.execv(program, [program, "serve", str(CHECKOUT), *address])


def bento(tag: Annotated[str | None, typer.Argument(help="An exact tag [the live model's].")] = None) -> None:
    """Build a Bento that holds one exact model and the serving code, and nothing else."""
    from components.registry.bento import build_bento

    built = build_bento(tag)
    print(built.tag if built.is_new else f"{built.tag}, built before from the same content")
    print(f"with {built.model}, verdict: {built.verdict}\nserve it from any folder: bentoml serve {built.tag}")
